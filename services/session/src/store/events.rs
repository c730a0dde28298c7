//! Events of a user: the stream, the snapshot where a watch starts, and the bell that rings at each change.

use std::time::Duration;

use keyplane_contracts::names::UserName;
use keyplane_valkey::{Bell, Key, Value};

use super::{Store, codec, scripts};
use crate::domain::{Event, Micros, Scope, Session};
use crate::error::Error;

/// Maximum of entries per read.
const BATCH: u64 = 200;

/// Events of one user.
pub struct UserEvents {
    store: Store,
    user: UserName,
    key: Key,
    bell: Bell,
}

/// Live sessions of a scope, and the position in the stream that this state stands for.
#[derive(Debug)]
pub struct Snapshot {
    /// Id of the last event.
    pub position: String,
    /// Time of the snapshot, by the store's clock.
    pub time: Micros,
    /// Time until the earliest expiry of any of the user's sessions; `None` without a session.
    pub next_expiry: Option<Duration>,
    /// Scope of the snapshot: the requested one, with the current id of a session that was rotated.
    pub scope: Scope,
    /// Live sessions of the scope, newest first.
    pub sessions: Vec<Session>,
}

/// Events that follow a position.
#[derive(Debug)]
pub struct Batch {
    /// Events, in order.
    pub events: Vec<Event>,
    /// Id of the last entry; `None` if no entry follows the position.
    pub last: Option<String>,
    /// More entries may follow.
    pub more: bool,
}

// === impl Store ===

impl Store {
    /// Events of `user`. Reads nothing yet.
    #[must_use]
    pub fn events(&self, user: UserName) -> UserEvents {
        let key = self.keys(&user).events;
        UserEvents { bell: self.bells.listen(&key), store: self.clone(), user, key }
    }
}

// === impl UserEvents ===

impl UserEvents {
    /// Waits for the bell, which may miss a change. Cancel safe.
    pub async fn changed(&mut self) {
        self.bell.rung().await;
    }

    /// Takes a snapshot. `position`, the last event that the watcher received, decides which id of a rotated session it
    /// means.
    ///
    /// # Errors
    ///
    /// Errors of the store.
    pub async fn snapshot(&self, scope: &Scope, position: Option<&str>) -> Result<Snapshot, Error> {
        let keys = self.store.keys(&self.user);
        let watched = match scope {
            Scope::User => "",
            Scope::Session(id) => id.as_str(),
        };
        let args = self.store.args(&keys, [watched.into(), position.unwrap_or_default().into()]);
        let reply = self.store.run(&scripts::SNAPSHOT, &keys, &[], &args).await?;
        let mut rest = reply.rest.into_iter();
        let mut next = || rest.next().ok_or(Error::Corrupt("a snapshot that is too short"));
        let (position, now, earliest) = (next()?.text()?.to_owned(), next()?.int()?, next()?.int()?);
        let current_id = next()?.bytes()?;
        let scope = match scope {
            Scope::User => Scope::User,
            Scope::Session(_) => Scope::Session(codec::session_id(&current_id)?),
        };
        let sessions = rest.map(|row| codec::session_row(&self.user, row)).collect::<Result<_, _>>()?;
        let time = Micros(now.saturating_mul(1000));
        Ok(Snapshot { position, time, next_expiry: until(earliest, now), scope, sessions })
    }

    /// Reads the events after `position`; `None` if the entry at `position` is missing, so that events may be too.
    ///
    /// # Errors
    ///
    /// Errors of the store.
    pub async fn after(&self, position: &str) -> Result<Option<Batch>, Error> {
        let entries = self.store.valkey.xrange(&self.key, position, "+", BATCH).await?;
        let more = u64::try_from(entries.len()).is_ok_and(|read| read == BATCH);
        let mut entries = entries.into_iter();
        if entries.next().is_none_or(|first| first.id != *position) {
            return Ok(None);
        }
        let mut last = None;
        let mut events = Vec::new();
        for entry in entries {
            last = Some(entry.id.clone());
            events.extend(codec::event(&self.user, entry)?);
        }
        Ok(Some(Batch { events, last, more }))
    }

    /// Ends the user's expired sessions, since the engine sends no event at an expiry. Returns the time until the next one.
    ///
    /// # Errors
    ///
    /// Errors of the store.
    pub async fn sweep(&self) -> Result<Option<Duration>, Error> {
        let keys = self.store.keys(&self.user);
        let args = self.store.args(&keys, []);
        let reply = self.store.run(&scripts::SWEEP, &keys, &[], &args).await?;
        let [now, earliest] = codec::exactly(Value::Array(reply.rest))?;
        Ok(until(earliest.int()?, now.int()?))
    }
}

/// Time from `now` to `earliest`, both in ms by the store's clock; `None` if `earliest` is -1, without a session.
fn until(earliest: i64, now: i64) -> Option<Duration> {
    let earliest = u64::try_from(earliest).ok()?;
    Some(Duration::from_millis(earliest.saturating_sub(now.unsigned_abs())))
}
