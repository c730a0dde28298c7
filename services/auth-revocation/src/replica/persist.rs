//! Patience of a check with the store.

use std::time::{Duration, Instant};

use keyplane_revocation::Answer;
use tokio::time::{sleep, timeout_at};

use super::shared::Shared;
use crate::error::Error;

/// Longest wait for the store: after a stop of the process, and while memory shows that the store answers.
const LONGEST: Duration = Duration::from_secs(3);
/// First pause before the store is asked again that failed at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Time that a check waits for the store, beyond [`Settings::ask`](super::Settings::ask).
#[derive(Clone, Copy)]
pub(super) struct Patience {
    last: Instant,
    /// Whether the process was stopped a moment ago.
    pub(super) stopped: bool,
}

// === impl Shared ===

impl Shared {
    /// Patience of a check that begins now: 3 s, and 90 % of what remains of the request's deadline.
    pub(super) fn patience(&self) -> Patience {
        let now = Instant::now();
        let last = now + self.settings.ask.max(keyplane_deadline::within(LONGEST));
        Patience { last, stopped: self.pulse.was_stopped(now) }
    }

    /// Asks the store until it answers; `None` if it does not in time, or is not believed.
    ///
    /// A late question is waited for, not asked twice. One that failed at once is asked again: the connection may be on its way.
    pub(super) async fn persist<F>(&self, patience: Patience, ask: impl Fn() -> F) -> Option<Answer>
    where
        F: Future<Output = Result<Option<Answer>, Error>>,
    {
        let longest = self.settings.ask;
        let (mut until, mut pause) = (Instant::now() + longest, PAUSE);
        let mut asked = Box::pin(ask());
        loop {
            let (failed, may_pass) = match timeout_at(until.into(), &mut asked).await {
                Ok(Ok(Some(answer))) => return Some(answer),
                Ok(Ok(None)) => (true, patience.stopped),
                Ok(Err(error)) => (true, error.is_retryable()),
                Err(_) => (false, true),
            };
            if !may_pass || !self.may_wait(patience) {
                return None;
            }
            if failed {
                sleep(pause).await;
                pause = (pause * 2).min(longest);
                asked = Box::pin(ask());
            }
            until = (Instant::now() + longest).min(patience.last);
        }
    }

    /// Whether waiting on is worth while. Memory is read from the same store at each beat: until it is older than the bound,
    /// and for one wait more, the store has missed a beat, and is not away.
    fn may_wait(&self, patience: Patience) -> bool {
        let answers = || {
            let age = self.moments.age(self.moments.read());
            age.is_some_and(|age| age <= self.settings.bound + self.settings.ask)
        };
        Instant::now() < patience.last && (patience.stopped || answers())
    }
}
