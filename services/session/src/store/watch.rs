//! Following a user's stream.
//!
//! The stream is the truth; bells only say when to look. A watcher stands on the last entry it has read, and each read
//! begins with that entry: if it is gone (trimmed, expired, lost in a failover), events were missed, and the
//! watcher gives a new snapshot. No engine event tells of an expiry, so a timer at the earliest one asks for a sweep.

use std::collections::VecDeque;
use std::time::Duration;

use keyplane_contracts::names::{SessionId, UserName};
use keyplane_valkey::{Bell, Key};
use tokio::time::{Instant, sleep_until};

use super::{Store, codec, scripts};
use crate::domain::{Event, EventKind, Micros, Session};
use crate::error::Error;

/// Entries of one read.
const BATCH: u64 = 200;
/// A bell may be missed; the stream is read this often all the same.
const POLL: Duration = Duration::from_secs(1);
/// How long the store may be away before a watch ends.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two tries while the store is away.
const RETRY: Duration = Duration::from_millis(250);
/// A session ends within its last millisecond; the sweep must come after it.
const TICK: Duration = Duration::from_millis(2);

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All sessions of the user.
    User,
    /// One session, under the id that it had at the watcher's position, and under those it is rotated to.
    Session(SessionId),
}

/// A watch of a user's sessions.
pub struct Watcher {
    store: Store,
    user: UserName,
    scope: Scope,
    events: Key,
    bell: Bell,
    /// The last entry that was read; `None` before the first snapshot.
    position: Option<String>,
    ready: VecDeque<Event>,
    poll_at: Instant,
    sweep_at: Option<Instant>,
    /// More than a batch was waiting: read on at once.
    behind: bool,
    failing_since: Option<Instant>,
    begun: bool,
    over: bool,
}

/// Every live session of what is watched, and the place in the stream that this stands for.
struct Snapshot {
    id: String,
    time: Micros,
    sessions: Vec<Session>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Whether the one session that is watched is not there.
    fn lacks(&self, scope: &Scope) -> bool {
        *scope != Scope::User && self.sessions.is_empty()
    }
}

// === impl Store ===

impl Store {
    /// Watches a user's sessions from the event `after` on, or from a snapshot. Reads nothing yet.
    #[must_use]
    pub fn watch(&self, user: UserName, scope: Scope, after: Option<String>) -> Watcher {
        let keys = self.keys(&user);
        let events = keys.events;
        Watcher {
            bell: self.bells.listen(&events),
            store: self.clone(),
            user,
            scope,
            events,
            position: after,
            ready: VecDeque::new(),
            poll_at: Instant::now(),
            sweep_at: None,
            behind: true,
            failing_since: None,
            begun: false,
            over: false,
        }
    }
}

// === impl Watcher ===

impl Watcher {
    /// Starts the watch: takes a snapshot, or, where the position still holds, what came after it. Without it,
    /// [`Watcher::next`] starts the watch.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the one session that is watched is not there, and the caller is not about to be told of
    /// its end; the store's.
    ///
    /// # Cancel safety
    ///
    /// Safe: it begins anew.
    pub async fn begin(&mut self) -> Result<(), Error> {
        let snapshot = self.snapshot().await?;
        let watched = self.scope.clone();
        let resumed = self.position.is_some() && self.read().await?;
        // A session that is gone, and whose end the caller is not about to be told.
        if snapshot.lacks(&watched) && !(resumed && (self.over || self.scope != watched)) {
            return Err(Error::NotFound);
        }
        self.begun = true;
        self.poll_at = Instant::now() + POLL;
        if !resumed {
            self.push(snapshot);
        }
        Ok(())
    }

