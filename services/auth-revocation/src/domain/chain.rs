//! Chain of a partition's feed: whether it continues from the entry that memory applied last, has a gap, or was lost.

/// Entry of the feed as the chain sees it. The start of the feed is the entry 0 with the nonce 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Dense number: one more than that of the entry before.
    pub seq: u64,
    /// Random number, which tells the entry from any other that ever had its number.
    pub nonce: u64,
}

/// Relation of an entry to the one that was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Successor.
    Next,
    /// Entry that was applied last, once more.
    Known,
    /// Neither: entries are missing between the two, or they belong to different histories.
    Break,
}

/// State of a partition's feed. The fields are read in this order over one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Head.
    pub head: Link,
    /// Entry at the id of the one that was applied last, if the stream still has it.
    pub own: Option<Link>,
    /// First entry of the stream.
    pub first: Option<Link>,
    /// Entry after that id, and the nonce that it names for the entry before itself.
    pub next: Option<(Link, u64)>,
}

/// Relation of the store's feed to the entry that was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Continuation: the feed ends with that entry, or goes on from it.
    Continues,
    /// New start after expiry: everything that was applied has expired, and the feed was trimmed to its age.
    Outlived,
    /// Gap: the feed went on, and entries after the one that was applied last were trimmed from it.
    Gap,
    /// Another history: the store lost entries that were applied.
    Lost,
}

// === impl Link ===

impl Link {
    /// Relation of `entry`, which names `previous` as the nonce of the entry before it, to this link.
    #[must_use]
    pub fn step(self, entry: Link, previous: u64) -> Step {
        if entry == self {
            Step::Known
        } else if entry.seq == self.seq.wrapping_add(1) && previous == self.nonce {
            Step::Next
        } else {
            Step::Break
        }
    }

    /// Compares a feed with this link, which was applied last. `outlived`: the entry is older than the feed's
    /// retention.
    #[must_use]
    pub fn relation(self, view: &View, outlived: bool) -> Relation {
        let View { head, own, first, next } = *view;
        let ours_or = |otherwise| if outlived { Relation::Outlived } else { otherwise };
        if head == self {
            return Relation::Continues;
        }
        if head.seq <= self.seq {
            return ours_or(Relation::Lost);
        }
        if self.seq == 0 && first.is_none_or(|first| first.seq == 1) {
            return Relation::Continues;
        }
        match own {
            Some(own) if own == self => return Relation::Continues,
            Some(_) => return Relation::Lost,
            None => {}
        }
        if next.is_some_and(|(next, previous)| self.step(next, previous) == Step::Next) {
            return Relation::Continues;
        }
        // The feed went on. A feed that still has entries from before ours should have ours.
        if first.is_some_and(|first| first.seq <= self.seq) { ours_or(Relation::Lost) } else { ours_or(Relation::Gap) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(seq: u64) -> Link {
        Link { seq, nonce: seq * 100 }
    }

    fn other(seq: u64) -> Link {
        Link { seq, nonce: seq * 100 + 7 }
    }

    fn view(head: Link, own: Option<Link>, first: Option<Link>, next: Option<(Link, u64)>) -> View {
        View { head, own, first, next }
    }

    #[test]
    fn an_entry_follows_by_number_and_nonce() {
        assert_eq!(link(3).step(link(4), 300), Step::Next);
        assert_eq!(link(3).step(link(3), 200), Step::Known);
        assert_eq!(Link::default().step(link(1), 0), Step::Next);
        for (entry, previous) in [(link(4), 307), (link(5), 300), (other(3), 200), (link(2), 100), (link(1), 0)] {
            assert_eq!(link(3).step(entry, previous), Step::Break, "{entry:?} after {previous}");
        }
    }

    #[test]
    fn a_feed_that_goes_on_continues() {
        let all = Some(link(1));
        for view in [
            view(link(3), Some(link(3)), all, None),
            // The stream was trimmed, but nothing that was not applied is missing.
            view(link(3), None, None, None),
            view(link(5), Some(link(3)), all, Some((link(4), 300))),
            view(link(5), None, Some(link(4)), Some((link(4), 300))),
            // Entries are missing in the middle: the chain shows that as the follower reads on.
            view(link(5), Some(link(3)), Some(link(3)), None),
        ] {
            assert_eq!(link(3).relation(&view, false), Relation::Continues, "{view:?}");
        }
        for first in [None, Some(link(1))] {
            let view = view(link(5), None, first, first.map(|first| (first, 0)));
            assert_eq!(Link::default().relation(&view, false), Relation::Continues, "{view:?}");
        }
    }

    #[test]
    fn another_history_is_detected() {
        for view in [
            // Flushed, restarted empty, or a failover to a replica that lagged.
            view(Link::default(), None, None, None),
            view(link(2), None, Some(link(1)), None),
            view(other(3), None, Some(link(1)), None),
            // Another history that has gone on since.
            view(other(5), None, Some(link(1)), Some((other(5), 407))),
            view(other(5), Some(other(3)), Some(link(1)), None),
        ] {
            assert_eq!(link(3).relation(&view, false), Relation::Lost, "{view:?}");
        }
    }

    #[test]
    fn entries_trimmed_before_they_were_read_are_a_gap() {
        for view in [view(link(9), None, Some(link(7)), Some((link(7), 600))), view(link(9), None, None, None)] {
            assert_eq!(link(3).relation(&view, false), Relation::Gap, "{view:?}");
            assert_eq!(link(3).relation(&view, true), Relation::Outlived, "{view:?}");
        }
        let trimmed = view(link(9), None, Some(link(7)), Some((link(7), 600)));
        assert_eq!(Link::default().relation(&trimmed, false), Relation::Gap);
    }

    #[test]
    fn a_feed_that_expired_entirely_lost_nothing() {
        assert_eq!(link(3).relation(&view(Link::default(), None, None, None), true), Relation::Outlived);
        assert_eq!(
            link(3).relation(&view(other(1), None, Some(other(1)), Some((other(1), 0))), true),
            Relation::Outlived
        );
    }
}
