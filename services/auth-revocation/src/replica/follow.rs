//! Follows one partition of the feed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::{FutureExt as _, future};
use keyplane_revocation::{Millis, Version};
use keyplane_valkey::{Dedicated, ErrorKind, Key, StreamEntry};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::chain::{Link, Step};
use super::handover::named;
use super::reconcile::{Doubt, Resync};
use super::shared::{Shared, nonce};
use super::track::{Heard, Track};
use super::witness::head as head_of;
use crate::error::Error;
use crate::store::feed::{self, FeedRecord};
use crate::store::lost::Lost;

/// Entries of one read.
pub(super) const PAGE: u64 = 1000;
/// How long a read waits for new entries. Only a limit: an entry that comes ends it.
const BLOCK: Duration = Duration::from_secs(1);
/// How long an answer may take, and memory may be behind a head, before the connections are made anew.
const PATIENCE: Duration = Duration::from_millis(500);
/// Beats between two looks at the first entry of the stream.
pub(super) const LOOK: u32 = 30;
/// How long the pause between two tries is, at first and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// What follows one partition.
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) partition: u32,
    pub(super) feed: Key,
    pub(super) head: Key,
    pub(super) track: Track,
    /// The feed was read from its start to its end.
    pub(super) whole: bool,
    /// The id of the stream's first entry, when it was last looked at.
    pub(super) first: Option<String>,
    /// When the last of its entries expires, and the stream with it.
    pub(super) expires: Millis,
    /// The feed has to be read anew, or was, and memory is in doubt.
    pub(super) resync: Option<Resync>,
    /// Version up to which memory knew everything when the store lost something, or took over from an instance that did.
    pub(super) informed: Version,
    /// Handover that the last beat showed.
    lost: Option<Lost>,
}

/// Why the connections are given up.
#[derive(Debug)]
pub(super) enum Ended {
    /// The store's error, or what is in it is damaged.
    Failed(Error),
    /// No answer in time.
    Silent,
    /// The feed does not go on from what was applied, or seems not to.
    Break,
    /// Entries were taken out of the feed that it should still have.
    Trimmed,
    /// Another instance handed over revocations that this one never knew, and the store has lost.
    Uninformed,
}

/// The head, asked for at a moment when `applied` was the last entry; and now and then the first entry of the stream.
struct Beat {
    sent: Instant,
    applied: u64,
    head: Link,
    lost: Option<Lost>,
    first: Option<Vec<StreamEntry>>,
}

