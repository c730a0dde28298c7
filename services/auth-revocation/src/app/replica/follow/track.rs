//! Heads of the feed against the entries that were applied: how fresh memory is, and whether the histories differ.

use std::collections::VecDeque;
use std::time::Instant;

use crate::domain::Link;

/// Most links that are kept, for heads that come late.
const RECENT: usize = 4096;
/// Most heads that wait until their entries are applied.
const PENDING: usize = 32;

/// Last entries of a partition that were applied, and the heads that memory has not reached yet.
#[derive(Debug)]
pub(super) struct Track {
    /// Links of the last entries; never empty. Their numbers are dense, unless the feed lacks some.
    recent: VecDeque<Link>,
    pending: VecDeque<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    sent: Instant,
    head: Link,
}

/// Finding about a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Freshness: memory holds everything that was acknowledged before this moment.
    Fresh(Instant),
    /// Nothing yet: memory has not reached the head.
    Ahead,
    /// Break: the store's history is not the one that was applied.
    Break,
}

// === impl Track ===

impl Track {
    /// Track of a partition where `last` was applied last.
    pub(super) fn new(last: Link) -> Track {
        Track { recent: VecDeque::from([last]), pending: VecDeque::new() }
    }

    /// Entry that was applied last.
    pub(super) fn last(&self) -> Link {
        self.recent.back().copied().unwrap_or_default()
    }

    /// Notes that `link` was applied.
    pub(super) fn applied(&mut self, link: Link) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(link);
    }

    /// Forgets the heads that wait: their connection is closed, and the next one shows its own. Catching up may pass
    /// them, so that they would look overdue until another entry comes.
    pub(super) fn reconnected(&mut self) {
        self.pending.clear();
    }

    /// Compares a head that was asked for at `sent`, when the entry `applied` was the last one applied.
    pub(super) fn heard(&mut self, sent: Instant, applied: u64, head: Link) -> Heard {
        if head.seq > self.last().seq {
            // The oldest are kept: they are the first to be reached.
            if self.pending.len() < PENDING {
                self.pending.push_back(Pending { sent, head });
            }
            return Heard::Ahead;
        }
        if head.seq < applied {
            return Heard::Break;
        }
        self.compare(sent, head)
    }

    /// Freshness by the newest waiting head that memory has reached.
    pub(super) fn settled(&mut self) -> Heard {
        let mut heard = Heard::Ahead;
        while let Some(&Pending { sent, head }) = self.pending.front()
            && head.seq <= self.last().seq
        {
            self.pending.pop_front();
            match self.compare(sent, head) {
                Heard::Break => return Heard::Break,
                Heard::Ahead => {}
                fresh @ Heard::Fresh(_) => heard = fresh,
            }
        }
        heard
    }

    /// Moment since which memory has been behind a head.
    pub(super) fn behind_since(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.sent)
    }

    fn compare(&self, sent: Instant, head: Link) -> Heard {
        // Dense and short: near the end.
        match self.recent.iter().rev().find(|link| link.seq <= head.seq) {
            Some(link) if *link == head => Heard::Fresh(sent),
            Some(link) if link.seq == head.seq => Heard::Break,
            // Too many entries were applied meanwhile to know this one: another head will come.
            Some(_) | None => Heard::Ahead,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn link(seq: u64) -> Link {
        Link { seq, nonce: seq * 100 }
    }

    fn other(seq: u64) -> Link {
        Link { seq, nonce: seq * 100 + 7 }
    }

    #[test]
    fn memory_is_as_fresh_as_the_request_for_a_head_that_it_holds() {
        let now = Instant::now();
        let mut track = Track::new(Link::default());
        assert_eq!(track.heard(now, 0, Link::default()), Heard::Fresh(now), "an empty feed is known");
        track.applied(link(1));
        assert_eq!(track.heard(now, 1, link(1)), Heard::Fresh(now));
        track.applied(link(2));
        assert_eq!(
            track.heard(now, 1, link(1)),
            Heard::Fresh(now),
            "an entry was applied while the answer was on its way"
        );
    }

    #[test]
    fn a_head_that_is_ahead_counts_once_it_was_applied() {
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_millis(1));
        let third = second + Duration::from_millis(1);
        let mut track = Track::new(link(1));
        assert_eq!(track.heard(first, 1, link(2)), Heard::Ahead);
        assert_eq!(track.heard(second, 1, link(3)), Heard::Ahead);
        assert_eq!(track.heard(third, 1, link(5)), Heard::Ahead);
        assert_eq!((track.settled(), track.behind_since()), (Heard::Ahead, Some(first)));
        track.applied(link(2));
        assert_eq!(track.settled(), Heard::Fresh(first));
        track.applied(link(3));
        track.applied(link(4));
        assert_eq!((track.settled(), track.behind_since()), (Heard::Fresh(second), Some(third)));
        track.applied(other(5));
        assert_eq!(track.settled(), Heard::Break, "another entry has that number");
    }

    #[test]
    fn a_new_connection_is_not_behind_the_heads_of_the_old_one() {
        let now = Instant::now();
        let mut track = Track::new(link(1));
        assert_eq!(track.heard(now, 1, link(2)), Heard::Ahead);
        assert_eq!(track.behind_since(), Some(now));
        track.reconnected();
        track.applied(link(2));
        assert_eq!(track.behind_since(), None, "it was read to catch up, and no entry comes that would settle it");
        let later = now + Duration::from_secs(1);
        assert_eq!(track.heard(later, 2, link(2)), Heard::Fresh(later));
    }

    #[test]
    fn a_head_that_lost_entries_is_a_break() {
        let now = Instant::now();
        let mut track = Track::new(link(1));
        track.applied(link(2));
        assert_eq!(track.heard(now, 2, link(1)), Heard::Break, "it is behind what was applied before the question");
        assert_eq!(track.heard(now, 2, Link::default()), Heard::Break);
        assert_eq!(track.heard(now, 2, other(2)), Heard::Break);
        assert_eq!(track.heard(now, 1, other(1)), Heard::Break);
        assert_eq!(track.heard(now, 1, other(2)), Heard::Break);
    }

    #[test]
    fn links_and_heads_are_bounded() {
        let now = Instant::now();
        let mut track = Track::new(Link::default());
        for seq in 1..=2 * RECENT as u64 {
            track.applied(link(seq));
            track.heard(now, seq, link(1 << 40));
        }
        assert_eq!((track.recent.len(), track.pending.len()), (RECENT, PENDING));
        assert_eq!(track.heard(now, 1, link(2)), Heard::Ahead, "too long ago to tell");
    }
}
