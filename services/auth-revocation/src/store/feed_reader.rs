//! Reads that show whether a partition's feed goes on from what memory holds: over a connection of its own for a
//! follower, over the pool for single questions.

use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join4;
use keyplane_valkey::{Dedicated, Key};

use super::Store;
use super::feed::{FeedRecord, decode_all, nonce, range_start};
use super::handover::HandoverNotice;
use crate::domain::{Link, View};
use crate::error::Error;

/// Fields of a partition's head: number and nonce of its last entry, and the notice of a handover.
const HEAD: [&str; 3] = ["q", "n", HandoverNotice::FIELD];

/// Connection of its own to a partition's primary, for a follower of the feed.
///
/// All replies come from that one node, in the order of the calls. A connection that broke, or left a call unanswered,
/// fails for good: connect again. Each call is cancel safe, and fails with [`Error::Store`] or [`Error::Corrupt`].
pub struct FeedReader {
    connection: Dedicated,
    feed: Key,
    head: Key,
}

/// Head of a partition, always written together with the entry that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedHead {
    /// Last entry of the feed.
    pub link: Link,
    /// Handover of revocations that the store lost, if there is one.
    pub handover: Option<HandoverNotice>,
}

// === impl Store ===

impl Store {
    /// Connects to the primary of a partition.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; a call that is retryable may succeed some 50 ms later. Cancel safe.
    pub async fn feed_reader(&self, partition: u32) -> Result<FeedReader, Error> {
        let (feed, head) = (self.keys().feed(partition), self.keys().head(partition));
        let connection = self.inner.valkey.dedicate(&feed).await?;
        Ok(FeedReader { connection, feed, head })
    }

    /// Head of a partition's feed.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]. Cancel safe.
    pub async fn feed_head(&self, partition: u32) -> Result<FeedHead, Error> {
        Ok(FeedHead::parse(&self.inner.valkey.hmget(&self.keys().head(partition), &HEAD).await?))
    }

    /// State of a partition's feed around the entry `id`, where `head` is its head. The entry after `id` is not read.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
    pub async fn feed_view(&self, partition: u32, head: Link, id: &str) -> Result<View, Error> {
        let (feed, valkey) = (self.keys().feed(partition), &self.inner.valkey);
        let own = decode_all(&valkey.xrange(&feed, id, id, 1).await?)?;
        let first = decode_all(&valkey.xrange(&feed, "-", "+", 1).await?)?;
        Ok(View { head, own: first_link(&own), first: first_link(&first), next: None })
    }
}

// === impl FeedReader ===

impl FeedReader {
    /// Waits at most `block` for entries after the id `after`; returns at most `count`, the oldest first.
    pub async fn wait(&self, after: &str, count: u64, block: Duration) -> Result<Vec<FeedRecord>, Error> {
        decode_all(&self.connection.read(&self.feed, after, count, block).await?)
    }

    /// Reads at most `count` entries after the id `after`, or from the start of the feed.
    pub async fn page(&self, after: Option<&str>, count: u64) -> Result<Vec<FeedRecord>, Error> {
        decode_all(&self.connection.xrange(&self.feed, &range_start(after), "+", count).await?)
    }

    /// Head of the feed.
    pub async fn head(&self) -> Result<FeedHead, Error> {
        Ok(FeedHead::parse(&self.connection.hmget(&self.head, &HEAD).await?))
    }

    /// Id of the first entry.
    pub async fn first_id(&self) -> Result<Option<String>, Error> {
        Ok(self.connection.xrange(&self.feed, "-", "+", 1).await?.into_iter().next().map(|entry| entry.id))
    }

    /// State of the feed around the entry `id`.
    pub async fn view(&self, id: &str) -> Result<View, Error> {
        let after = range_start(Some(id));
        let read = |from, to| self.connection.xrange(&self.feed, from, to, 1);
        let answers =
            try_join4(self.connection.hmget(&self.head, &HEAD), read(id, id), read("-", "+"), read(&after, "+"));
        let (head, own, first, next) = Box::pin(answers).await?;
        let next = decode_all(&next)?;
        Ok(View {
            head: FeedHead::parse(&head).link,
            own: first_link(&decode_all(&own)?),
            first: first_link(&decode_all(&first)?),
            next: next.first().map(|record| (record.link(), nonce(&record.previous))),
        })
    }

    /// Reports whether the stream exists, even an empty one. A stream whose entries have all expired is deleted with
    /// them.
    pub async fn exists(&self) -> Result<bool, Error> {
        // A hash read on a stream fails with WRONGTYPE, reads nothing, and needs no right that is not needed anyway.
        match self.connection.hmget(&self.feed, &["q"]).await {
            Ok(_) => Ok(false),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Partition's clock, in µs since 1970, when the last entry was appended; 0 where the head is missing.
    pub async fn last_append(&self) -> Result<u64, Error> {
        let fields = self.connection.hmget(&self.head, &["v"]).await?;
        Ok(field(&fields, 0).and_then(|moment| moment.parse().ok()).unwrap_or(0))
    }
}

// === impl FeedHead ===

impl FeedHead {
    /// Decodes the fields [`HEAD`]; without them, the head of a feed before its first entry.
    fn parse(fields: &[Option<Bytes>]) -> FeedHead {
        let seq = field(fields, 0).and_then(|number| number.parse().ok()).unwrap_or(0);
        let link = Link { seq, nonce: field(fields, 1).map_or(0, nonce) };
        let notice = fields.get(2).and_then(Option::as_ref);
        FeedHead { link, handover: notice.and_then(|text| HandoverNotice::parse(text)) }
    }
}

fn field(fields: &[Option<Bytes>], index: usize) -> Option<&str> {
    std::str::from_utf8(fields.get(index)?.as_ref()?).ok()
}

fn first_link(records: &[FeedRecord]) -> Option<Link> {
    records.first().map(FeedRecord::link)
}
