//! Requests on live sessions: create, update, list, rotate.

use keyplane_contracts::names::{Id, SessionId, SessionName, UserName};
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::{Violation, Violations, duration, page};
use keyplane_server::IF_MATCH;

use super::fields::{masked, present};
use super::{checked, fingerprint};
use crate::domain::{Micros, NewSession, PageToken, Patch, Request, Timeouts, check_fields, check_patch};
use crate::error::Error;

/// Owner, new session, and the violations of the request's own fields: the tenant's policy may add to them.
pub(in crate::grpc) fn create(request: pb::CreateSessionRequest) -> Result<(UserName, NewSession, Violations), Error> {
    let mut violations = Violations::new();
    let user = violations.keep(UserName::parse(&request.parent, "parent"));
    let id = optional_id(&request.request_id, &mut violations);
    let fingerprinted = fingerprint::request("create", id, &request);
    let session = request.session.unwrap_or_default();
    let timeouts = timeouts(&session, &mut violations);
    let fields = present(session, &mut violations);
    check_fields(&fields, &mut violations);
    let new = NewSession { fields, timeouts, request: fingerprinted };
    match user {
        Some(user) => Ok((user, new, violations)),
        None => Err(Error::Invalid(violations.into_iter().collect())),
    }
}

/// Session to change, and the change. `if_match` is the header.
pub(in crate::grpc) fn patch(
    request: pb::UpdateSessionRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(SessionName, Patch), Error> {
    let mut violations = Violations::new();
    let session = request.session.unwrap_or_default();
    let name = violations.keep(SessionName::parse(&session.name, "session.name"));
    let tag = tagged(if_match, &mut violations);
    let version = agreed([("version", request.version), ("session.version", session.version)], tag, &mut violations);
    let (fields, timeouts) = match request.update_mask {
        Some(mask) if !mask.paths.is_empty() => (masked(session, &mask.paths, &mut violations), Timeouts::default()),
        _ => {
            let timeouts = timeouts(&session, &mut violations);
            (present(session, &mut violations), timeouts)
        }
    };
    let patch = Patch { fields, removed_attributes: request.remove_attributes, version, timeouts };
    check_patch(&patch, &mut violations);
    checked(name, violations).map(|name| (name, patch))
}

/// Owner, page size, and the position that the page follows.
pub(in crate::grpc) fn list(request: &pb::ListSessionsRequest) -> Result<(UserName, u32, Option<PageToken>), Error> {
    let mut violations = Violations::new();
    let user = violations.keep(UserName::parse(&request.parent, "parent"));
    let size = page::size(request.page_size, 50, 100, &mut violations);
    let after = violations.keep(page::decode(&request.page_token, &request.parent, position)).flatten();
    checked(user, violations).map(|user| (user, size, after))
}

/// Session to rotate, and the identity of the request.
pub(in crate::grpc) fn rotate(request: &pb::RotateSessionRequest) -> Result<(SessionName, Option<Request>), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(SessionName::parse(&request.name, "name"));
    let id = optional_id(&request.request_id, &mut violations);
    let request = fingerprint::request("rotate", id, request);
    checked(name, violations).map(|name| (name, request))
}

/// Session of a request that names just one.
pub(in crate::grpc) fn session_name(name: &str) -> Result<SessionName, Error> {
    SessionName::parse(name, "name").map_err(|violation| Error::Invalid(vec![violation]))
}

fn timeouts(session: &pb::Session, violations: &mut Violations) -> Timeouts {
    // A zero is unset in JSON.
    let mut read = |field, sent: Option<prost_types::Duration>| {
        let sent = sent.filter(|sent| *sent != prost_types::Duration::default())?;
        violations.keep(duration(sent).ok_or_else(|| Violation::new(field, "must not be negative")))
    };
    let idle = read("session.idle_timeout", session.idle_timeout);
    Timeouts { idle, absolute: read("session.absolute_timeout", session.absolute_timeout) }
}

/// Version in the header.
pub(super) fn tagged(if_match: Result<Option<String>, Violation>, violations: &mut Violations) -> Option<i32> {
    let tag = violations.keep(if_match)??;
    let version = tag.parse().ok().filter(|version: &i32| *version > 0);
    violations.keep(version.ok_or_else(|| Violation::new(IF_MATCH, "must be the version of the session, e.g. \"3\"")))
}

/// Version that the header and all fields that are not 0 agree on.
fn agreed(fields: [(&str, i32); 2], header: Option<i32>, violations: &mut Violations) -> Option<i32> {
    let mut agreed = header;
    for (field, version) in fields.into_iter().filter(|(_, version)| *version != 0) {
        match agreed {
            Some(other) if other != version => {
                violations.add(field, format!("must agree with the other version sent, {other}; got {version}"));
            }
            Some(_) | None => agreed = Some(version),
        }
    }
    agreed
}

fn optional_id(text: &str, violations: &mut Violations) -> Option<Id> {
    if text.is_empty() { None } else { violations.keep(Id::parse(text, "request_id")) }
}

fn position(text: &str) -> Option<PageToken> {
    let (created, session) = text.split_once(' ')?;
    Some(PageToken { created: Micros(created.parse().ok()?), session: SessionId::parse(session, "").ok()? })
}
