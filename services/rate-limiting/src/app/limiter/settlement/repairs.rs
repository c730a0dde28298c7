//! Settlements that an instance completes in the background.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

/// Most settlements that an instance completes at a time.
const MOST: usize = 1024;

/// Settlement: the record that decides it, and the charge's fingerprint.
pub(super) type SettlementId = (String, [u8; 16]);

/// Settlements in flight, each once, however often its caller retries it.
#[derive(Default)]
pub(in crate::app::limiter) struct Repairs {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// True for each that was claimed again since its last attempt began.
    settlements: HashMap<SettlementId, bool, RandomState>,
    /// True if a settlement was rejected since there was room last.
    full: bool,
}

/// Claim to complete a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Caller completes it, and ends the claim by [`Repairs::is_done`] or [`Repairs::give_up`].
    Granted,
    /// Another task completes it, this attempt included.
    Taken,
    /// Room for another claim is missing.
    Rejected {
        /// True if it is the first rejection since there was room.
        first: bool,
    },
}

// === impl Repairs ===

impl Repairs {
    /// Claims a settlement.
    pub(super) fn claim(&self, id: SettlementId) -> Claim {
        let mut open = self.open.lock();
        let room = open.settlements.len() < MOST;
        match open.settlements.entry(id) {
            Entry::Occupied(mut again) => {
                again.insert(true);
                return Claim::Taken;
            }
            Entry::Vacant(new) if room => {
                new.insert(false);
            }
            Entry::Vacant(_) => {
                let first = !std::mem::replace(&mut open.full, true);
                return Claim::Rejected { first };
            }
        }
        open.full = false;
        Claim::Granted
    }

    /// Ends the claim of a completed settlement; false if it was claimed again meanwhile, and must be completed once more.
    pub(super) fn is_done(&self, id: &SettlementId) -> bool {
        let mut open = self.open.lock();
        let again = open.settlements.get_mut(id).is_some_and(std::mem::take);
        if !again {
            open.settlements.remove(id);
        }
        !again
    }

    /// Ends the claim of an incomplete settlement.
    pub(super) fn give_up(&self, id: &SettlementId) {
        self.open.lock().settlements.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> SettlementId {
        (number.to_string(), [1; 16])
    }

    #[test]
    fn repeated_settlement_is_completed_once_more() {
        let repairs = Repairs::default();
        assert_eq!(repairs.claim(id(1)), Claim::Granted);
        assert_eq!(repairs.claim((id(1).0, [2; 16])), Claim::Granted, "another charge under its id");
        for _ in 0..3 {
            assert_eq!(repairs.claim(id(1)), Claim::Taken);
        }
        assert!(!repairs.is_done(&id(1)), "what was decided since it asked may be missing");
        assert!(repairs.is_done(&id(1)));
        assert_eq!(repairs.claim(id(1)), Claim::Granted);
        assert_eq!(repairs.claim(id(1)), Claim::Taken);
        repairs.give_up(&id(1));
        assert_eq!(repairs.claim(id(1)), Claim::Granted);
    }

    #[test]
    fn first_settlement_without_room_is_reported() {
        let repairs = Repairs::default();
        assert!((0..MOST).all(|number| repairs.claim(id(number)) == Claim::Granted));
        assert_eq!(repairs.claim(id(7)), Claim::Taken);
        for first in [true, false, false] {
            assert_eq!(repairs.claim(id(MOST)), Claim::Rejected { first });
        }
        assert!(!repairs.is_done(&id(7)) && repairs.is_done(&id(7)));
        assert_eq!(repairs.claim(id(MOST)), Claim::Granted);
        assert_eq!(repairs.claim(id(7)), Claim::Rejected { first: true });
    }
}
