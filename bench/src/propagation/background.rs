//! Load in the background: tokens that nobody revokes, and tokens that were revoked long ago.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::board::Board;
use super::case::{Case, Cases, Client, Seen};
use crate::dice::Dice;
use crate::tokens::Mint;

/// Load of one instance.
pub(super) struct Background {
    pub(super) instance: usize,
    pub(super) clients: Vec<Client>,
    pub(super) mint: Mint,
    pub(super) cases: Arc<Cases>,
    pub(super) board: Arc<Board>,
    /// Checks of good tokens, and as many of revoked ones by `revoked`, a second.
    pub(super) good: u32,
    pub(super) revoked: u32,
}

/// Token of a check in the background.
enum Subject {
    Good(u64),
    Revoked(Arc<Case>),
}

/// Tokens that nobody revokes.
const GOOD: u64 = 1_000;
/// Checks of one instance without an answer.
const IN_FLIGHT: usize = 256;

// === impl Background ===

impl Background {
    /// Asks at an even pace until stopped, and then waits for the answers.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut tick = interval(Duration::from_secs(1) / (self.good + self.revoked).max(1));
        // Checks that are due while the instance is stopped are sent, as many as may be in flight, and no burst afterwards.
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut flying = FuturesUnordered::new();
        let mut dice = Dice::new();
        let mut on = true;
        while on || !flying.is_empty() {
            tokio::select! {
                biased;
                Some((subject, seen)) = flying.next(), if !flying.is_empty() => match subject {
                    Subject::Good(token) => self.board.good(token, self.instance, &seen),
                    Subject::Revoked(case) => self.board.revoked(&case, self.instance, &seen),
                },
                // An error means that the run is over, too.
                _ = stop.changed(), if on => on = false,
                _ = tick.tick(), if on && flying.len() < IN_FLIGHT => flying.push(self.ask(&mut dice)),
            }
        }
    }

    fn ask(&self, dice: &mut Dice) -> impl Future<Output = (Subject, Seen)> + use<> {
        let client = self.clients[dice.below(self.clients.len() as u64) as usize].clone();
        let old = match dice.below(u64::from(self.good + self.revoked)) < u64::from(self.revoked) {
            true => self.cases.pick(dice.next()),
            false => None,
        };
        let (subject, request) = match old {
            Some(case) => {
                let request = case.check.clone();
                (Subject::Revoked(case), request)
            }
            None => {
                let token = dice.below(GOOD);
                (Subject::Good(token), self.mint.check("good", token))
            }
        };
        async move { (subject, Seen::check(client, request).await) }
    }
}
