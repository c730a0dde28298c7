//! Watch of a session: its events, and their delay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
use keyplane_contracts::session::v1::session_event::Type;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use keyplane_contracts::session::v1::{SessionEvent, WatchSessionsRequest};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::Channel;

use super::pacer::Plan;
use super::until;
use crate::Error;
use crate::load::Made;
use crate::numbers::Latencies;

/// Open watches.
pub(super) struct Watchers {
    board: Arc<Board>,
    tasks: Vec<JoinHandle<()>>,
}

/// Findings of all watches.
pub(super) struct Seen {
    /// Time from the due moment of an update to its event.
    pub(super) latencies: Latencies,
    pub(super) events: u64,
    /// Events that came after a later one of the same session, or twice.
    pub(super) misplaced: u64,
    /// Watches that had to start over from a snapshot.
    pub(super) restarts: u64,
    /// Watches that ended by themselves.
    pub(super) ended: u64,
    /// Message of the first.
    pub(super) failure: Option<String>,
}

#[derive(Debug)]
struct Board {
    plan: Plan,
    latencies: Mutex<Latencies>,
    events: AtomicU64,
    misplaced: AtomicU64,
    restarts: AtomicU64,
    ended: AtomicU64,
    failure: Mutex<Option<String>>,
}

/// Watches that are opened at the same time.
const AT_A_TIME: usize = 64;
/// Longest wait for a watch to open.
const PATIENCE: Duration = Duration::from_secs(30);

// === impl Watchers ===

impl Watchers {
    /// Opens a watch on each session's user, and waits until all have their first snapshot.
    pub(super) async fn open(channels: &[Channel], sessions: &[Made], plan: &Plan) -> Result<Watchers, Error> {
        let board = Arc::new(Board {
            plan: plan.clone(),
            latencies: Mutex::new(Latencies::new()),
            events: AtomicU64::new(0),
            misplaced: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            failure: Mutex::new(None),
        });
        let open = |(number, made): (usize, &Made)| {
            let mut client = SessionServiceClient::new(channels[number % channels.len()].clone());
            let name = made.parent();
            let board = Arc::clone(&board);
            async move {
                let opening = async {
                    let request = WatchSessionsRequest { name, ..WatchSessionsRequest::default() };
                    let mut events = client.watch_sessions(request).await?.into_inner();
                    events.message().await?;
                    Ok::<_, Error>(events)
                };
                let events = tokio::time::timeout(PATIENCE, opening).await.map_err(|_| "a watch does not open")??;
                Ok::<_, Error>(tokio::spawn(async move { board.follow(events).await }))
            }
        };
        let tasks = iter(sessions.iter().enumerate()).map(open).buffer_unordered(AT_A_TIME).try_collect().await?;
        Ok(Watchers { board, tasks })
    }

    /// Waits until as many events came as updates were acknowledged, at most `within`.
    pub(super) async fn settle(&self, updates: u64, within: Duration) {
        until(within, || self.board.events.load(Ordering::Relaxed) >= updates).await;
    }

    /// Closes all watches.
    pub(super) async fn close(self) -> Seen {
        for task in self.tasks {
            task.abort();
            // Ended or aborted, it is over.
            let _ = task.await;
        }
        let board = self.board;
        Seen {
            latencies: board.latencies.lock().clone(),
            events: board.events.load(Ordering::Relaxed),
            misplaced: board.misplaced.load(Ordering::Relaxed),
            restarts: board.restarts.load(Ordering::Relaxed),
            ended: board.ended.load(Ordering::Relaxed),
            failure: board.failure.lock().clone(),
        }
    }
}

// === impl Board ===

impl Board {
    async fn follow(&self, mut events: Streaming<SessionEvent>) {
        let mut last = None;
        let end = loop {
            match events.message().await {
                Ok(Some(event)) => self.note(&event, &mut last),
                Ok(None) => break "the stream ended".to_owned(),
                Err(status) => break status.to_string(),
            }
        };
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.failure.lock().get_or_insert(end);
    }

    fn note(&self, event: &SessionEvent, last: &mut Option<u64>) {
        let now = Instant::now();
        if event.r#type() == Type::Snapshot {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let path = event.session.as_ref().map_or("", |session| session.last_path());
        let Some(number) = Plan::number(path) else { return };
        if last.replace(number).is_some_and(|last| last >= number) {
            self.misplaced.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(due) = self.plan.due(number) {
            self.latencies.lock().record(now.saturating_duration_since(due));
        }
        self.events.fetch_add(1, Ordering::Relaxed);
    }
}
