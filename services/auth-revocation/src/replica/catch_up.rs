//! Reads what the feed has that memory has not, after a new connection.

use futures::future;
use keyplane_revocation::Millis;
use keyplane_valkey::{Dedicated, StreamEntry};

use super::chain::{Link, Relation, Step, View};
use super::follow::{Ended, Follower, PAGE, link};
use super::reconcile::{Doubt, Resync};
use super::shared::{START, nonce};
use super::track::Track;
use super::witness::{first_link, head as head_of};
use crate::store::feed::{self, FeedRecord};

// === impl Follower ===

impl Follower {
    /// Finds out how the feed stands to what was applied, and reads it to its end. All over one connection, so that it is
    /// one node's word.
    pub(super) async fn catch_up(&mut self, connection: &Dedicated) -> Result<(), Ended> {
        if self.whole && self.resync.as_ref().is_none_or(Resync::is_placed) {
            let doubt = match Box::pin(self.relation(connection)).await? {
                Relation::Continues => None,
                Relation::Outlived => Some(Doubt::Outlived),
                Relation::Gap => Some(Doubt::Gap),
                Relation::Lost => Some(Doubt::Lost),
            };
            // Of a loss before which memory was in doubt, it may lack what others knew.
            if doubt == Some(Doubt::Lost) && self.resync.is_none() {
                self.informed = self.informed.max(self.shared.spot(self.partition).lock().newest);
            }
            self.resync = doubt.map(Resync::new).or_else(|| self.resync.take());
        }
        // After a loss, the others are left time to hand over what they know.
        if !self.resync.as_ref().is_some_and(Resync::is_unsettled) {
            self.exchange(connection).await?;
        }
        if self.resync.as_ref().is_some_and(Resync::is_open) {
            self.reconcile(connection).await?;
        } else if self.whole {
            match self.read_on(connection).await {
                // The chain is broken further on, so that what is missing can't be known.
                Err(Ended::Break) => self.bridge(connection).await?,
                read => read?,
            }
        } else if !self.read_all(connection, |_| {}).await? {
            self.bridge(connection).await?;
        }
        self.whole = true;
        Ok(())
    }

    /// Reads over a break within the feed.
    async fn bridge(&mut self, connection: &Dedicated) -> Result<(), Ended> {
        self.resync = Some(Resync::new(Doubt::Gap));
        self.reconcile(connection).await
    }

    async fn relation(&self, connection: &Dedicated) -> Result<Relation, Ended> {
        let (last, id) = self.place();
        let after = format!("({id}");
        let answers = future::try_join4(
            self.ask_head(connection),
            connection.xrange(&self.feed, &id, &id, 1),
            connection.xrange(&self.feed, "-", "+", 1),
            connection.xrange(&self.feed, &after, "+", 1),
        );
        let (head, own, first, next) = Box::pin(answers).await?;
        let next = next.first().map(feed::decode).transpose()?;
        let next = next.map(|record| (link(&record), nonce(&record.previous)));
        let view = View { head, own: first_link(&own)?, first: first_link(&first)?, next };
        let relation = last.relation(&view, self.shared.outlived(&id));
        if relation != Relation::Continues {
            tracing::warn!(partition = self.partition, ?last, ?view, ?relation, "the feed is not as it was left");
        }
        Ok(relation)
    }

    /// Reads what came after the last entry, to the end.
    async fn read_on(&mut self, connection: &Dedicated) -> Result<(), Ended> {
        loop {
            let after = format!("({}", self.place().1);
            let page = connection.xrange(&self.feed, &after, "+", PAGE).await?;
            let more = is_full(&page);
            self.take(page, true)?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Reads the whole feed, and shows each entry to `look`. Whether it is whole: whether nothing is missing that it should
    /// still have. Memory forgets nothing.
    pub(super) async fn read_all(
        &mut self,
        connection: &Dedicated,
        mut look: impl FnMut(&FeedRecord),
    ) -> Result<bool, Ended> {
        let mut head = self.ask_head(connection).await?;
        let (mut from, mut whole) = ("-".to_owned(), true);
        self.track = Track::new(Link::default());
        (self.first, self.expires) = (None, Millis(i64::MIN));
        self.shared.place(self.partition, Link::default(), START.into());
        loop {
            let page = connection.xrange(&self.feed, &from, "+", PAGE).await?;
            let more = is_full(&page);
            let records = page.iter().map(feed::decode).collect::<Result<Vec<_>, _>>()?;
            if let Some(last) = records.last() {
                from = format!("({}", last.id);
            }
            for record in &records {
                let last = self.track.last();
                whole &= last.seq == 0 || last.step(link(record), nonce(&record.previous)) == Step::Next;
                self.track.applied(link(record));
                self.note(record);
                look(record);
            }
            let read = !records.is_empty();
            self.shared.apply(self.partition, records, false);
            let last = self.track.last();
            if more || (head.seq > last.seq && read) {
                continue;
            }
            if head == last || (0 < head.seq && head.seq < last.seq) {
                return Ok(whole);
            }
            // Read again: entries may have come since. If it says the same, it is right, and entries are missing.
            let again = self.ask_head(connection).await?;
            if again == head {
                break;
            }
            head = again;
        }
        // The entry of the head is not there, or the head is not. It is the head that the next entry will go on from.
        self.track = Track::new(head);
        self.shared.place(self.partition, head, from.strip_prefix('(').unwrap_or(START).into());
        let missing = head.seq > 0 && self.is_there(connection).await? && self.remembers(connection).await?;
        Ok(whole && !missing)
    }

    /// Whether there is a stream, if an empty one: one whose entries have all expired is gone.
    async fn is_there(&self, connection: &Dedicated) -> Result<bool, Ended> {
        // A question for a hash, which says so, reads nothing, and needs no right that is not needed anyway.
        match connection.hmget(&self.feed, &["q"]).await {
            Ok(_) => Ok(false),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the last entry of the head is so young that the feed should still have it.
    async fn remembers(&self, connection: &Dedicated) -> Result<bool, Ended> {
        let fields = connection.hmget(&self.head, &["v"]).await?;
        let version = fields.into_iter().next().flatten();
        let version = version.and_then(|v| std::str::from_utf8(&v).ok()?.parse::<u64>().ok()).unwrap_or(0);
        Ok(!self.shared.outlived(&format!("{}-0", version / 1000)))
    }

    async fn ask_head(&self, connection: &Dedicated) -> Result<Link, keyplane_valkey::Error> {
        Ok(head_of(&connection.hmget(&self.head, &["q", "n"]).await?))
    }
}

fn is_full(page: &[StreamEntry]) -> bool {
    u64::try_from(page.len()).is_ok_and(|length| length >= PAGE)
}
