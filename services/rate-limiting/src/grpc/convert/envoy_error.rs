//! Converts errors for the gateway.

use keyplane_server::{Description, ServiceError};
use tonic::Code;

use crate::error::Error;

/// Error for the gateway. UNAVAILABLE means that nothing was charged, and the gateway may retry. A call with unknown outcome is
/// DEADLINE_EXCEEDED, which the gateway does not retry: a retry could charge twice.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(in crate::grpc) struct GatewayError(#[from] Error);

// === impl GatewayError ===

impl ServiceError for GatewayError {
    fn describe(&self) -> Description<'_> {
        let description = self.0.describe();
        let code = if self.0.outcome_unknown() {
            Code::DeadlineExceeded
        } else if description.code == Code::DeadlineExceeded {
            // The store was not asked.
            Code::Unavailable
        } else {
            description.code
        };
        Description { code, ..description }
    }
}
