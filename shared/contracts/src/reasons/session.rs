//! Reasons of the session service.

use super::{Retry, register};

register! {
    SESSION_NOT_FOUND: NotFound, Retry::Never,
        "The session does not exist, or has ended: log in again. An update never revives it.";
    TOO_MANY_SESSIONS: ResourceExhausted, Retry::Never,
        "The user has as many sessions as the tenant allows, metadata `max_sessions`, and the tenant's policy is \
         `reject`: end one first.";
    SESSIONS_CHANGING: Aborted, Retry::Now,
        "With `revoke_tokens`: sessions kept changing while their tokens were revoked. No session was ended; retry.";
    REVOCATION_REJECTED: FailedPrecondition, Retry::Never,
        "With `revoke_tokens`: the revocation service rejected the call; metadata `revocation_code` and \
         `revocation_reason`. No session was ended. Ask the operator.";
    REVOCATION_NOT_CONFIGURED: FailedPrecondition, Retry::Never,
        "With `revoke_tokens`: the service has no revocation service. No session was ended. Operator: set \
         `KEYPLANE_SESSION_REVOCATION_URL`.";
}
