//! Whether what the store says goes on from what was applied. Pure.

/// An entry of the feed, as the chain sees it: its dense number, and the random number that tells it from every other
/// entry that ever had that number. The start of the feed is the entry 0 with the nonce 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) nonce: u64,
}

/// What an entry that is read next is to the one that was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one.
    Next,
    /// The same.
    Known,
    /// Neither.
    Break,
}

/// What a new connection shows of a partition, read in this order over that one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// The head.
    pub(super) head: Link,
    /// The entry at the id of the one that was applied last, if the stream still has it.
    pub(super) own: Option<Link>,
    /// The first entry of the stream.
    pub(super) first: Option<Link>,
    /// The entry after that id, and the nonce of the one before it.
    pub(super) next: Option<(Link, u64)>,
}

/// How the store's feed stands to what was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It goes on from there, or is there.
    Continues,
    /// All that was applied has expired, and so has the feed's memory of it: it began anew, or was trimmed to its age.
    Outlived,
    /// It went on, but entries after the last one applied are gone from it.
    Gap,
    /// It lost what was applied: it is another history.
    Lost,
}

// === impl Link ===

impl Link {
    /// What `entry`, which names `previous` as the nonce before its own, is to this link.
    pub(super) fn step(self, entry: Link, previous: u64) -> Step {
        if entry == self {
            Step::Known
        } else if entry.seq == self.seq.wrapping_add(1) && previous == self.nonce {
            Step::Next
        } else {
            Step::Break
        }
    }

    /// Judges a feed, after this link was applied. `outlived` says whether that was so long ago that the feed need not
    /// have it any more.
    pub(super) fn relation(self, view: &View, outlived: bool) -> Relation {
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
        // The feed went on. If it still has entries from before ours, ours should be among them.
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
            // More was trimmed in the middle than at the end: the chain finds out as it reads on.
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
    fn another_history_is_found_out() {
        for view in [
            // Flushed, restarted empty, or a failover to a replica that lagged.
            view(Link::default(), None, None, None),
            view(link(2), None, Some(link(1)), None),
            view(other(3), None, Some(link(1)), None),
            // The same, and it has gone on since.
            view(other(5), None, Some(link(1)), Some((other(5), 407))),
            view(other(5), Some(other(3)), Some(link(1)), None),
        ] {
            assert_eq!(link(3).relation(&view, false), Relation::Lost, "{view:?}");
        }
    }

    #[test]
    fn entries_that_were_trimmed_unseen_are_a_gap() {
        for view in [view(link(9), None, Some(link(7)), Some((link(7), 600))), view(link(9), None, None, None)] {
            assert_eq!(link(3).relation(&view, false), Relation::Gap, "{view:?}");
            assert_eq!(link(3).relation(&view, true), Relation::Outlived, "{view:?}");
        }
        let trimmed = view(link(9), None, Some(link(7)), Some((link(7), 600)));
        assert_eq!(Link::default().relation(&trimmed, false), Relation::Gap);
    }

    #[test]
    fn a_feed_that_expired_whole_lost_nothing() {
        assert_eq!(link(3).relation(&view(Link::default(), None, None, None), true), Relation::Outlived);
        assert_eq!(
            link(3).relation(&view(other(1), None, Some(other(1)), Some((other(1), 0))), true),
            Relation::Outlived
        );
    }
}
