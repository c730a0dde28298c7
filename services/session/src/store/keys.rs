//! Names of keys.

use keyplane_contracts::names::{SessionId, UserName};
use keyplane_valkey::{App, Doorbells, Feature, Key};

/// Keys of one user. They share the hash tag `{tenant:user}`, so that one script can use them together:
///
/// | key | holds |
/// |---|---|
/// | `<app>:session:{<tenant>:<user>}:s:<id>` | session (hash) |
/// | `<app>:session:{<tenant>:<user>}:index` | ids of the live sessions, by expiry (zset) |
/// | `<app>:session:{<tenant>:<user>}:events` | events of the sessions (stream) |
/// | `<app>:session:{<tenant>:<user>}:r:<request id>` | session of an earlier create or rotate (hash) |
pub(super) struct UserKeys<'a> {
    app: &'a App,
    user: &'a UserName,
    pub(super) index: Key,
    pub(super) events: Key,
    /// Channel of the bell that scripts ring for watchers.
    pub(super) channel: String,
    /// Prefix of the key of each session.
    pub(super) prefix: String,
}

// === impl UserKeys ===

impl<'a> UserKeys<'a> {
    pub(super) fn new(app: &'a App, user: &'a UserName, bells: &Doorbells) -> UserKeys<'a> {
        let key = |parts: &[&str]| key(app, user, parts);
        let events = key(&["events"]);
        let prefix = format!("{}:", key(&["s"]).as_str());
        UserKeys { app, user, index: key(&["index"]), channel: bells.channel(&events), events, prefix }
    }

    pub(super) fn session(&self, id: &SessionId) -> Key {
        session(self.app, self.user, id)
    }

    pub(super) fn request(&self, id: &str) -> Key {
        key(self.app, self.user, &["r", id])
    }
}

/// Key of a session, for a read that needs no other.
pub(super) fn session(app: &App, user: &UserName, id: &SessionId) -> Key {
    key(app, user, &["s", id.as_str()])
}

fn key(app: &App, user: &UserName, parts: &[&str]) -> Key {
    Key::tagged(app, Feature::SESSION, user.tenant.as_str(), user.user.as_str(), parts)
}
