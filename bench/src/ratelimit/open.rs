//! Ten thousand callers in an open loop: each calls when it is due, whether or not earlier calls were answered, and latencies
//! count from then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;
use tonic::transport::Channel;

use super::target::acquire;
use super::zipf::Zipf;
use crate::Error;
use crate::dice::Dice;
use crate::numbers::{Latencies, Percentiles};
use crate::pace::wait_until;

/// Schedule: user and time of each call after the start, in order of time.
pub(super) struct Schedule(Vec<(Duration, u32)>);

/// Outcome of a schedule.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) calls_per_second: f64,
    pub(super) due: u64,
    pub(super) admitted: u64,
    pub(super) denied: u64,
    /// Number of denials from memory.
    pub(super) cached: u64,
    pub(super) failed: u64,
    pub(super) failure: Option<String>,
    /// Calls without an answer at one moment, at most.
    pub(super) most_in_flight: u64,
    pub(super) latency_us: Percentiles,
}

#[derive(Debug, Default)]
struct Board {
    latencies: Mutex<Option<Latencies>>,
    admitted: AtomicU64,
    denied: AtomicU64,
    cached: AtomicU64,
    failed: AtomicU64,
    most_in_flight: AtomicU64,
    failure: Mutex<Option<String>>,
}

/// Calls that wait for an answer, at most; more means that the service has stopped to keep up.
const OUTSTANDING: u64 = 50_000;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time from one herd to the next.
const HERD: Duration = Duration::from_secs(2);

// === impl Schedule ===

impl Schedule {
    /// `callers` who call again and again, each at a phase of its own, `rate` a second together.
    pub(super) fn spread(callers: u32, rate: f64, length: Duration, zipf: &Zipf) -> Schedule {
        let mut dice = Dice::new();
        let mut phases: Vec<f64> = (0..callers).map(|_| dice.share()).collect();
        phases.sort_by(f64::total_cmp);
        let period = f64::from(callers) / rate;
        let total = (rate * length.as_secs_f64()) as usize;
        let turns = (0_u32..).flat_map(|turn| phases.iter().map(move |phase| (f64::from(turn) + phase) * period));
        Schedule(turns.take(total).map(|at| (Duration::from_secs_f64(at), zipf.pick(&mut dice))).collect())
    }

    /// Schedule with all `callers` at the same moment, several times.
    pub(super) fn herds(callers: u32, times: u32, zipf: &Zipf) -> Schedule {
        let mut dice = Dice::new();
        let moments = (0..times).flat_map(|time| (0..callers).map(move |_| HERD * time));
        Schedule(moments.map(|at| (at, zipf.pick(&mut dice))).collect())
    }

    /// Makes all calls, and waits for their answers.
    pub(super) async fn play(self, channels: &[Channel]) -> Result<Outcome, Error> {
        let board = Arc::new(Board { latencies: Mutex::new(Some(Latencies::new())), ..Board::default() });
        let clients: Vec<_> = channels.iter().cloned().map(RateLimitServiceClient::new).collect();
        let due = self.0.len() as u64;
        let (done, sent) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let noted = Arc::clone(&board);
        let start = Instant::now() + Duration::from_millis(50);
        // A thread of its own: the runtime's timer is no finer than a millisecond.
        std::thread::Builder::new().name("pacer".to_owned()).spawn(move || {
            for (number, (offset, user)) in self.0.iter().enumerate() {
                let at = start + *offset;
                wait_until(at);
                if noted.note_in_flight(number as u64 + 1) > OUTSTANDING {
                    noted.fail(format!("given up: {OUTSTANDING} calls wait for an answer"));
                    break;
                }
                let client = clients[number % clients.len()].clone();
                let (request, noted) = (acquire(format!("z-{user}"), &["zipf"]), Arc::clone(&noted));
                runtime.spawn(async move { noted.call(client, request, at).await });
            }
            // Nobody waits any more if the run was given up.
            let _ = done.send(());
        })?;
        sent.await?;
        let until = Instant::now() + PATIENCE + Duration::from_secs(1);
        while board.answered() < due && board.failed.load(Ordering::Relaxed) == 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(board.outcome(due, start.elapsed()))
    }
}

// === impl Board ===

impl Board {
    async fn call(&self, mut client: RateLimitServiceClient<Channel>, request: pb::AcquireRequest, due: Instant) {
        match tokio::time::timeout(PATIENCE, client.acquire(request)).await {
            Ok(Ok(reply)) => {
                let latency = due.elapsed();
                self.latencies.lock().get_or_insert_with(Latencies::new).record(latency);
                let reply = reply.get_ref();
                let count = if reply.admitted { &self.admitted } else { &self.denied };
                let cached = !reply.admitted && reply.source() == pb::Source::Cache;
                self.cached.fetch_add(u64::from(cached), Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(status)) => self.fail(status.to_string()),
            Err(_) => self.fail(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    fn fail(&self, failure: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.failure.lock().get_or_insert(failure);
    }

    fn answered(&self) -> u64 {
        [&self.admitted, &self.denied, &self.failed].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Counts the waiting calls after `sent` were sent.
    fn note_in_flight(&self, sent: u64) -> u64 {
        let flying = sent.saturating_sub(self.answered());
        self.most_in_flight.fetch_max(flying, Ordering::Relaxed);
        flying
    }

    fn outcome(&self, due: u64, elapsed: Duration) -> Outcome {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let unanswered = due - self.answered();
        Outcome {
            calls_per_second: due as f64 / elapsed.as_secs_f64(),
            due,
            admitted: count(&self.admitted),
            denied: count(&self.denied),
            cached: count(&self.cached),
            failed: count(&self.failed) + unanswered,
            failure: self.failure.lock().clone(),
            most_in_flight: count(&self.most_in_flight),
            latency_us: self.latencies.lock().clone().unwrap_or_else(Latencies::new).percentiles(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_callers_call_at_their_own_time_and_as_often_as_wanted() {
        let Schedule(calls) = Schedule::spread(100, 1_000.0, Duration::from_secs(2), &Zipf::new(10));
        assert_eq!(calls.len(), 2_000);
        assert!(calls.is_sorted_by_key(|(at, _)| *at));
        assert!(calls.last().is_some_and(|(at, _)| *at > Duration::from_millis(1_900)));
        assert_eq!(calls[100].0, calls[0].0 + Duration::from_millis(100));
    }
}
