//! Patience of a check with the store: how long it waits, and when it asks again.

use std::time::{Duration, Instant};

use keyplane_revocation::Answer;
use tokio::time::{sleep, timeout_at};

use crate::app::replica::Shared;
use crate::error::Error;

/// Longest wait for the store: after a stop of the process, and while memory shows that the store answers.
const LONGEST: Duration = Duration::from_secs(3);
/// First pause before the store is answer again after a call that failed at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Time that a check waits for the store, beyond [`Settings::ask`](crate::app::replica::Settings::ask).
#[derive(Clone, Copy)]
pub(super) struct Patience {
    last: Instant,
    /// Set if the process was stopped a moment ago.
    pub(super) after_stall: bool,
}

// === impl Patience ===

impl Patience {
    /// Patience of a check that begins now: 3 s, and 90 % of what remains of the request's deadline.
    pub(super) fn begin(shared: &Shared) -> Patience {
        let now = Instant::now();
        let last = now + shared.settings.ask.max(keyplane_deadline::within(LONGEST));
        Patience { last, after_stall: shared.stalls.resumed_recently(now) }
    }

    /// Asks the store until it answers; `None` if it does not in time, or is not believed.
    ///
    /// A late call is waited for, not repeated. A call that failed at once is repeated: the connection may be on its
    /// way.
    pub(super) async fn ask<F>(self, shared: &Shared, call: impl Fn() -> F) -> Option<Answer>
    where
        F: Future<Output = Result<Option<Answer>, Error>>,
    {
        let longest = shared.settings.ask;
        let (mut until, mut pause) = (Instant::now() + longest, PAUSE);
        let mut answer = Box::pin(call());
        loop {
            let (failed, may_pass) = match timeout_at(until.into(), &mut answer).await {
                Ok(Ok(Some(answer))) => return Some(answer),
                Ok(Ok(None)) => (true, self.after_stall),
                Ok(Err(error)) => (true, error.is_retryable()),
                Err(_) => (false, true),
            };
            if !may_pass || !self.may_wait(shared) {
                return None;
            }
            if failed {
                sleep(pause).await;
                pause = (pause * 2).min(longest);
                answer = Box::pin(call());
            }
            until = (Instant::now() + longest).min(self.last);
        }
    }

    /// Returns whether another wait is worth while. Memory is read from the same store at each beat: until it is older
    /// than the bound, and for one wait more, the store has missed a beat, and is not unavailable.
    fn may_wait(self, shared: &Shared) -> bool {
        let answers = || {
            let age = shared.moments.age(shared.moments.read());
            age.is_some_and(|age| age <= shared.settings.bound + shared.settings.ask)
        };
        Instant::now() < self.last && (self.after_stall || answers())
    }
}
