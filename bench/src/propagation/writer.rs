//! Revokes, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_contracts::revocation::v1::Durability;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::board::Board;
use super::case::{Case, Cases, Client};
use super::follow::{Follow, Pace};
use crate::Error;
use crate::tokens::{self, Mint};

/// Revoker of a run, and its followers.
pub(super) struct Writer {
    pub(super) client: Client,
    /// Connections for the followers, by instance.
    pub(super) followers: Vec<Vec<Client>>,
    pub(super) mint: Mint,
    pub(super) cases: Arc<Cases>,
    pub(super) board: Arc<Board>,
    pub(super) pace: Pace,
}

/// Outcome of the revocations.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) acknowledged: u64,
    /// Number of these that a replica of the store has.
    pub(super) replicated: u64,
    /// Attempts that failed, and were made again.
    pub(super) retries: u64,
}

/// Time before the revocation in which a token is checked: the first checks must still answer ACTIVE.
const LEAD: Duration = Duration::from_millis(3);
/// Longest time of an attempt.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Longest time of a revocation with its retries, since a failover takes a while.
const PATIENCE: Duration = Duration::from_mins(1);
/// Revocations that an instance may be late to apply before the next is made: else a machine that is too slow for the
/// pace would never catch up.
const BEHIND: u32 = 200;
const RETRY: Duration = Duration::from_millis(50);

// === impl Writer ===

impl Writer {
    /// Makes `count` revocations, `rate` a second at most, then says so, and waits until all hold everywhere.
    pub(super) async fn run(self, count: u64, rate: f64, done: &watch::Sender<bool>) -> Result<Written, Error> {
        let written = self.write(count, rate, done).await;
        // Also if it was given up: nothing may stay stopped.
        done.send_replace(true);
        written
    }

    async fn write(&self, count: u64, rate: f64, done: &watch::Sender<bool>) -> Result<Written, Error> {
        let mut written = Written::default();
        let mut tick = interval(Duration::from_secs(1).div_f64(rate));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settling = JoinSet::new();
        for number in 0..count {
            tick.tick().await;
            while self.board.most_followed() > BEHIND {
                sleep(RETRY).await;
            }
            let case = Arc::new(Case::new(&self.mint, number));
            let mut following = JoinSet::new();
            for (instance, clients) in self.followers.iter().enumerate() {
                let follow = Follow {
                    case: Arc::clone(&case),
                    instance,
                    client: clients[usize::try_from(number)? % clients.len()].clone(),
                    board: Arc::clone(&self.board),
                    pace: self.pace,
                };
                following.spawn(async move { (instance, follow.run().await) });
            }
            sleep(LEAD).await;
            let ack = self.revoke(&case, &mut written).await?;
            self.cases.add(Arc::clone(&case));
            written.acknowledged += 1;
            written.replicated += u64::from(ack.durability == Durability::Replicated);
            let board = Arc::clone(&self.board);
            settling.spawn(async move {
                while let Some(done) = following.join_next().await {
                    if let Ok((instance, Some(refused))) = done {
                        board.propagated(instance, refused.saturating_duration_since(ack.at));
                    }
                }
            });
            while settling.try_join_next().is_some() {}
        }
        done.send_replace(true);
        while settling.join_next().await.is_some() {}
        Ok(written)
    }

    /// Tries until it is acknowledged: whatever became of the attempts before, repeating a revocation does no harm.
    async fn revoke(&self, case: &Case, written: &mut Written) -> Result<super::case::Ack, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let request = self.mint.revoke(case.kind, super::case::SERIES, case.number);
            let failure = match tokio::time::timeout(ATTEMPT, tokens::revoke(self.client.clone(), request)).await {
                Ok(Ok(reply)) => return Ok(case.acknowledge(reply.get_ref().durability())),
                Ok(Err(status))
                    if !matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded) =>
                {
                    return Err(format!("revocation {} failed: {status}", case.number).into());
                }
                Ok(Err(status)) => status.to_string(),
                Err(_) => format!("no answer within {} s", ATTEMPT.as_secs()),
            };
            if Instant::now() > until {
                return Err(format!("revocation {} is not acknowledged: {failure}", case.number).into());
            }
            written.retries += 1;
            sleep(RETRY).await;
        }
    }
}
