//! Calls that check tokens: Check, BatchCheck.

use keyplane_contracts::revocation::v1 as pb;

use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn check_one(&self, request: &pb::CheckRequest) -> Result<pb::CheckResponse, Error> {
        let (claims, demands) = convert::check(request, self.store.partitions())?;
        let checked = match self.checker.check_now(&claims, &demands) {
            Some(checked) => checked,
            None => self.checker.check(&claims, &demands).await?,
        };
        Ok(convert::check_response(claims.tenant, &checked))
    }

    pub(super) async fn check_batch(&self, request: &pb::BatchCheckRequest) -> Result<pb::BatchCheckResponse, Error> {
        let (claims, demands) = convert::batch(request, self.store.partitions())?;
        let checked = self.checker.check_many(&claims, &demands).await?;
        Ok(pb::BatchCheckResponse {
            results: checked.answers.into_iter().map(convert::check_result).collect(),
            freshness: Some(convert::freshness(&checked.freshness)),
        })
    }
}
