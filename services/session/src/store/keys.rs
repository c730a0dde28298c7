use keyplane_contracts::names::{SessionId, UserName};
use keyplane_valkey::{App, Doorbells, Feature, Key};

/// The keys of one user. All share the hash tag `{tenant:user}`, so that a script can touch them together:
///
/// | key | holds |
/// |---|---|
/// | `<app>:session:{<tenant>:<user>}:s:<id>` | a session (hash) |
/// | `<app>:session:{<tenant>:<user>}:index` | which sessions there are, by expiry (zset) |
/// | `<app>:session:{<tenant>:<user>}:events` | what happened to them (stream) |
/// | `<app>:session:{<tenant>:<user>}:r:<request id>` | what a create or rotate made (hash) |
pub(super) struct UserKeys<'a> {
    app: &'a App,
    user: &'a UserName,
    pub(super) index: Key,
    pub(super) events: Key,
    /// Where scripts ring for watchers.
    pub(super) channel: String,
    /// What the key of each session begins with.
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

/// The key of a session, for a read that needs no other.
pub(super) fn session(app: &App, user: &UserName, id: &SessionId) -> Key {
    key(app, user, &["s", id.as_str()])
}

fn key(app: &App, user: &UserName, parts: &[&str]) -> Key {
    Key::tagged(app, Feature::SESSION, user.tenant.as_str(), user.user.as_str(), parts)
}
