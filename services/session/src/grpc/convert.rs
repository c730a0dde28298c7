//! Messages to the domain's types and back. A request is checked here, once; every violated field is told at once.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use keyplane_contracts::names::{Id, SessionId, SessionName, UserName};
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::{Violation, Violations, duration, page, timestamp};
use keyplane_server::IF_MATCH;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::domain::{
    BoundToken, Device, Fields, Micros, NewSession, Page, PageToken, Patch, Request, Session, Timeouts, check_fields,
    check_patch,
};
use crate::error::Error;
use crate::store::{Scope, Touched};

mod events;

pub(super) use events::event;

/// What `update_mask` may name.
const MASKABLE: [&str; 5] = ["company_id", "last_path", "attributes", "device", "tokens"];

/// What a caller wants to watch.
pub(super) struct Watch {
    pub(super) user: UserName,
    pub(super) scope: Scope,
    pub(super) after: Option<String>,
}

// === requests ===

/// The user, the session to be made, and the violations so far: the tenant's policy has more to say.
pub(super) fn new_session(request: pb::CreateSessionRequest) -> Result<(UserName, NewSession, Violations), Error> {
    let mut violations = Violations::new();
    let user = violations.keep(UserName::parse(&request.parent, "parent"));
    let id = optional_id(&request.request_id, &mut violations);
    let request_print = Request::of("create", id, &request);
    let session = request.session.unwrap_or_default();
    let idle_timeout = timeout("session.idle_timeout", session.idle_timeout, &mut violations);
    let absolute_timeout = timeout("session.absolute_timeout", session.absolute_timeout, &mut violations);
    let fields = present(session, &mut violations);
    check_fields(&fields, &mut violations);
    let new = NewSession { fields, idle_timeout, absolute_timeout, request: request_print };
    match user {
        Some(user) => Ok((user, new, violations)),
        None => Err(Error::Invalid(violations.into_iter().collect())),
    }
}

/// The session to be changed, and how. `if_match` is the header.
pub(super) fn patch(
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
            let idle = timeout("session.idle_timeout", session.idle_timeout, &mut violations);
            let absolute = timeout("session.absolute_timeout", session.absolute_timeout, &mut violations);
            (present(session, &mut violations), Timeouts { idle, absolute })
        }
    };
    let patch = Patch { fields, removed_attributes: request.remove_attributes, version, timeouts };
    check_patch(&patch, &mut violations);
    checked(name, violations).map(|name| (name, patch))
}

/// The session to be ended, and the version that it must have.
pub(super) fn delete(
    request: &pb::DeleteSessionRequest,
    if_match: Result<Option<String>, Violation>,
) -> Result<(SessionName, Option<i32>), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(SessionName::parse(&request.name, "name"));
    let version = tagged(if_match, &mut violations);
    if version.is_some() && request.revoke_tokens {
        violations.add(IF_MATCH, "can't be combined with `revoke_tokens`, which ends any version");
    }
    checked(name, violations).map(|name| (name, version))
}

/// The user, how many, and from where on.
pub(super) fn list(request: &pb::ListSessionsRequest) -> Result<(UserName, u32, Option<PageToken>), Error> {
    let mut violations = Violations::new();
    let user = violations.keep(UserName::parse(&request.parent, "parent"));
    let size = page::size(request.page_size, 50, 100, &mut violations);
    let after = violations.keep(page::decode(&request.page_token, &request.parent, position)).flatten();
    checked(user, violations).map(|user| (user, size, after))
}

/// The session to be rotated.
pub(super) fn rotate(request: &pb::RotateSessionRequest) -> Result<(SessionName, Option<Request>), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(SessionName::parse(&request.name, "name"));
    let id = optional_id(&request.request_id, &mut violations);
    let print = Request::of("rotate", id, request);
    checked(name, violations).map(|name| (name, print))
}

