//! Settlements that an instance completes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

/// Settlements that an instance completes at a time, at most.
const MOST: usize = 1024;

/// A settlement: the record that decides it, and the charge's print.
pub(super) type Of = (String, [u8; 16]);

/// Settlements that are being completed, each once, however often its caller repeats it.
#[derive(Default)]
pub(super) struct Repairs {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Whether each was begun again since its completion began to ask.
    settlements: HashMap<Of, bool, RandomState>,
    /// Whether one was turned away since there was room last.
    full: bool,
}

/// Who completes a settlement that is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// The caller, who says so by [`Repairs::is_done`] or [`Repairs::give_up`].
    Here,
    /// Another task, which goes on until this one is complete, too.
    Already,
    /// Nobody: there is no room.
    TurnedAway {
        /// Whether it is the first since there was room.
        first: bool,
    },
}

// === impl Repairs ===

impl Repairs {
    pub(super) fn begin(&self, of: Of) -> Begun {
        let mut open = self.open.lock();
        let room = open.settlements.len() < MOST;
        match open.settlements.entry(of) {
            Entry::Occupied(mut again) => {
                again.insert(true);
                return Begun::Already;
            }
            Entry::Vacant(new) if room => {
                new.insert(false);
            }
            Entry::Vacant(_) => {
                let first = !std::mem::replace(&mut open.full, true);
                return Begun::TurnedAway { first };
            }
        }
        open.full = false;
        Begun::Here
    }

    /// Ends a settlement that is complete. It goes on, to be completed once more, if it was begun again meanwhile.
    pub(super) fn is_done(&self, of: &Of) -> bool {
        let mut open = self.open.lock();
        let again = open.settlements.get_mut(of).is_some_and(std::mem::take);
        if !again {
            open.settlements.remove(of);
        }
        !again
    }

    /// Ends a settlement as it is.
    pub(super) fn give_up(&self, of: &Of) {
        self.open.lock().settlements.remove(of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: usize) -> Of {
        (number.to_string(), [1; 16])
    }

    #[test]
    fn a_settlement_that_is_repeated_is_completed_once_and_once_more() {
        let repairs = Repairs::default();
        assert_eq!(repairs.begin(of(1)), Begun::Here);
        assert_eq!(repairs.begin((of(1).0, [2; 16])), Begun::Here, "another charge under its id");
        for _ in 0..3 {
            assert_eq!(repairs.begin(of(1)), Begun::Already);
        }
        assert!(!repairs.is_done(&of(1)), "what was decided since it asked may be missing");
        assert!(repairs.is_done(&of(1)));
        assert_eq!(repairs.begin(of(1)), Begun::Here);
        assert_eq!(repairs.begin(of(1)), Begun::Already);
        repairs.give_up(&of(1));
        assert_eq!(repairs.begin(of(1)), Begun::Here);
    }

    #[test]
    fn there_is_room_for_so_many_and_the_first_beyond_is_told() {
        let repairs = Repairs::default();
        assert!((0..MOST).all(|number| repairs.begin(of(number)) == Begun::Here));
        assert_eq!(repairs.begin(of(7)), Begun::Already);
        for first in [true, false, false] {
            assert_eq!(repairs.begin(of(MOST)), Begun::TurnedAway { first });
        }
        assert!(!repairs.is_done(&of(7)) && repairs.is_done(&of(7)));
        assert_eq!(repairs.begin(of(MOST)), Begun::Here);
        assert_eq!(repairs.begin(of(7)), Begun::TurnedAway { first: true });
    }
}
