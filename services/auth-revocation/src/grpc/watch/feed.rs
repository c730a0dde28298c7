//! One watch: reads the feed to its end, and then listens to what memory applies.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::watch_response::Stage;
use keyplane_revocation::{Rules, Sequence, wire};
use keyplane_server::{Drain, WatchPermit, status};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::place::{self, Place, Token};
use crate::error::Error;
use crate::replica::{Applied, Mirror};

/// Entries of one response.
const BATCH: usize = 256;
/// Entries of one read of the feed.
const PAGE: usize = 2048;
/// Silence after which an empty response is sent.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A watcher of one tenant is told of the others' entries by their numbers alone, at most this often.
const PROGRESS: Duration = Duration::from_millis(20);
/// What tells of changes in memory.
pub(super) struct Listening {
    mirror: Mirror,
    epoch: Arc<str>,
    epochs: watch::Receiver<Arc<str>>,
    changes: broadcast::Receiver<Applied>,
}

/// An open watch.
pub(in crate::grpc) struct Feed {
    /// Whose entries are sent; `None` for all.
    tenant: Option<Box<str>>,
    listening: Listening,
    /// What memory held when the watch began to listen: of it the feed holds all that is not forgotten.
    begun: Sequence,
    /// How far each partition was sent.
    places: Vec<Place>,
    /// The partition whose feed is being read; past the last one, memory is listened to.
    reading: u32,
    /// Whether the caller's replica is whole: it came with the token of one that is, or the snapshot is complete.
    whole: bool,
    /// Responses that are ready.
    ready: VecDeque<pb::WatchResponse>,
    /// Entries that wait for the next response.
    entries: Vec<pb::FeedEntry>,
    /// When to send a response, whatever is in it.
    due: Instant,
    sent_at: Instant,
    /// Goes with the first response.
    rules: Option<pb::Rules>,
    drain: Drain,
    _permit: WatchPermit,
}

// === impl Listening ===

impl Listening {
    /// Everything that `mirror` applies from now on.
    pub(super) fn to(mirror: Mirror) -> Listening {
        let mut epochs = mirror.epochs();
        let epoch = epochs.borrow_and_update().clone();
        let changes = mirror.subscribe();
        Listening { mirror, epoch, epochs, changes }
    }
}

// === impl Feed ===

impl Feed {
    /// A watch that goes on from `places`, where memory held `begun` when it began to listen.
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own, and there is one caller")]
    pub(super) fn new(
        listening: Listening,
        begun: Sequence,
        tenant: Option<Box<str>>,
        places: Vec<Place>,
        whole: bool,
        rules: &Rules,
        drain: Drain,
        permit: WatchPermit,
    ) -> Feed {
        let now = Instant::now();
        Feed {
            tenant,
            listening,
            begun,
            places,
            reading: 0,
            whole,
            ready: VecDeque::new(),
            entries: Vec::new(),
            due: now + HEARTBEAT,
            sent_at: now,
            rules: Some(wire::rules(rules)),
            drain,
            _permit: permit,
        }
    }

    /// The responses; an error is the stream's last item.
    pub(in crate::grpc) fn responses(self) -> impl Stream<Item = Result<pb::WatchResponse, Status>> + Send {
        unfold(Some(self), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(response) => Some((Ok(response), Some(feed))),
                Err(error) => Some((Err(status(error)), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<pb::WatchResponse, Error> {
        loop {
            if self.drain.is_started() {
                return Err(Error::ShuttingDown);
            }
            // What was read of a feed that has broken since may lack what came before.
            if self.listening.epochs.has_changed().unwrap_or(true) {
                return Err(Error::FeedRestarted);
            }
            if let Some(response) = self.ready.pop_front() {
                self.sent_at = Instant::now();
                self.due = self.sent_at + HEARTBEAT;
                return Ok(response);
            }
            if (self.reading as usize) < self.places.len() {
                self.read_page().await?;
            } else {
                self.listen().await?;
            }
        }
    }

    /// Reads a page of the feed, and on to the next partition at the end of one.
    pub(super) async fn read_page(&mut self) -> Result<(), Error> {
        let partition = self.reading;
        let after = self.places.get(partition as usize).and_then(|place| place.at.clone());
        let after = after.as_ref().map(|(id, _)| &**id);
        let page = self.listening.mirror.feed_page(partition, after, PAGE as u64).await?;
        let ended = page.len() < PAGE;
        let last = page.last().map(|last| (Arc::from(last.id.as_str()), last.seq));
        for record in page {
            if self.is_watched(&record.entry.target.tenant) {
                if self.entries.len() == BATCH {
                    // Still at the page's start: whoever resumes here gets some of it again, which changes nothing.
                    self.push();
                }
                self.entries.push(wire::feed_entry(&record.entry));
            }
        }
        if let (Some(place), Some((id, seq))) = (self.places.get_mut(partition as usize), last) {
            *place = Place { at: Some((id, seq)), seq };
        }
        if ended {
            if let Some(place) = self.places.get_mut(partition as usize) {
                place.seq = place.seq.max(self.begun.get(partition));
            }
            self.reading += 1;
            self.whole |= self.reading as usize == self.places.len();
        }
        // The first response and the one that completes the snapshot are sent in any case.
        let complete = self.reading as usize == self.places.len();
        if !self.entries.is_empty() || self.rules.is_some() || complete || Instant::now() >= self.due {
            self.push();
        }
        Ok(())
    }

    /// Waits for what memory applies, for the next heartbeat, or for the end.
    async fn listen(&mut self) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.drain.started() => return Err(Error::ShuttingDown),
            _ = self.listening.epochs.changed() => return Err(Error::FeedRestarted),
            () = sleep_until(self.due) => {}
            applied = self.listening.changes.recv() => match applied {
                Ok(applied) => self.take(&applied)?,
                // It reads too slowly, or memory is gone.
                Err(broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed) => {
                    return Err(Error::FeedRestarted);
                }
            },
        }
        for _ in 0..PAGE {
            if self.entries.len() == BATCH {
                break;
            }
            match self.listening.changes.try_recv() {
                Ok(applied) => self.take(&applied)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return Err(Error::FeedRestarted),
            }
        }
        if !self.entries.is_empty() || Instant::now() >= self.due {
            self.push();
        }
        Ok(())
    }

    /// Takes in what memory has applied.
    fn take(&mut self, applied: &Applied) -> Result<(), Error> {
        let Some(place) = self.places.get_mut(applied.partition as usize) else { return Err(Error::FeedRestarted) };
        if applied.seq <= place.seq {
            return Ok(());
        }
        if applied.seq != place.seq + 1 {
            return Err(Error::FeedRestarted);
        }
        *place = Place { at: Some((applied.id.clone(), applied.seq)), seq: applied.seq };
        if self.is_watched(&applied.entry.target.tenant) {
            self.entries.push(wire::feed_entry(&applied.entry));
        } else {
            self.due = self.due.min(self.sent_at + PROGRESS);
        }
        Ok(())
    }

    fn is_watched(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|watched| watched == tenant)
    }

    /// Makes a response of the entries that wait.
    fn push(&mut self) {
        let live = self.whole;
        let stage = if live { Stage::Live } else { Stage::Snapshot };
        self.ready.push_back(pb::WatchResponse {
            stage: stage.into(),
            entries: std::mem::take(&mut self.entries),
            sequence: if live { place::sequence(&self.places).encode() } else { String::new() },
            epoch: self.listening.epoch.to_string(),
            resume_token: Token::encode(live, &self.places, self.tenant.as_deref()),
            rules: self.rules.take(),
        });
    }
}