/// Whose sessions to end, and which to keep.
pub(super) fn revoke_all(request: &pb::RevokeAllSessionsRequest) -> Result<(UserName, Option<SessionId>), Error> {
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

/// What to watch, and from where on.
pub(super) fn watch(name: &str, after: &str) -> Result<Watch, Error> {
    let mut violations = Violations::new();
    let target = if name.contains("/sessions/") {
        SessionName::parse(name, "name").map(|name| (name.user, Scope::Session(name.session)))
    } else {
        UserName::parse(name, "name").map(|user| (user, Scope::User))
    };
    let target = violations.keep(target);
    // Larger numbers are no ids to the store.
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u64>().is_ok();
    if !after.is_empty() && !after.split_once('-').is_some_and(|(ms, n)| number(ms) && number(n)) {
        violations.add("after", format!("must be the id of an event; {} bytes were sent", after.len()));
    }
    let after = (!after.is_empty()).then(|| after.to_owned());
    checked(target, violations).map(|(user, scope)| Watch { user, scope, after })
}

/// A session's name.
pub(super) fn session_name(text: &str, field: &str) -> Result<SessionName, Error> {
    SessionName::parse(text, field).map_err(|violation| Error::Invalid(vec![violation]))
}

/// Fields that are present, for a request without a mask.
fn present(session: pb::Session, violations: &mut Violations) -> Fields {
    Fields {
        company_id: session.company_id,
        last_path: session.last_path,
        attributes: session.attributes.into_iter().collect(),
        device: session.device.map(device_in),
        tokens: tokens_in(session.tokens, violations),
    }
}

/// Fields that the mask names, present or not.
fn masked(session: pb::Session, paths: &[String], violations: &mut Violations) -> Fields {
    for (index, path) in paths.iter().enumerate() {
        if !MASKABLE.contains(&path.as_str()) {
            violations.extend([Violation::unknown_path(index, path.len(), &MASKABLE)]);
        }
    }
    let named = |path: &str| paths.iter().any(|given| given == path);
    let keep = |path| named(path).then_some(());
    Fields {
        company_id: keep("company_id").map(|()| session.company_id.unwrap_or_default()),
        last_path: keep("last_path").map(|()| session.last_path.unwrap_or_default()),
        attributes: keep("attributes").map_or_else(BTreeMap::new, |()| session.attributes.into_iter().collect()),
        device: keep("device").map(|()| session.device.map(device_in).unwrap_or_default()),
        tokens: keep("tokens").map_or_else(Vec::new, |()| tokens_in(session.tokens, violations)),
    }
}

fn device_in(device: pb::Device) -> Device {
    Device { user_agent: device.user_agent, ip: device.ip, label: device.label }
}

fn tokens_in(tokens: Vec<pb::BoundToken>, violations: &mut Violations) -> Vec<BoundToken> {
    let token = |(index, token): (usize, pb::BoundToken)| {
        let field = format!("session.tokens[{index}].expire_time");
        let time = token.expire_time.ok_or_else(|| Violation::new(&field, "must be set"));
        let expires = violations.keep(time.and_then(|time| micros(time, &field)))?;
        Some(BoundToken { issuer: token.issuer, jti: token.jti, expires })
    };
    tokens.into_iter().enumerate().filter_map(token).collect()
}

fn micros(time: prost_types::Timestamp, field: &str) -> Result<Micros, Violation> {
    timestamp::micros(&time).map(Micros).ok_or_else(|| Violation::new(field, timestamp::RULE))
}

fn timeout(field: &str, sent: Option<prost_types::Duration>, violations: &mut Violations) -> Option<Duration> {
    let sent = sent.filter(|sent| *sent != prost_types::Duration::default())?;
    violations.keep(duration(sent).ok_or_else(|| Violation::new(field, "must not be negative")))
}

/// Version in the header.
fn tagged(if_match: Result<Option<String>, Violation>, violations: &mut Violations) -> Option<i32> {
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

fn checked<T>(parsed: Option<T>, violations: Violations) -> Result<T, Error> {
    match (parsed, violations.is_empty()) {
        (Some(parsed), true) => Ok(parsed),
        _ => Err(Error::Invalid(violations.into_iter().collect())),
    }
}

/// This machine's clock: good enough to leave a token out of a reply; lifetimes follow the store's.
fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

// === impl Request ===

impl Request {
    /// The id, with a digest of the whole request. Maps are sorted first: their order on the wire is not fixed.
    fn of(method: &str, id: Option<Id>, request: &impl Fingerprint) -> Option<Request> {
        id.map(|id| {
            let digest = Sha256::new_with_prefix(method).chain_update(request.canonical()).finalize();
            Request { id, fingerprint: BASE64URL_NOPAD.encode(&digest[..16]) }
        })
    }
}

/// The bytes that two equal requests have in common.
trait Fingerprint {
    fn canonical(&self) -> Vec<u8>;
}

impl Fingerprint for pb::CreateSessionRequest {
    fn canonical(&self) -> Vec<u8> {
        let mut plain = self.clone();
        let attributes = plain.session.as_mut().map(|session| std::mem::take(&mut session.attributes));
        let mut bytes = plain.encode_to_vec();
        for (key, value) in attributes.into_iter().flatten().collect::<BTreeMap<_, _>>() {
            for text in [key, value] {
                bytes.extend(text.len().to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
        bytes
    }
}

impl Fingerprint for pb::RotateSessionRequest {
    fn canonical(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

// === responses ===

/// A session. Tokens that expired since they were stored are left out.
pub(super) fn session(session: Session) -> pb::Session {
    let now = now();
    let tokens = session.tokens.into_iter().filter(|token| token.expires > now).map(token).collect();
    pb::Session {
        name: session.name.to_string(),
        session_id: session.name.session.to_string(),
        company_id: Some(session.company_id),
        last_path: Some(session.last_path),
        attributes: session.attributes.into_iter().collect(),
        device: session.device.map(device),
        version: session.version,
        create_time: Some(timestamp(session.created)),
        update_time: Some(timestamp(session.updated)),
        expire_time: Some(timestamp(session.expires)),
        absolute_expire_time: Some(timestamp(session.absolute_expires)),
        idle_timeout: prost_types::Duration::try_from(session.idle_timeout).ok(),
        absolute_timeout: Some(between(session.created, session.absolute_expires)),
        tokens,
    }
}

/// A page, whose token is bound to the user.
pub(super) fn page(user: &UserName, page: Page) -> pb::ListSessionsResponse {
    let token =
        |PageToken { created, session }| page::encode(&user.to_string(), format_args!("{} {session}", created.0));
    let next_page_token = page.next.map_or_else(String::new, token);
    pb::ListSessionsResponse { sessions: page.sessions.into_iter().map(session).collect(), next_page_token }
}

/// What a touch did.
pub(super) fn touched(touched: Touched) -> pb::TouchSessionResponse {
    pb::TouchSessionResponse { expire_time: Some(timestamp(touched.expires)), version: touched.version }
}

fn device(device: Device) -> pb::Device {
    pb::Device { user_agent: device.user_agent, ip: device.ip, label: device.label }
}

fn token(token: BoundToken) -> pb::BoundToken {
    pb::BoundToken { jti: token.jti, issuer: token.issuer, expire_time: Some(timestamp(token.expires)) }
}

fn timestamp(time: Micros) -> prost_types::Timestamp {
    timestamp::from_micros(time.0)
}

/// A lifetime as it was asked for: expiries are in whole milliseconds, creation times in microseconds.
fn between(from: Micros, to: Micros) -> prost_types::Duration {
    let millis = (to.0 / 1000) - (from.0 / 1000);
    prost_types::Duration::try_from(Duration::from_millis(millis.unsigned_abs())).unwrap_or_default()
}

/// Position in a page token.
fn position(text: &str) -> Option<PageToken> {
    let (created, session) = text.split_once(' ')?;
    Some(PageToken { created: Micros(created.parse().ok()?), session: SessionId::parse(session, "").ok()? })
}
