//! Follower of one partition's feed: connects, catches up, then applies entries as they come and reads the head at each
//! beat.

mod catch_up;
mod doubt;
mod follower;
mod handover;
mod read;
mod reconcile;
mod retry;
mod track;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, OptionFuture, try_join};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::follower::{Ended, Follower, LOOK, PAGE};
use self::track::Heard;
use super::shared::Shared;
use crate::store::feed::{self, FeedRecord};
use crate::store::{FeedHead, FeedReader};

/// Longest wait of a read for new entries. An entry that comes ends it.
const BLOCK: Duration = Duration::from_secs(1);
/// Longest time that an answer may take, and that memory may be behind a head, before the connections are made anew.
const PATIENCE: Duration = Duration::from_millis(500);
/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// Head that was asked for at `sent`, when `applied` was the last entry; now and then with the id of the first entry.
struct Beat {
    sent: Instant,
    applied: u64,
    head: FeedHead,
    first: Option<Option<String>>,
}

/// Follows until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, partition: u32) {
    shared.store.wait_usable().await;
    let mut follower = Follower::new(shared, partition);
    let mut pause = PAUSES.0;
    loop {
        let begun = Instant::now();
        // Boxed: the connections' calls are large.
        let Err(ended) = Box::pin(follower.session()).await;
        follower.ended(&ended);
        // A session that lasted may succeed again at once.
        if begun.elapsed() > PATIENCE {
            pause = PAUSES.0;
        }
        sleep(pause / 2 + jitter(pause / 2)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

// === impl Follower ===

impl Follower {
    /// Makes the connections, catches up, and follows until something fails.
    async fn session(&mut self) -> Result<Infallible, Ended> {
        let connect = || self.shared.store.feed_reader(self.partition);
        let (feed, head) = try_join(connect(), connect()).await?;
        self.track.reconnected();
        Box::pin(self.catch_up(&head)).await?;
        tracing::debug!(partition = self.partition, seq = self.track.last().seq, "following the feed");
        self.follow(&feed, &head).await
    }

    /// Delivers entries as they come, and reads the head at each beat.
    async fn follow(&mut self, feed: &FeedReader, head: &FeedReader) -> Result<Infallible, Ended> {
        let mut beats = interval(self.shared.settings.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0;
        let mut read = self.read(feed);
        let mut beat: Option<BoxFuture<'_, Result<Beat, Ended>>> = None;
        loop {
            tokio::select! {
                entries = &mut read => {
                    self.apply(entries?)?;
                    let heard = self.track.settled();
                    self.hear(heard)?;
                    read = self.read(feed);
                }
                Some(answer) = OptionFuture::from(beat.as_mut()) => {
                    beat = None;
                    let Beat { sent, applied, head, first } = answer?;
                    self.handover = head.handover;
                    let heard = self.track.heard(sent, applied, head.link);
                    self.hear(heard)?;
                    if let Some(first) = first {
                        self.compare_first(first)?;
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

    fn read<'a>(&self, feed: &'a FeedReader) -> BoxFuture<'a, Result<Vec<FeedRecord>, Ended>> {
        let after = self.position().id;
        async move {
            let read = timeout(BLOCK + PATIENCE, feed.wait(&after, PAGE, BLOCK)).await;
            Ok(read.map_err(|_| Ended::Silent)??)
        }
        .boxed()
    }

    fn beat<'a>(&self, reader: &'a FeedReader, look: bool) -> BoxFuture<'a, Result<Beat, Ended>> {
        let applied = self.track.last().seq;
        async move {
            // Before anything is sent: what the answer shows is at least as young.
            let sent = Instant::now();
            let ask = async {
                let head = reader.head().await?;
                let first = if look { Some(reader.first_id().await?) } else { None };
                Ok::<_, Ended>((head, first))
            };
            let (head, first) = timeout(PATIENCE, ask).await.map_err(|_| Ended::Silent)??;
            Ok(Beat { sent, applied, head, first })
        }
        .boxed()
    }

    /// Finds out whether the stream has lost entries from its start that it should still have. Later entries do not
    /// show it, and instances that start would lack the lost ones.
    fn compare_first(&mut self, first: Option<String>) -> Result<(), Ended> {
        let expired = first.is_none() && self.expires <= self.shared.store.now();
        let lost = |before: &String| {
            first.as_ref() != Some(before) && !self.shared.has_outlived(feed::moment(before).unwrap_or(0))
        };
        let trimmed = !expired && self.first.as_ref().is_some_and(lost);
        self.first = first;
        if trimmed { Err(Ended::Trimmed) } else { Ok(()) }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), Ended> {
        match heard {
            Heard::Fresh(_) if self.is_unsettled() => Ok(()),
            Heard::Fresh(_) if self.handover.as_ref().is_some_and(|handover| self.lacks(handover)) => {
                Err(Ended::Uninformed)
            }
            Heard::Fresh(moment) => {
                self.resync = None;
                self.shared.mark_fresh(self.partition, moment);
                Ok(())
            }
            Heard::Ahead => Ok(()),
            Heard::Break => Err(Ended::Break),
        }
    }
}

/// Random pause of at most `most`, so that instances that lost a connection together do not come back together.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX))
}
