//! Requests that end sessions.

use keyplane_contracts::names::{SessionId, SessionName, UserName};
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::{Violation, Violations};
use keyplane_server::IF_MATCH;

use super::checked;
use super::sessions::tagged;
use crate::domain::Deletion;
use crate::error::Error;

/// Session to end, and the terms. `if_match` is the header.
pub(in crate::grpc) fn delete(
    request: &pb::DeleteSessionRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(SessionName, Deletion), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(SessionName::parse(&request.name, "name"));
    let version = tagged(if_match, &mut violations);
    let (revoke_tokens, allow_missing) = (request.revoke_tokens, request.allow_missing);
    if version.is_some() && revoke_tokens {
        violations.add(IF_MATCH, "can't be combined with `revoke_tokens`, which ends any version");
    }
    checked(name, violations).map(|name| (name, Deletion { version, revoke_tokens, allow_missing }))
}

/// Owner of the sessions, and the one to keep.
pub(in crate::grpc) fn revoke_all(
    request: &pb::RevokeAllSessionsRequest,
) -> Result<(UserName, Option<SessionId>), Error> {
    let mut violations = Violations::new();
    let user = violations.keep(UserName::parse(&request.parent, "parent"));
    let except = (!request.keep_session.is_empty()).then(|| SessionName::parse(&request.keep_session, "keep_session"));
    let except = except.and_then(|except| violations.keep(except));
    if let (Some(user), Some(except)) = (&user, &except)
        && except.user != *user
    {
        violations.add("keep_session", "must be a session of the same user");
    }
    checked(user, violations).map(|user| (user, except.map(|name| name.session)))
}
