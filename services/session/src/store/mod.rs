//! Sessions in Valkey: one script and one round trip per call.

mod codec;
mod endings;
mod events;
mod keys;
mod scripts;
mod sessions;

use std::time::Duration;

use keyplane_contracts::names::UserName;
use keyplane_valkey::{Arg, Doorbells, Feature, Key, Need, Script, Valkey, Value};

use crate::domain::Session;
use crate::error::Error;
use keys::UserKeys;

pub use events::{Batch, Snapshot, UserEvents};

/// Version of the layout that `scripts/common.lua` describes.
const LAYOUT: u32 = 1;

/// Retention of what the store keeps beside the sessions.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Maximum of events per user.
    pub events: u32,
    /// Life of a user's events after the last one.
    pub event_age: Duration,
    /// Life of a request id.
    pub request_age: Duration,
}

/// Sessions in Valkey. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    valkey: Valkey,
    bells: Doorbells,
    retention: Retention,
}

/// Reply of a script other than the errors common to all: its first element, and the rest.
struct Reply {
    status: String,
    rest: Vec<Value>,
}

// === impl Store ===

impl Store {
    /// Store in `valkey`.
    #[must_use]
    pub fn new(valkey: Valkey, retention: Retention) -> Store {
        Store { bells: valkey.doorbells(Feature::SESSION), valkey, retention }
    }

    /// Checks that the engine has what the scripts need, and that the stored layout is this program's.
    ///
    /// # Errors
    ///
    /// Missing feature of the engine, or another layout.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        self.valkey.probe(&[Need::Scripts, Need::Streams, Need::Pubsub]).await?;
        self.valkey.check_layout(Feature::SESSION, LAYOUT).await
    }

    fn keys<'a>(&'a self, user: &'a UserName) -> UserKeys<'a> {
        UserKeys::new(self.valkey.app(), user, &self.bells)
    }

    /// ARGV[1..4] of every script, then the script's own.
    fn args<'a, const N: usize>(&self, keys: &'a UserKeys<'_>, own: [Arg<'a>; N]) -> Vec<Arg<'a>> {
        let retention = &self.retention;
        let common = [
            Arg::from(&keys.channel),
            i64::from(retention.events).into(),
            millis(retention.event_age),
            (&keys.prefix).into(),
        ];
        common.into_iter().chain(own).collect()
    }

    async fn run(
        &self,
        script: &'static Script,
        keys: &UserKeys<'_>,
        own: &[&Key],
        args: &[Arg<'_>],
    ) -> Result<Reply, Error> {
        let mut all = vec![&keys.index, &keys.events];
        all.extend(own);
        let reply = self.valkey.run(script, &all, args).await?.array()?;
        let mut rest = reply.into_iter();
        let status = rest.next().ok_or(Error::Corrupt("an empty reply"))?.text()?.to_owned();
        match status.as_str() {
            "MISSING" => Err(Error::NotFound),
            "REUSED" => Err(Error::RequestIdReused),
            _ => Ok(Reply { status, rest: rest.collect() }),
        }
    }
}

// === impl Reply ===

impl Reply {
    fn only(self) -> Result<Value, Error> {
        let [value] = codec::exactly(Value::Array(self.rest))?;
        Ok(value)
    }

    /// Session in `{'OK', id, flat list}`.
    fn made(self, user: &UserName) -> Result<Session, Error> {
        codec::session_row(user, Value::Array(self.rest))
    }
}

fn millis(duration: Duration) -> Arg<'static> {
    Arg::Int(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