    /// The next event; `None` after the event that ended the one session that is watched.
    ///
    /// # Errors
    ///
    /// The store's, when it was away for 15 seconds; those of [`Watcher::begin`]. The watch is over then.
    ///
    /// # Cancel safety
    ///
    /// Safe: no event is lost or given twice.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.advance().await
                && let Err(error) = self.bear(error)
            {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    /// Waits until there is something to do, and does it.
    async fn advance(&mut self) -> Result<(), Error> {
        if !self.behind {
            let sweep_at = self.sweep_at.unwrap_or(self.poll_at + POLL);
            tokio::select! {
                () = self.bell.rung() => {}
                () = sleep_until(self.poll_at) => {}
                () = sleep_until(sweep_at) => self.sweep().await?,
            }
            // From here until it is read, there may be something: a dropped future must not forget it.
            self.behind = true;
        }
        if !self.begun {
            return self.begin().await;
        }
        if !self.read().await? {
            self.restart().await?;
        }
        self.failing_since = None;
        self.poll_at = Instant::now() + POLL;
        Ok(())
    }

    /// Starts over from a snapshot, after events were missed.
    async fn restart(&mut self) -> Result<(), Error> {
        let snapshot = self.snapshot().await?;
        self.over = snapshot.lacks(&self.scope);
        self.push(snapshot);
        Ok(())
    }

    /// Reads what came after the position; false if there is none, or it is gone.
    async fn read(&mut self) -> Result<bool, Error> {
        let Some(position) = &self.position else { return Ok(false) };
        let entries = self.store.valkey.xrange(&self.events, position, "+", BATCH).await?;
        let behind = u64::try_from(entries.len()).is_ok_and(|n| n == BATCH);
        let mut entries = entries.into_iter();
        if entries.next().is_none_or(|first| first.id != *position) {
            return Ok(false);
        }
        let mut last = None;
        let mut events = Vec::new();
        for entry in entries {
            last = Some(entry.id.clone());
            events.extend(codec::event(&self.user, entry)?);
        }
        self.position = last.or_else(|| self.position.take());
        self.behind = behind;
        for event in events {
            self.take(event);
        }
        Ok(true)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Error> {
        let keys = self.store.keys(&self.user);
        let watched = match &self.scope {
            Scope::User => "",
            Scope::Session(id) => id.as_str(),
        };
        let told = self.position.as_deref().unwrap_or_default();
        let args = self.store.args(&keys, [watched.into(), told.into()]);
        let reply = self.store.run(&scripts::SNAPSHOT, &keys, &[], &args).await?;
        let mut rest = reply.rest.into_iter();
        let mut next = || rest.next().ok_or(Error::Corrupt("a snapshot that is too short"));
        let (id, now, earliest) = (next()?.text()?.to_owned(), next()?.int()?, next()?.int()?);
        let known_by = next()?.bytes()?;
        if self.scope != Scope::User {
            self.scope = Scope::Session(codec::session_id(&known_by)?);
        }
        let sessions = rest.map(|row| codec::session_row(&self.user, row)).collect::<Result<_, _>>()?;
        self.alarm(now, earliest);
        Ok(Snapshot { id, time: Micros(now.saturating_mul(1000)), sessions })
    }

    fn push(&mut self, snapshot: Snapshot) {
        let Snapshot { id, time, sessions } = snapshot;
        self.position = Some(id.clone());
        self.behind = false;
        self.ready.push_back(Event { id, time, kind: EventKind::Snapshot(sessions) });
    }

    async fn sweep(&mut self) -> Result<(), Error> {
        let keys = self.store.keys(&self.user);
        let args = self.store.args(&keys, []);
        let reply = self.store.run(&scripts::SWEEP, &keys, &[], &args).await?;
        let [now, earliest] = codec::exactly(keyplane_valkey::Value::Array(reply.rest))?;
        self.alarm(now.int()?, earliest.int()?);
        Ok(())
    }

    /// Sets the timer by two readings of the store's clock, in ms; without a session (-1) it looks again in an hour.
    fn alarm(&mut self, now: i64, earliest: i64) {
        let wait = u64::try_from(earliest).map_or(Duration::from_hours(1), |earliest| {
            Duration::from_millis(earliest.saturating_sub(now.unsigned_abs())) + TICK
        });
        self.sweep_at = Some(Instant::now() + wait);
    }

    /// Queues an event if it is of what is watched.
    fn take(&mut self, event: Event) {
        if let EventKind::Created(session) = &event.kind {
            let until = session.expires.0.saturating_sub(event.time.0).unsigned_abs();
            let ends = Instant::now() + Duration::from_micros(until) + TICK;
            self.sweep_at = Some(self.sweep_at.map_or(ends, |at| at.min(ends)));
        }
        if self.over {
            return;
        }
        if let Scope::Session(watched) = &self.scope {
            if event.kind.session() != Some(watched) {
                return;
            }
            if let EventKind::Rotated { new, .. } = &event.kind {
                self.scope = Scope::Session(new.clone());
            }
            self.over = event.kind.ends_session();
        }
        self.ready.push_back(event);
    }

    /// Bears the store's absence for a while, once the watch has begun.
    fn bear(&mut self, error: Error) -> Result<(), Error> {
        if !self.begun || !error.is_retryable() {
            return Err(error);
        }
        let now = Instant::now();
        if now > *self.failing_since.get_or_insert(now) + PATIENCE {
            return Err(error);
        }
        self.behind = false;
        self.poll_at = now + RETRY;
        self.sweep_at = self.sweep_at.map(|at| at.max(now + RETRY));
        Ok(())
    }
}
