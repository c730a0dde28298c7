//! Sends updates at fixed moments.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tonic::transport::Channel;

use super::until;
use crate::Error;
use crate::load::{self, Made};
use crate::numbers::Latencies;
use crate::pace::wait_until;

/// Schedule of the updates: one session after the other, evenly spread.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    sessions: usize,
    /// Time between two updates, of any session.
    gap: Duration,
    pub(super) total: u64,
    /// Set when the first update is sent.
    start: Arc<OnceLock<Instant>>,
}

/// Outcome of the updates.
pub(super) struct Updates {
    shared: Arc<Shared>,
    pub(super) sent: u64,
}

struct Shared {
    latencies: Mutex<Latencies>,
    /// Acknowledged updates of each session.
    by_session: Vec<AtomicU32>,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    failure: Mutex<Option<String>>,
}

/// Updates that wait for an answer, at most; more means that the service has stopped to keep up.
const OUTSTANDING: u64 = 20_000;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

// === impl Plan ===

impl Plan {
    pub(super) fn new(sessions: usize, interval: Duration, duration: Duration) -> Plan {
        let gap = interval.div_f64(sessions as f64).max(Duration::from_micros(1));
        let total = (duration.as_secs_f64() / gap.as_secs_f64()) as u64;
        Plan { sessions, gap, total, start: Arc::default() }
    }

    /// Sessions that are updated.
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }

    /// Updates a second.
    pub(super) fn rate(&self) -> f64 {
        self.gap.as_secs_f64().recip()
    }

    /// Moment at which an update is due; `None` before the first.
    pub(super) fn due(&self, number: u64) -> Option<Instant> {
        let nanos = u64::try_from(self.gap.as_nanos()).unwrap_or(u64::MAX).saturating_mul(number);
        self.start.get().map(|start| *start + Duration::from_nanos(nanos))
    }

    /// Path that an update sets.
    pub(super) fn path(number: u64) -> String {
        format!("/tasks/{number}")
    }

    /// Update that set a path.
    pub(super) fn number(path: &str) -> Option<u64> {
        path.strip_prefix("/tasks/")?.parse().ok()
    }
}

// === impl Updates ===

impl Updates {
    /// Sends all updates and waits for their answers, for the last ones at most `settle`.
    pub(super) async fn send(
        plan: &Plan,
        channels: &[Channel],
        sessions: Arc<[Made]>,
        settle: Duration,
    ) -> Result<Updates, Error> {
        let shared = Arc::new(Shared {
            latencies: Mutex::new(Latencies::new()),
            by_session: sessions.iter().map(|_| AtomicU32::new(0)).collect(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let clients: Vec<_> = channels.iter().cloned().map(SessionServiceClient::new).collect();
        let (done, sent) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        // A thread of its own: the runtime's timer is no finer than a millisecond.
        let (pacing, board) = (plan.clone(), Arc::clone(&shared));
        std::thread::Builder::new().name("pacer".to_owned()).spawn(move || {
            let send = |number: u64, due: Instant| {
                let session = (number % pacing.sessions as u64) as usize;
                let client = clients[session % clients.len()].clone();
                let update = update(client, load::update(&sessions[session].name, Plan::path(number)), due);
                let board = Arc::clone(&board);
                runtime.spawn(async move { board.note(session, update.await) });
            };
            // Nobody waits any more if the run was given up.
            let _ = done.send(pace(&pacing, &board, send));
        })?;
        let sent = sent.await?;
        let updates = Updates { shared, sent };
        until(settle, || updates.answered() == updates.sent).await;
        Ok(updates)
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Message of the first failed update.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.failure.lock().clone()
    }

    pub(super) fn of_session(&self, number: usize) -> u32 {
        self.shared.by_session[number].load(Ordering::Relaxed)
    }

    pub(super) fn latencies(&self) -> Latencies {
        self.shared.latencies.lock().clone()
    }

    pub(super) fn answered(&self) -> u64 {
        self.shared.answered()
    }
}

/// Calls `send` for each update when it is due; returns how many were sent.
fn pace(plan: &Plan, board: &Shared, send: impl Fn(u64, Instant)) -> u64 {
    plan.start.get_or_init(Instant::now);
    for number in 0..plan.total {
        let Some(due) = plan.due(number) else { return number };
        wait_until(due);
        if number.saturating_sub(board.answered()) > OUTSTANDING {
            board.note(0, Err(format!("given up after {number} updates: {OUTSTANDING} wait for an answer")));
            return number;
        }
        send(number, due);
    }
    plan.total
}

/// Makes one update; its latency since it was due.
async fn update(
    mut client: SessionServiceClient<Channel>,
    request: keyplane_contracts::session::v1::UpdateSessionRequest,
    due: Instant,
) -> Result<Duration, String> {
    match tokio::time::timeout(PATIENCE, client.update_session(request)).await {
        Ok(Ok(_)) => Ok(due.elapsed()),
        Ok(Err(status)) => Err(status.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

// === impl Shared ===

impl Shared {
    fn note(&self, session: usize, result: Result<Duration, String>) {
        match result {
            Ok(latency) => {
                self.latencies.lock().record(latency);
                self.by_session[session].fetch_add(1, Ordering::Relaxed);
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.failure.lock().get_or_insert(error);
            }
        }
    }

    fn answered(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }
}
