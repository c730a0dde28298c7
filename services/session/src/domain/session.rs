use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_contracts::names::{Id, SessionId, SessionName};

/// Point in time: microseconds since 1970-01-01 UTC, by the store's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

/// Session of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Resource name.
    pub name: SessionName,
    /// Company that the user works for.
    pub company_id: String,
    /// Path that the user visited last.
    pub last_path: String,
    /// Small values of any kind, by key.
    pub attributes: BTreeMap<String, String>,
    /// Device of the login.
    pub device: Option<Device>,
    /// Tokens that were issued for the session.
    pub tokens: Vec<BoundToken>,
    /// Grows by one with each change.
    pub version: i32,
    /// Creation time.
    pub created: Micros,
    /// Time of the last change of a field.
    pub updated: Micros,
    /// Expiry without further use.
    pub expires: Micros,
    /// Latest expiry.
    pub absolute_expires: Micros,
    /// Maximum life without use.
    pub idle_timeout: Duration,
}

/// Device that a user logged in from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `User-Agent` header.
    pub user_agent: String,
    /// IPv4 or IPv6 address as text.
    pub ip: String,
    /// Name that the user gave the device.
    pub label: String,
}

/// Token bound to a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoundToken {
    /// `iss` claim.
    pub issuer: String,
    /// `jti` claim.
    pub jti: String,
    /// `exp` claim.
    pub expires: Micros,
}

/// Content to write: `None` leaves a field unchanged, and an empty text clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// See [`Session::company_id`].
    pub company_id: Option<String>,
    /// See [`Session::last_path`].
    pub last_path: Option<String>,
    /// Merged key by key.
    pub attributes: BTreeMap<String, String>,
    /// Replaced as a whole.
    pub device: Option<Device>,
    /// Added, by issuer and jti.
    pub tokens: Vec<BoundToken>,
}

/// Session to create.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Content.
    pub fields: Fields,
    /// Timeouts; `None` for the tenant's.
    pub timeouts: Timeouts,
    /// Identity of the request, which makes the call idempotent.
    pub request: Option<Request>,
}

/// Identity of a request: the caller's id, and a fingerprint that exposes another request under the same id.
#[derive(Clone, Debug)]
pub struct Request {
    /// Id that the caller chose.
    pub id: Id,
    /// Fingerprint of the request.
    pub fingerprint: String,
}

/// Change to a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Content to merge.
    pub fields: Fields,
    /// Attributes to remove.
    pub removed_attributes: Vec<String>,
    /// Version that the change is based on; `None` for the current one.
    pub version: Option<i32>,
    /// Timeouts that the session must have.
    pub timeouts: Timeouts,
}

/// Timeouts of a new session, or those that a session must have for a change; `None` for any. They are immutable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// See [`Session::idle_timeout`].
    pub idle: Option<Duration>,
    /// Lifetime at most.
    pub absolute: Option<Duration>,
}

/// Page of sessions.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first.
    pub sessions: Vec<Session>,
    /// Position that the next page follows, if there is one.
    pub next: Option<PageToken>,
}

/// Last session of a page: pages go from newer to older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// Creation time.
    pub created: Micros,
    /// Id, among sessions created at the same time.
    pub session: SessionId,
}

/// Terms on which a session is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Version that the session must have; `None` for any.
    pub version: Option<i32>,
    /// Revokes the tokens that were issued for the session first.
    pub revoke_tokens: bool,
    /// Accepts a session that does not exist.
    pub allow_missing: bool,
}

/// Expiry and version of a session after a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Expiry without further use.
    pub expires: Micros,
    /// Version of the session.
    pub version: i32,
}

/// Tokens to revoke when a session ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Issued {
    /// Tokens that carry the session's id as their `sid`.
    Session(SessionId),
    /// Token that was bound to the session.
    Token(BoundToken),
}

// === impl Session ===

impl Session {
    /// Revocations that are due when this session ends. The revocation service skips expired tokens, by its store's clock.
    pub fn issued(&self) -> impl Iterator<Item = Issued> + '_ {
        let tokens = self.tokens.iter().cloned().map(Issued::Token);
        std::iter::once(Issued::Session(self.name.session.clone())).chain(tokens)
    }
}
