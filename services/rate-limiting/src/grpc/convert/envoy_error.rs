use keyplane_server::{Description, ServiceError};
use tonic::Code;

use crate::error::Error;

/// An error in the gateway's terms. UNAVAILABLE: nothing was charged, and another instance may be asked. Where something may
/// have been charged that would charge twice, so it is DEADLINE_EXCEEDED, which the gateway does not repeat.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(in crate::grpc) struct Refusal(#[from] Error);

// === impl Refusal ===

impl ServiceError for Refusal {
    fn describe(&self) -> Description<'_> {
        let description = self.0.describe();
        let code = match description.code {
            _ if self.0.outcome_unknown() => Code::DeadlineExceeded,
            // The store was never asked.
            Code::DeadlineExceeded => Code::Unavailable,
            code => code,
        };
        Description { code, ..description }
    }
}
