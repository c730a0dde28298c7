//! Age of the applied entries, by the answers of GetHead that they cover.

use std::collections::VecDeque;
use std::time::Instant;

use keyplane_revocation::Sequence;

/// Maximum of heads that wait to be covered. They come some 15 ms apart; one beyond the staleness bound is useless.
const WAITING: usize = 16;

/// Answer of GetHead. A replica that has applied `sequence`, in the same epoch, knows all revocations acknowledged before
/// `known_at`.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) sequence: Sequence,
    pub(super) epoch: String,
    pub(super) known_at: Instant,
}

/// Applied sequence, and the heads that it does not cover yet.
#[derive(Debug, Default)]
pub(super) struct Dating {
    applied: Option<(Sequence, String)>,
    heads: VecDeque<Head>,
}

// === impl Dating ===

impl Dating {
    /// Reports whether a sequence was applied.
    pub(super) fn is_live(&self) -> bool {
        self.applied.is_some()
    }

    /// Forgets the applied sequence and all heads.
    pub(super) fn reset(&mut self) {
        *self = Dating::default();
    }

    /// Notes that everything up to `sequence` is applied. Returns the newly covered moment, if any.
    pub(super) fn applied(&mut self, sequence: Sequence, epoch: String) -> Option<Instant> {
        self.applied = Some((sequence, epoch));
        self.settle()
    }

    /// Notes an answer of GetHead. Returns the newly covered moment, if any.
    pub(super) fn head(&mut self, head: Head) -> Option<Instant> {
        if self.heads.len() == WAITING {
            self.heads.pop_front();
        }
        self.heads.push_back(head);
        self.settle()
    }

    /// Returns the moment of the latest covered head, and drops all heads up to it.
    fn settle(&mut self) -> Option<Instant> {
        let (sequence, epoch) = self.applied.as_ref()?;
        let covered = |head: &Head| head.epoch == *epoch && sequence.covers(&head.sequence);
        let known_at = self.heads.iter().filter(|head| covered(head)).map(|head| head.known_at).max()?;
        self.heads.retain(|head| head.known_at > known_at);
        Some(known_at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(base: Instant, millis: u64) -> Instant {
        base + Duration::from_millis(millis)
    }

    fn head(seq: u64, epoch: &str, known_at: Instant) -> Head {
        Head { sequence: Sequence::at(0, seq, 4), epoch: epoch.to_owned(), known_at }
    }

    #[test]
    fn head_counts_once_it_is_covered() {
        let (base, mut dating) = (Instant::now(), Dating::default());
        assert_eq!(dating.head(head(5, "e", at(base, 0))), None, "nothing is applied");
        assert_eq!(dating.applied(Sequence::at(0, 4, 4), "e".into()), None, "an entry is missing");
        assert_eq!(dating.head(head(6, "e", at(base, 15))), None);
        assert_eq!(dating.applied(Sequence::at(0, 5, 4), "e".into()), Some(at(base, 0)));
        assert_eq!(dating.applied(Sequence::at(0, 5, 4), "e".into()), None, "no news");
        assert_eq!(dating.applied(Sequence::at(0, 9, 4), "e".into()), Some(at(base, 15)));
        assert_eq!(dating.head(head(9, "e", at(base, 30))), Some(at(base, 30)), "idle");
    }

    #[test]
    fn another_epoch_is_not_compared() {
        let (base, mut dating) = (Instant::now(), Dating::default());
        dating.applied(Sequence::at(0, 9, 4), "old".into());
        assert_eq!(dating.head(head(3, "new", at(base, 0))), None);
        assert_eq!(dating.applied(Sequence::at(0, 3, 4), "new".into()), Some(at(base, 0)));
        assert_eq!(dating.head(head(3, "old", at(base, 15))), None);
        dating.reset();
        assert!(!dating.is_live());
        assert_eq!(dating.head(head(0, "new", at(base, 30))), None, "what was applied is gone");
    }

    #[test]
    fn feed_that_lags_behind_every_head_still_dates_the_old_ones() {
        let (base, mut dating) = (Instant::now(), Dating::default());
        dating.applied(Sequence::new(4), "e".into());
        for n in 1..100 {
            assert_eq!(dating.head(head(n, "e", at(base, n))), None);
            if n > 3 {
                let known_at = dating.applied(Sequence::at(0, n - 3, 4), "e".into());
                assert_eq!(known_at, Some(at(base, n - 3)), "three heads behind");
            }
        }
        assert!(dating.heads.len() <= WAITING);
    }

    #[test]
    fn heads_that_nothing_covers_do_not_pile_up() {
        let (base, mut dating) = (Instant::now(), Dating::default());
        for n in 0..1000 {
            dating.head(head(n, "e", at(base, n)));
        }
        assert_eq!(dating.heads.len(), WAITING);
    }
}
