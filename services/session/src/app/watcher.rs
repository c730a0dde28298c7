//! Follows a user's events.
//!
//! A watcher reads the stream; the bell only says when. Its position is the last entry that it has read, and each read begins
//! with that entry. A missing entry (trimmed, expired, lost in a failover) means missed events: the watcher sends a new
//! snapshot. The engine sends no event at an expiry, so a timer at the earliest one starts a sweep.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::{Event, EventKind, Scope, WatchTarget};
use crate::error::Error;
use crate::store::{Snapshot, Store, UserEvents};

/// Interval of reads without a bell: one may be missed.
const POLL: Duration = Duration::from_secs(1);
/// Outage of the store after which a watch ends.
const PATIENCE: Duration = Duration::from_secs(15);
/// Interval of retries during an outage of the store.
const RETRY: Duration = Duration::from_millis(250);
/// Margin of the sweep: a session ends within its last millisecond.
const TICK: Duration = Duration::from_millis(2);
/// Interval of sweeps while the user has no session.
const IDLE_SWEEP: Duration = Duration::from_hours(1);

/// Watch of a user's sessions.
pub struct Watcher {
    events: UserEvents,
    scope: Scope,
    /// Last entry that was read; `None` before the first snapshot.
    position: Option<String>,
    ready: VecDeque<Event>,
    poll_at: Instant,
    sweep_at: Option<Instant>,
    /// More entries than one batch are waiting: read on at once.
    behind: bool,
    failing_since: Option<Instant>,
    begun: bool,
    over: bool,
}

// === impl Watcher ===

impl Watcher {
    /// Watch of `target`. Reads nothing yet.
    #[must_use]
    pub fn new(store: &Store, target: WatchTarget) -> Watcher {
        Watcher {
            events: store.events(target.user),
            scope: target.scope,
            position: target.after,
            ready: VecDeque::new(),
            poll_at: Instant::now(),
            sweep_at: None,
            behind: true,
            failing_since: None,
            begun: false,
            over: false,
        }
    }

    /// Starts the watch: takes a snapshot, or, where the position still holds, reads the events after it. Without this
    /// call, [`Watcher::next`] starts the watch.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the one session that is watched does not exist, and its end is not among the events after
    /// the position; those of the store.
    ///
    /// # Cancel safety
    ///
    /// Safe: the next call begins anew.
    pub async fn begin(&mut self) -> Result<(), Error> {
        let snapshot = self.snapshot().await?;
        let watched = self.scope.clone();
        let resumed = self.position.is_some() && self.read().await?;
        let sends_end = resumed && (self.over || self.scope != watched);
        if lacks_session(&snapshot) && !sends_end {
            return Err(Error::NotFound);
        }
        self.begun = true;
        self.poll_at = Instant::now() + POLL;
        if !resumed {
            self.push(snapshot);
        }
        Ok(())
    }

    /// Returns the next event; `None` after the event that ended the one session that is watched.
    ///
    /// # Errors
    ///
    /// Errors of the store, after an outage of 15 seconds, and of [`Watcher::begin`]. The watch is over then.
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
                && let Err(error) = self.tolerate(error)
            {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    /// Waits for the bell or a timer, and reads.
    async fn advance(&mut self) -> Result<(), Error> {
        if !self.behind {
            let sweep_at = self.sweep_at.unwrap_or(self.poll_at + POLL);
            tokio::select! {
                () = self.events.changed() => {}
                () = sleep_until(self.poll_at) => {}
                () = sleep_until(sweep_at) => {
                    let next_expiry = self.events.sweep().await?;
                    self.set_timer(next_expiry);
                }
            }
            // Until the next read, entries may be waiting: a dropped future must not forget them.
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
        self.over = lacks_session(&snapshot);
        self.push(snapshot);
        Ok(())
    }

    /// Reads the events after the position; false without a position, or if its entry is missing.
    async fn read(&mut self) -> Result<bool, Error> {
        let Some(position) = &self.position else { return Ok(false) };
        let Some(batch) = self.events.after(position).await? else { return Ok(false) };
        self.position = batch.last.or_else(|| self.position.take());
        self.behind = batch.more;
        for event in batch.events {
            self.queue(event);
        }
        Ok(true)
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Error> {
        let snapshot = self.events.snapshot(&self.scope, self.position.as_deref()).await?;
        self.scope.clone_from(&snapshot.scope);
        self.set_timer(snapshot.next_expiry);
        Ok(snapshot)
    }

    fn push(&mut self, snapshot: Snapshot) {
        let Snapshot { position, time, sessions, .. } = snapshot;
        self.position = Some(position.clone());
        self.behind = false;
        self.ready.push_back(Event { id: position, time, kind: EventKind::Snapshot(sessions) });
    }

    fn set_timer(&mut self, next_expiry: Option<Duration>) {
        self.sweep_at = Some(Instant::now() + next_expiry.map_or(IDLE_SWEEP, |wait| wait + TICK));
    }

    /// Queues an event if it belongs to the scope.
    fn queue(&mut self, event: Event) {
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

    /// Tolerates an outage of the store for [`PATIENCE`], once the watch has begun.
    fn tolerate(&mut self, error: Error) -> Result<(), Error> {
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

/// Reports whether the one session of the scope does not exist.
fn lacks_session(snapshot: &Snapshot) -> bool {
    snapshot.scope != Scope::User && snapshot.sessions.is_empty()
}
