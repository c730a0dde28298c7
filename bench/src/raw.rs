//! Raw commands and scripts that the session service runs, with nothing around them. The generator runs them itself
//! for the rows `raw ...`, and the echo service for the rows `echo + ...`.

use keyplane_contracts::rules::session as stated;
use keyplane_valkey::{App, Arg, Doorbells, Error, Feature, Key, Script, Valkey, Value};

/// Session service's own script.
static PATCH: Script = Script::new(
    "session.patch",
    concat!(
        include_str!("../../services/session/src/store/scripts/common.lua"),
        include_str!("../../services/session/src/store/scripts/patch.lua"),
    ),
);

/// Service's default of `KEYPLANE_SESSION_EVENTS`.
const EVENTS: i64 = 128;
/// Service's default of `KEYPLANE_SESSION_EVENT_AGE`, in milliseconds.
const EVENT_AGE: i64 = 3_600_000;

/// Store, as the session service uses it.
#[derive(Clone)]
pub(crate) struct Raw {
    valkey: Valkey,
    bells: Doorbells,
}

/// Keys of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) user: &'a str,
    pub(crate) session: &'a str,
}

// === impl Raw ===

impl Raw {
    pub(crate) fn new(valkey: Valkey) -> Raw {
        Raw { bells: valkey.doorbells(Feature::SESSION), valkey }
    }

    /// Fields and values of a session, one after the other.
    pub(crate) async fn get(&self, place: Place<'_>) -> Result<Vec<u8>, Error> {
        let key = place.key(self.valkey.app(), &["s", place.session]);
        let pairs = self.valkey.hgetall(&key).await?;
        let mut bytes = Vec::with_capacity(512);
        for (field, value) in &pairs {
            bytes.extend_from_slice(field);
            bytes.extend_from_slice(value);
        }
        Ok(bytes)
    }

    /// Sets the path of a session by the service's own script; its reply, one element after the other.
    pub(crate) async fn patch(&self, place: Place<'_>, last_path: &str) -> Result<Vec<u8>, Error> {
        let app = self.valkey.app();
        let (index, events) = (place.key(app, &["index"]), place.key(app, &["events"]));
        let session = place.key(app, &["s", place.session]);
        let prefix = format!("{}:", place.key(app, &["s"]).as_str());
        let channel = self.bells.channel(&events);
        let args = [
            (&channel).into(),
            EVENTS.into(),
            EVENT_AGE.into(),
            (&prefix).into(),
            place.session.into(),
            Arg::Int(0),
            "".into(),
            "".into(),
            limit(stated::BYTES),
            limit(stated::ATTRIBUTES),
            limit(stated::TOKENS),
            Arg::Int(1),
            "p".into(),
            last_path.into(),
        ];
        let reply = self.valkey.run(&PATCH, &[&index, &events, &session], &args).await?;
        let mut bytes = Vec::with_capacity(512);
        flatten(&reply, &mut bytes);
        Ok(bytes)
    }
}

// === impl Place ===

impl Place<'_> {
    /// Key of the user's, as the session service makes it.
    pub(crate) fn key(&self, app: &App, parts: &[&str]) -> Key {
        Key::tagged(app, Feature::SESSION, self.tenant, self.user, parts)
    }
}

fn limit(number: usize) -> Arg<'static> {
    Arg::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn flatten(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Nil => {}
        Value::Int(number) => into.extend_from_slice(&number.to_be_bytes()),
        Value::Bytes(bytes) => into.extend_from_slice(bytes),
        Value::Array(items) => items.iter().for_each(|item| flatten(item, into)),
    }
}