/// Follows until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, partition: u32) {
    shared.checked.get_or_init(|| check(&shared)).await;
    let (feed, head) = (shared.store.feed_key(partition), shared.store.head_key(partition));
    let track = Track::new(Link::default());
    let mut follower = Follower {
        shared,
        partition,
        feed,
        head,
        track,
        whole: false,
        first: None,
        expires: Millis(i64::MIN),
        resync: None,
        informed: Version(0),
        lost: None,
    };
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        // Boxed: the connections' calls are large.
        let Err(ended) = Box::pin(follower.session()).await;
        follower.ended(&ended);
        // What was well for a while may be so again at once.
        if begun.elapsed() > PATIENCE {
            pause = PAUSES.0;
        }
        sleep(pause / 2 + jitter(pause / 2)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Waits until the store holds this program's layout. One of another layout is left alone for good.
async fn check(shared: &Shared) {
    while let Err(error) = shared.store.check().await {
        if error.kind() == ErrorKind::Layout {
            tracing::error!(%error, "the feed is not followed");
            return future::pending().await;
        }
        tracing::debug!(%error, "the feed can't be followed yet");
        sleep(PAUSES.1).await;
    }
}

// === impl Follower ===

impl Follower {
    /// Makes the connections, catches up, and follows until something fails.
    async fn session(&mut self) -> Result<Infallible, Ended> {
        let dedicate = |key: &Key| {
            let (valkey, key) = (self.shared.valkey.clone(), key.clone());
            async move { valkey.dedicate(&key).await }
        };
        let (feed, head) = future::try_join(dedicate(&self.feed), dedicate(&self.head)).await?;
        self.track.reconnected();
        Box::pin(self.catch_up(&head)).await?;
        tracing::debug!(partition = self.partition, seq = self.track.last().seq, "following the feed");
        self.follow(&feed, &head).await
    }

    /// Delivers entries as they come, and asks for the head at each beat.
    async fn follow(&mut self, feed: &Dedicated, head: &Dedicated) -> Result<Infallible, Ended> {
        let mut beats = interval(self.shared.settings.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0;
        let mut read = self.read(feed);
        let mut beat: Option<BoxFuture<'_, Result<Beat, Ended>>> = None;
        loop {
            tokio::select! {
                entries = &mut read => {
                    self.take(entries?, true)?;
                    let heard = self.track.settled();
                    self.hear(heard)?;
                    read = self.read(feed);
                }
                Some(answer) = conditional(&mut beat) => {
                    beat = None;
                    let Beat { sent, applied, head, lost, first } = answer?;
                    self.lost = lost;
                    let heard = self.track.heard(sent, applied, head);
                    self.hear(heard)?;
                    if let Some(first) = first {
                        self.look(first)?;
                    }
                }
                _ = beats.tick(), if beat.is_none() => {
                    if self.track.behind_since().is_some_and(|since| since.elapsed() > PATIENCE) {
                        return Err(Ended::Silent);
                    }
                    count += 1;
                    beat = Some(self.beat(head, count % LOOK == 0));
                }
            }
        }
    }

    fn read<'a>(&self, feed: &'a Dedicated) -> BoxFuture<'a, Result<Vec<StreamEntry>, Ended>> {
        let (key, after) = (self.feed.clone(), self.place().1);
        async move {
            let read = timeout(BLOCK + PATIENCE, feed.read(&key, &after, PAGE, BLOCK)).await;
            Ok(read.map_err(|_| Ended::Silent)??)
        }
        .boxed()
    }

    fn beat<'a>(&self, connection: &'a Dedicated, look: bool) -> BoxFuture<'a, Result<Beat, Ended>> {
        let (head, feed) = (self.head.clone(), self.feed.clone());
        let applied = self.track.last().seq;
        async move {
            // Before anything is sent: what the answer shows is at least as young.
            let sent = Instant::now();
            let ask = async {
                let fields = connection.hmget(&head, &["q", "n", Lost::FIELD]).await?;
                let first = if look { Some(connection.xrange(&feed, "-", "+", 1).await?) } else { None };
                Ok::<_, keyplane_valkey::Error>((fields, first))
            };
            let (fields, first) = timeout(PATIENCE, ask).await.map_err(|_| Ended::Silent)??;
            Ok(Beat { sent, applied, head: head_of(&fields), lost: named(&fields), first })
        }
        .boxed()
    }

    /// Applies entries, if they go on from the last one.
    pub(super) fn take(&mut self, entries: Vec<StreamEntry>, live: bool) -> Result<(), Ended> {
        let mut records = Vec::with_capacity(entries.len());
        for entry in &entries {
            let record = feed::decode(entry)?;
            match self.track.last().step(link(&record), nonce(&record.previous)) {
                Step::Next => {
                    self.note(&record);
                    self.track.applied(link(&record));
                    records.push(record);
                }
                Step::Known => {}
                Step::Break => {
                    // What came before it is whole.
                    self.shared.apply(self.partition, records, live);
                    return Err(Ended::Break);
                }
            }
        }
        self.shared.apply(self.partition, records, live);
        Ok(())
    }

    /// Finds out whether the stream has lost entries from its start that it should still have. What is appended later does
    /// not show it, and instances that boot would lack them.
    fn look(&mut self, first: Vec<StreamEntry>) -> Result<(), Ended> {
        let first = first.into_iter().next().map(|entry| entry.id);
        let expired = first.is_none() && self.expires <= self.shared.store.now();
        let moved = |was: &String| first.as_ref() != Some(was) && !self.shared.outlived(was);
        let gone = !expired && self.first.as_ref().is_some_and(moved);
        self.first = first;
        if gone { Err(Ended::Trimmed) } else { Ok(()) }
    }

    /// Notes what is there of the stream.
    pub(super) fn note(&mut self, record: &FeedRecord) {
        self.first.get_or_insert_with(|| record.id.clone());
        self.expires = self.expires.max(record.entry.state.expires);
    }

    fn hear(&mut self, heard: Heard) -> Result<(), Ended> {
        match heard {
            Heard::Fresh(_) if self.resync.as_ref().is_some_and(Resync::is_unsettled) => Ok(()),
            Heard::Fresh(_) if self.lost.as_ref().is_some_and(|lost| self.lacks(lost)) => Err(Ended::Uninformed),
            Heard::Fresh(moment) => {
                self.resync = None;
                self.shared.fresh(self.partition, moment);
                Ok(())
            }
            Heard::Ahead => Ok(()),
            Heard::Break => Err(Ended::Break),
        }
    }

    fn ended(&mut self, ended: &Ended) {
        let partition = self.partition;
        match ended {
            Ended::Failed(error) => tracing::debug!(partition, %error, "the feed can't be followed, trying again"),
            Ended::Silent => tracing::debug!(partition, "the store does not answer, connecting again"),
            Ended::Break => {
                tracing::warn!(partition, "the feed does not go on from what was applied, looking why");
            }
            Ended::Trimmed => {
                tracing::warn!(partition, "the feed has lost entries that it should still have, giving them back");
                self.resync = Some(Resync::new(Doubt::Trimmed));
            }
            Ended::Uninformed => {
                tracing::info!(partition, "another instance knows what the store lost, taking it over")
            }
        }
    }

    /// Where the partition is.
    pub(super) fn place(&self) -> (Link, Arc<str>) {
        let spot = self.shared.spot(self.partition).lock();
        (spot.last, spot.id.clone())
    }
}

// === impl Ended ===

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

impl From<keyplane_valkey::Error> for Ended {
    fn from(error: keyplane_valkey::Error) -> Ended {
        Ended::Failed(error.into())
    }
}

pub(super) fn link(record: &FeedRecord) -> Link {
    Link { seq: record.seq, nonce: nonce(&record.nonce) }
}

/// The end of `future`, if there is one.
async fn conditional<T>(future: &mut Option<BoxFuture<'_, T>>) -> Option<T> {
    match future {
        Some(future) => Some(future.await),
        None => None,
    }
}

/// Up to `most`, so that those that lost a connection together do not come back together.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX))
}
