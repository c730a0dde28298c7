//! Load: calls of all kinds at an even pace, whether or not earlier ones were answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::book::Book;
use super::gateway::Front;
use super::limits::Limits;
use super::outcome::Kind;
use super::sessions::{Sessions, Wish};
use super::tokens::Tokens;
use super::yardstick::Yardstick;
use crate::dice::Dice;

/// Everybody who calls.
#[derive(Clone)]
pub(super) struct Callers {
    pub(super) book: Arc<Book>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) limits: Arc<Limits>,
    pub(super) front: Option<Arc<Front>>,
    pub(super) yardstick: Arc<Yardstick>,
}

/// Calls a second of each kind. A revocation is checked on each instance besides, and a reservation settled.
const RATES: [(Kind, u32); 12] = [
    (Kind::Get, 20),
    (Kind::Patch, 16),
    (Kind::Create, 6),
    (Kind::List, 3),
    (Kind::Check, 30),
    (Kind::CheckStore, 8),
    (Kind::Revoke, 3),
    (Kind::Undo, 1),
    (Kind::Acquire, 28),
    (Kind::Reserve, 6),
    (Kind::Envoy, 16),
    (Kind::Gateway, 10),
];
/// Calls of the yardstick, a second.
const CONTROL: u32 = 25;

// === impl Callers ===

impl Callers {
    /// Calls until stopped. Blocks its thread: the runtime's timer is no finer than a millisecond.
    pub(super) fn pace(&self, runtime: &tokio::runtime::Handle, mut dice: Dice, over: &AtomicBool) {
        let total: u32 = RATES.iter().map(|(_, rate)| rate).sum::<u32>() + CONTROL;
        let gap = Duration::from_secs(1) / total;
        let mut due = Instant::now();
        while !over.load(Ordering::Relaxed) {
            due += gap;
            let now = Instant::now();
            match due.checked_duration_since(now) {
                Some(left) => std::thread::park_timeout(left),
                // After a standstill of the machine there is no burst.
                None if now - due > Duration::from_millis(500) => due = now,
                None => {}
            }
            let (kind, number) = (kind(dice.below(total.into()) as u32), dice.next());
            let callers = self.clone();
            runtime.spawn(async move { callers.act(kind, number).await });
        }
    }

    async fn act(&self, kind: Kind, dice: u64) {
        match kind {
            Kind::Create | Kind::Delete => self.sessions.act(Wish::Come, dice).await,
            Kind::Get | Kind::Event => self.sessions.act(Wish::Read, dice).await,
            Kind::Patch => self.sessions.act(Wish::Move, dice).await,
            Kind::List => self.sessions.act(Wish::List, dice).await,
            Kind::Check | Kind::CheckStore => self.tokens.check_any(kind, dice).await,
            Kind::Revoke => self.tokens.revoke(dice).await,
            Kind::Undo => self.tokens.undo(dice).await,
            Kind::Acquire | Kind::Settle => self.limits.acquire(dice).await,
            Kind::Reserve => self.limits.reserve(dice).await,
            Kind::Envoy => self.limits.envoy(dice).await,
            Kind::Gateway => {
                if let Some(front) = &self.front {
                    front.act(dice).await;
                }
            }
            Kind::Control => self.yardstick.round(&self.book).await,
        }
    }
}

/// Kind for a number below the sum of all rates.
fn kind(mut number: u32) -> Kind {
    for (kind, rate) in RATES {
        if number < rate {
            return kind;
        }
        number -= rate;
    }
    Kind::Control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_comes_at_its_rate() {
        let total: u32 = RATES.iter().map(|(_, rate)| rate).sum();
        let count = |wanted| (0..total + CONTROL).filter(|number| kind(*number) == wanted).count() as u32;
        assert!(RATES.iter().all(|(kind, rate)| count(*kind) == *rate));
        assert_eq!(count(Kind::Control), CONTROL);
    }
}
