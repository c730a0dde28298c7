//! Reads of a partition's feed: on from the last entry, or the whole of it.

use keyplane_revocation::Millis;

use super::follower::{Ended, Follower, PAGE};
use super::track::Track;
use crate::app::replica::partitions::Position;
use crate::domain::{Link, Step};
use crate::store::FeedReader;
use crate::store::feed::{FeedRecord, START};

// === impl Follower ===

impl Follower {
    /// Reads what came after the last entry, to the end.
    pub(super) async fn read_on(&mut self, reader: &FeedReader) -> Result<(), Ended> {
        loop {
            let page = reader.page(Some(&self.position().id), PAGE).await?;
            let more = is_full(&page);
            self.apply(page)?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Reads the whole feed, and shows each entry to `look`; `true` if no entry is missing that the feed should still
    /// have. Memory forgets nothing.
    pub(super) async fn read_all(
        &mut self,
        reader: &FeedReader,
        mut look: impl FnMut(&FeedRecord),
    ) -> Result<bool, Ended> {
        let mut head = reader.head().await?.link;
        let (mut after, mut complete): (Option<String>, _) = (None, true);
        self.track = Track::new(Link::default());
        (self.first, self.expires) = (None, Millis(i64::MIN));
        self.shared.reposition(self.partition, Position::default());
        loop {
            let records = reader.page(after.as_deref(), PAGE).await?;
            let (more, read) = (is_full(&records), !records.is_empty());
            if let Some(last) = records.last() {
                after = Some(last.id.clone());
            }
            for record in &records {
                let last = self.track.last();
                complete &= last.seq == 0 || record.step_from(last) == Step::Next;
                self.note(record);
                look(record);
            }
            self.shared.apply(self.partition, records, false);
            let last = self.track.last();
            if more || (head.seq > last.seq && read) {
                continue;
            }
            if head == last || (0 < head.seq && head.seq < last.seq) {
                return Ok(complete);
            }
            // Read again: entries may have come since. The same head once more is right, and entries are missing.
            let again = reader.head().await?.link;
            if again == head {
                break;
            }
            head = again;
        }
        // The entry of the head is missing, or the head is. The next entry will go on from the head.
        self.track = Track::new(head);
        let id = after.as_deref().unwrap_or(START).into();
        self.shared.reposition(self.partition, Position { link: head, id });
        // A head whose entry is so old that the feed need not have it proves no loss.
        let missing = head.seq > 0 && reader.exists().await? && !self.shared.has_outlived(reader.last_append().await?);
        Ok(complete && !missing)
    }
}

fn is_full(page: &[FeedRecord]) -> bool {
    u64::try_from(page.len()).is_ok_and(|length| length >= PAGE)
}
