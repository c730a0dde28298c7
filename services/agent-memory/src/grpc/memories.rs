//! Calls on memories.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::names::TenantId;
use keyplane_server::if_match;
use tonic::Request;

use super::{Service, convert};
use crate::domain::Remembered;
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn remember_all(&self, request: pb::RememberRequest) -> Result<pb::RememberResponse, Error> {
        let batch = convert::remember(request)?;
        let (mut invalid, mut valid) = (Vec::new(), Vec::new());
        for memory in batch.memories {
            invalid.push(memory.map(|memory| valid.push(memory)).err());
        }
        // Also for a batch without a valid memory: an undeclared space is an error of the whole call.
        let written = self.embedded.remember(&batch.scope, batch.space.as_ref(), valid).await?;
        let (results, failed_count) = results(&batch.scope.owner.tenant, "memories", invalid, written);
        Ok(pb::RememberResponse { results, failed_count })
    }

    pub(super) async fn recall_best(&self, request: pb::RecallRequest) -> Result<pb::RecallResponse, Error> {
        let request = convert::recall(request)?;
        self.embedded.recall(&request).await.map(convert::recalled)
    }

    pub(super) async fn get(&self, request: &pb::GetMemoryRequest) -> Result<pb::Memory, Error> {
        let (tenant, id) = convert::memory_name(&request.name)?;
        self.memories.get(&tenant, id).await.map(convert::memory)
    }

    pub(super) async fn list(&self, request: &pb::ListMemoriesRequest) -> Result<pb::ListMemoriesResponse, Error> {
        let (list, size, after) = convert::list(request)?;
        let page = self.memories.list(&list, size, after.as_deref()).await?;
        Ok(convert::page(request, page))
    }

    pub(super) async fn change(&self, request: Request<pb::UpdateMemoryRequest>) -> Result<pb::Memory, Error> {
        let if_match = if_match(request.metadata());
        let (tenant, id, patch) = convert::update(request.into_inner(), if_match)?;
        let changed = self.embedded.update(&tenant, id, patch).await;
        changed.map(convert::memory).map_err(|error| convert::at(error, "memory"))
    }

    pub(super) async fn forget_all(&self, request: pb::ForgetRequest) -> Result<pb::ForgetResponse, Error> {
        let request = convert::forget(request)?;
        let forgotten = self.forget.forget(&request).await?;
        Ok(convert::forgotten(&request.tenant, forgotten))
    }
}

/// Results of a batch in the order of its request, and the number of errors; `invalid` has an error for each memory that was not
/// written, `written` the results of the others.
pub(super) fn results(
    tenant: &TenantId,
    field: &str,
    invalid: Vec<Option<Error>>,
    written: Vec<Result<Remembered, Error>>,
) -> (Vec<pb::RememberResult>, i32) {
    let mut written = written.into_iter();
    let results = invalid.into_iter().enumerate().map(|(index, error)| {
        let result = match error {
            Some(error) => Err(error),
            None => written.next().unwrap_or(Err(Error::WriteConflict)),
        };
        convert::result(tenant, index, result.map_err(|error| convert::at(error, &format!("{field}[{index}]"))))
    });
    let results: Vec<_> = results.collect();
    let failed = results.iter().filter(|result| result.error.is_some()).count();
    (results, i32::try_from(failed).unwrap_or(i32::MAX))
}
