use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_contracts::names::{Id, SessionId, SessionName};

/// A point in time: microseconds since 1970-01-01 UTC, by the store's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

/// A user's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose, and which.
    pub name: SessionName,
    /// The company the user works for.
    pub company_id: String,
    /// Where the user was last.
    pub last_path: String,
    /// Anything small.
    pub attributes: BTreeMap<String, String>,
    /// Where the user logged in.
    pub device: Option<Device>,
    /// Tokens that were issued for the session.
    pub tokens: Vec<BoundToken>,
    /// Grows by one with each change.
    pub version: i32,
    /// When it was made.
    pub created: Micros,
    /// When a field last changed.
    pub updated: Micros,
    /// When it ends if nothing prolongs it.
    pub expires: Micros,
    /// When it ends in any case.
    pub absolute_expires: Micros,
    /// How long it lives without use.
    pub idle_timeout: Duration,
}

/// The device a user logged in from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The User-Agent header.
    pub user_agent: String,
    /// An address, in its usual spelling.
    pub ip: String,
    /// What the user calls it.
    pub label: String,
}

/// A token bound to a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoundToken {
    /// The `iss` claim.
    pub issuer: String,
    /// The `jti` claim.
    pub jti: String,
    /// The `exp` claim.
    pub expires: Micros,
}

/// What a caller wants written; `None` leaves a field as it is, and an empty text clears it.
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

/// A session to be made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// What it holds.
    pub fields: Fields,
    /// Its idle timeout; `None` for the tenant's.
    pub idle_timeout: Option<Duration>,
    /// Its life at most; `None` for the tenant's.
    pub absolute_timeout: Option<Duration>,
    /// Makes the call idempotent.
    pub request: Option<Request>,
}

/// The caller's id of a call, and what the call was, so that another call under the same id is noticed.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the caller chose.
    pub id: Id,
    /// A digest of the request.
    pub fingerprint: String,
}

/// A change to a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// What to merge.
    pub fields: Fields,
    /// Attributes to remove.
    pub removed_attributes: Vec<String>,
    /// The version it is based on; `None` for whichever is current.
    pub version: Option<i32>,
    /// Timeouts that the session must have.
    pub timeouts: Timeouts,
}

/// Timeouts that a session must have for a change; `None` for any. They are immutable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// See [`Session::idle_timeout`].
    pub idle: Option<Duration>,
    /// Lifetime at most.
    pub absolute: Option<Duration>,
}

/// A page of sessions.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first.
    pub sessions: Vec<Session>,
    /// Where the next page begins, if there is one.
    pub next: Option<PageToken>,
}

/// The last session of a page: pages go from newer to older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// When it was made.
    pub created: Micros,
    /// Which it is, among those made at the same time.
    pub session: SessionId,
}

/// Terms on which a session is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Version that the session must have; `None` for any.
    pub version: Option<i32>,
    /// Revokes the tokens that were issued for the session first.
    pub revoke_tokens: bool,
    /// A session that does not exist is no error.
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
    /// All tokens that carry the session's id as their `sid`.
    Session(SessionId),
    /// A token that was bound to the session.
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
