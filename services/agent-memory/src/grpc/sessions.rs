//! Calls on sessions.

use keyplane_contracts::memory::v1 as pb;

use super::memories::results;
use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn append(&self, request: pb::AppendSessionRequest) -> Result<pb::AppendSessionResponse, Error> {
        let batch = convert::append(request)?;
        let (mut invalid, mut valid) = (Vec::new(), Vec::new());
        for event in batch.events {
            invalid.push(event.map(|event| valid.push(event)).err());
        }
        let written = self.embedded.append(&batch.scope, batch.space.as_ref(), valid).await?;
        let (results, failed_count) = results(&batch.scope.owner.tenant, "events", invalid, written);
        Ok(pb::AppendSessionResponse { results, failed_count })
    }

    pub(super) async fn list_events(
        &self,
        request: &pb::ListSessionEventsRequest,
    ) -> Result<pb::ListSessionEventsResponse, Error> {
        let (scope, size, from) = convert::list_events(request)?;
        let page = self.sessions.list(&scope, size, from).await?;
        Ok(convert::events(request, page))
    }

    pub(super) async fn trim(&self, request: &pb::TrimSessionRequest) -> Result<pb::TrimSessionResponse, Error> {
        let (scope, trim) = convert::trim(request)?;
        let deleted = self.sessions.trim(&scope, &trim).await?;
        Ok(pb::TrimSessionResponse { deleted_count: i32::try_from(deleted).unwrap_or(i32::MAX) })
    }

    pub(super) async fn summarize(
        &self,
        request: pb::SummarizeSessionRequest,
    ) -> Result<pb::SummarizeSessionResponse, Error> {
        let convert::Summary { scope, space, up_to, memory } = convert::summarize(request)?;
        let summarized = self.embedded.summarize(&scope, space.as_ref(), &up_to, memory).await;
        let summarized = summarized.map_err(|error| convert::at(error, "summary"))?;
        Ok(convert::summarized(&scope, summarized))
    }
}
