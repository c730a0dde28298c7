//! Follows one revocation at one instance, from before its acknowledgement to the rejection of its token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt as _};

use super::board::Board;
use super::case::{Answer, Case, Client, Seen};

/// Pace of the checks of a revocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Time between two checks while the rejection is expected any moment; the next one goes out at once when the one
    /// before is answered, if that is sooner and `eager` says so.
    pub(super) fine: Duration,
    pub(super) eager: bool,
    /// Time between two checks of an instance, of all revocations that it is late to apply: an instance that answers
    /// nothing must not be buried under questions.
    pub(super) coarse: Duration,
}

/// Place where one revocation is followed.
pub(super) struct Follow {
    pub(super) case: Arc<Case>,
    pub(super) instance: usize,
    pub(super) client: Client,
    pub(super) board: Arc<Board>,
    pub(super) pace: Pace,
}

/// Time in which the rejection is expected any moment.
const SOON: Duration = Duration::from_millis(30);
/// Time in which checks leave at least every ten milliseconds: well past the bound, so that a stopped instance has
/// some to answer that were begun after it.
const WATCHFUL: Duration = Duration::from_secs(1);
/// Time after which a follower gives up.
const PATIENCE: Duration = Duration::from_secs(40);
/// Checks of one revocation without an answer.
const IN_FLIGHT: usize = 16;

// === impl Follow ===

impl Follow {
    /// Returns the moment of the first rejection, once all checks are answered; `None` if there was none.
    ///
    /// Checks go out whether or not earlier ones are answered: an instance that was stopped finds them all when it goes on.
    pub(super) async fn run(self) -> Option<Instant> {
        let start = Instant::now();
        self.board.follow(self.instance);
        let mut flying = FuturesUnordered::new();
        let mut due = start;
        let mut refused = None;
        loop {
            let asking = refused.is_none() && start.elapsed() < PATIENCE;
            if !asking && flying.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(seen) = flying.next(), if !flying.is_empty() => {
                    self.board.revoked(&self.case, self.instance, &seen);
                    match seen.answer {
                        Answer::Revoked(_) => _ = refused.get_or_insert(seen.end),
                        Answer::Active(_) if self.pace.eager && start.elapsed() < SOON => due = Instant::now(),
                        Answer::Active(_) | Answer::Unavailable | Answer::Failed(_) => {}
                    }
                }
                () = tokio::time::sleep_until(due.into()), if asking && flying.len() < IN_FLIGHT => {
                    flying.push(Seen::check(self.client.clone(), self.case.check.clone()));
                    due = Instant::now() + self.gap(start.elapsed());
                }
            }
        }
        self.board.unfollow(self.instance);
        if refused.is_none() {
            self.board.never(&self.case, self.instance);
        }
        refused
    }

    fn gap(&self, age: Duration) -> Duration {
        if age < SOON {
            return self.pace.fine;
        }
        let least = if age < WATCHFUL { Duration::from_millis(10) } else { Duration::from_millis(50) };
        least.max(self.pace.coarse * self.board.followed(self.instance))
    }
}
