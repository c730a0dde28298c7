//! Eviction: which memories go when an owner has too many.

use super::item::Item;
use super::memory::MemoryId;

/// Time in which the worth of a last use halves, in milliseconds: 30 days.
const HALF_LIFE: f64 = 30.0 * 86_400_000.0;

/// Memory that may be evicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    id: MemoryId,
    pinned: bool,
    fresh: bool,
    superseded: bool,
    importance: u8,
    accessed: i64,
    expires: i64,
}

// === impl Candidate ===

impl Candidate {
    /// Candidate of an item. `fresh`: written by the call that looks for room.
    #[must_use]
    pub fn new(item: &Item, fresh: bool) -> Candidate {
        Candidate {
            id: item.id,
            pinned: item.pinned,
            fresh,
            superseded: item.superseded,
            importance: item.importance,
            accessed: item.accessed,
            expires: item.expires,
        }
    }

    /// Worth: half importance, half recency. Expired memories are worth least, then superseded ones.
    #[expect(clippy::cast_precision_loss, reason = "ages of centuries in milliseconds are below 2^53")]
    fn worth(&self, now: i64) -> f64 {
        let age = now.saturating_sub(self.accessed).max(0) as f64;
        let worth = 0.5 * f64::from(self.importance) / 255.0 + 0.5 * (-age / HALF_LIFE).exp2();
        if self.expires <= now {
            worth - 2.0
        } else if self.superseded {
            worth - 1.0
        } else {
            worth
        }
    }
}

/// Memories to evict: those of the least worth, `excess` and `slack` more, never a pinned one. If all others are pinned, the
/// fresh ones go, and no more than `excess`. O(n log n).
#[must_use]
pub fn victims(candidates: Vec<Candidate>, excess: usize, slack: usize, now: i64) -> Vec<MemoryId> {
    let (pinned, mut free): (Vec<Candidate>, Vec<Candidate>) =
        candidates.into_iter().partition(|candidate| candidate.pinned && candidate.expires > now);
    free.sort_by(|a, b| a.worth(now).total_cmp(&b.worth(now)).then_with(|| a.id.cmp(&b.id)));
    // Slack takes no memory that the call has just written.
    let needed = |(at, candidate): &(usize, &Candidate)| *at < excess || (*at < excess + slack && !candidate.fresh);
    let mut victims: Vec<MemoryId> =
        free.iter().enumerate().filter(needed).map(|(_, candidate)| candidate.id).collect();
    let missing = excess.saturating_sub(free.len());
    victims.extend(pinned.iter().filter(|candidate| candidate.fresh).take(missing).map(|candidate| candidate.id));
    victims
}

#[cfg(test)]
mod tests {
    use super::super::scope::Partition;
    use super::*;

    const DAY: i64 = 86_400_000;

    fn candidate(number: u8) -> Candidate {
        Candidate {
            id: MemoryId::new(Partition::new(0).expect("a partition"), [number; 16]),
            pinned: false,
            fresh: false,
            superseded: false,
            importance: 128,
            accessed: 100 * DAY,
            expires: 200 * DAY,
        }
    }

    fn evicted(candidates: Vec<Candidate>, excess: usize, slack: usize) -> Vec<u8> {
        victims(candidates, excess, slack, 100 * DAY).iter().map(|id| id.hash()[0]).collect()
    }

    #[test]
    fn least_important_and_least_used_go_first() {
        let candidates = vec![
            Candidate { importance: 255, ..candidate(1) },
            Candidate { accessed: 0, ..candidate(2) },
            Candidate { importance: 0, ..candidate(3) },
            Candidate { superseded: true, importance: 255, ..candidate(4) },
            Candidate { expires: 1, importance: 255, ..candidate(5) },
        ];
        assert_eq!(evicted(candidates, 4, 0), [5, 4, 2, 3]);
    }

    #[test]
    fn pinned_memories_stay_and_fresh_ones_go_if_nothing_else_can() {
        let pinned = |number| Candidate { pinned: true, ..candidate(number) };
        let fresh = Candidate { fresh: true, ..pinned(3) };
        assert_eq!(evicted(vec![pinned(1), candidate(2), fresh], 1, 5), [2]);
        assert_eq!(evicted(vec![pinned(1), pinned(2), fresh], 1, 5), [3]);
        assert_eq!(evicted(vec![pinned(1), pinned(2)], 1, 5), [0; 0]);
    }

    #[test]
    fn slack_spares_what_the_call_has_written() {
        let fresh = Candidate { fresh: true, importance: 0, ..candidate(1) };
        assert_eq!(evicted(vec![fresh, candidate(2), candidate(3)], 0, 2), [2]);
        assert_eq!(evicted(vec![fresh, candidate(2), candidate(3)], 1, 1), [1, 2]);
    }
}
