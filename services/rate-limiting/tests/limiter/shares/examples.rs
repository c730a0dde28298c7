//! Histories that are worth a test of their own.

use super::*;

const TEN: Rate = Rate { amount: 10, period: SECOND, burst: 10 };

/// Ten a second, ten at once; 25 reservations that have leaked long since are cancelled one by one.
#[test]
fn leaked_reservations_give_nothing_back() {
    RUNTIME.block_on(async {
        let mut case = Case::new(TEN).await;
        for _ in 0..25 {
            case.charge(10, true, false).await;
            case.pass(SECOND);
        }
        let mut admitted = 0;
        for old in 0..25 {
            let before = case.charges.len();
            case.charge(10, true, false).await;
            admitted += 10 * (case.charges.len() - before);
            case.settle(old, b'f', 0, 10, false).await;
        }
        assert_eq!(admitted, 10, "at once");
        case.is_bounded();
    });
}

/// Checks that a later charge leaks earlier once the one in front is given back.
#[test]
fn refund_in_front_lets_later_charges_leak_earlier() {
    RUNTIME.block_on(async {
        for wait in [0, SECOND / 4, SECOND / 2, SECOND] {
            let mut case = Case::new(TEN).await;
            case.charge(5, true, false).await;
            case.charge(5, true, false).await;
            case.settle(0, b'f', 0, 5, false).await;
            case.pass(wait);
            case.charge(3, true, false).await;
            case.settle(1, b'f', 0, 5, false).await;
            case.is_bounded();
        }
    });
}

/// More gaps than are remembered: less may be given back, never more.
#[test]
fn forgotten_holes_give_back_less_and_never_more() {
    RUNTIME.block_on(async {
        let count = 3 * HOLES;
        let rate = Rate { amount: 10, period: SECOND, burst: 2 * count as u64 };
        let mut case = Case::new(rate).await;
        for _ in 0..2 * count {
            case.charge(1, true, false).await;
        }
        for at in (0..2 * count).step_by(2) {
            case.settle(at, b'f', 0, 1, false).await;
        }
        // Half of what is left leaks away, so that only gaps tell what has.
        case.pass(SECOND / 10 * count as u64 / 2);
        let (mut before, mut given) = (case.level(), 0);
        for at in (1..2 * count).step_by(2) {
            let head: [&[u8]; 6] = [b"f", b"-", &[1; 16], &[0; 8], &double(0), &double(0)];
            let answer = case.ask(b's', 1, Some(case.record(at as u64, &head)), b'e', Default::default()).await;
            let moved = answer.states[0].moved;
            let own = case.queue.iter().find(|(charge, _)| *charge == at).map_or(0, |(_, units)| *units);
            let moved = (u128::from(moved.micros) * u128::from(rate.meter().n()) + u128::from(moved.part))
                * u128::from(rate.amount)
                / u128::from(rate.meter().n());
            assert!(moved <= own, "the charge {at} has {own} and gives back {moved}");
            case.remove(Some(at), moved);
            before -= moved;
            given += moved;
            assert!(rate.is(before, &answer.states[0]), "{before} are left: {answer:?}");
        }
        assert!(given > 0, "those behind the last holes are known");
        case.is_bounded();
    });
}

/// Limit that changes while a charge is open: as much is charged as before, and nothing is given back of it once the
/// bucket counts at another rate.
#[test]
fn changed_rate_keeps_earlier_charges() {
    RUNTIME.block_on(async {
        let mut case = Case::new(TEN).await;
        case.charge(4, true, false).await;
        case.charge(4, true, false).await;
        // Nothing was charged under the other rate yet: it is given back exactly.
        case.settle(0, b'f', 0, 4, false).await;
        case.rate = Rate { amount: 20, period: SECOND, burst: 20 };
        let answer = case.ask(b'c', 1, None, b'e', Default::default()).await;
        assert_eq!(answer.status, 'A');
        let full = answer.states[0].level;
        for rate in [TEN, case.rate] {
            case.rate = rate;
            let head: [&[u8]; 6] = [b"q", b"-", &[1; 16], &[0; 8], &double(0), &double(0)];
            assert_eq!(case.ask(b's', 0, Some(case.record(1, &head)), b'e', Default::default()).await.status, 'O');
        }
        case.rate = TEN;
        let head: [&[u8]; 6] = [b"f", b"-", &[1; 16], &[0; 8], &double(0), &double(0)];
        let answer = case.ask(b's', 4, Some(case.record(1, &head)), b'e', Default::default()).await;
        assert_eq!((answer.status, answer.states[0].moved), ('A', Level::EMPTY));
        case.rate = Rate { amount: 20, period: SECOND, burst: 20 };
        let peeked = case.ask(b'p', 1, None, b'e', Default::default()).await;
        assert_eq!(peeked.states[0].level, full, "as much as before");
    });
}

/// Limit that changes to one of other parts of a microsecond, before more is charged than was estimated. The bucket
/// says where its charges are, or, once it was reset, their records do.
#[test]
fn hits_above_an_estimate_are_charged_by_the_limit_in_force() {
    RUNTIME.block_on(async {
        for reset in [false, true] {
            let mut case = Case::new(Rate { amount: 7, period: SECOND, burst: 20 }).await;
            if reset {
                case.charge(1, true, false).await;
                case.run(Step::Reset).await;
            }
            let first = case.charges.len();
            for _ in 0..3 {
                case.charge(3, true, false).await;
            }
            case.run(Step::Change(Rate { amount: 3, period: SECOND, burst: 8 })).await;
            for at in first..first + 3 {
                // There is no room for all of the last one.
                case.settle(at, b'f', 6, 3, true).await;
            }
            assert_eq!(case.level(), 2 * case.units(8), "reset: {reset}");
        }
    });
}

/// Places may go ahead of the clock for as long as something is there; after 71 years of them they begin anew.
#[test]
fn places_far_ahead_of_the_clock_start_a_new_era() {
    RUNTIME.block_on(async {
        let year = 366 * 86_400 * SECOND;
        let mut case = Case::new(Rate { amount: 10, period: year, burst: 10 }).await;
        let (mut charged, mut given) = (0, 0);
        case.charge(1, true, false).await;
        case.charge(4, true, false).await;
        for round in 0..200 {
            // The one before goes when the next is behind it, so its place is not used again.
            let at = case.charges.len();
            case.charge(4, true, false).await;
            let head: [&[u8]; 6] = [b"f", b"-", &[1; 16], &[0; 8], &double(0), &double(0)];
            let answer = case.ask(b's', 4, Some(case.record(at as u64 - 1, &head)), b'e', Default::default()).await;
            let moved = u128::from(answer.states[0].moved.micros) * 10;
            let own = case.remove(Some(at - 1), moved);
            assert_eq!(own, moved, "round {round}: never more than it had");
            charged += 1;
            given += u64::from(moved == case.units(4));
            if moved == 0 {
                // Charges of the time before give nothing back: they are reset here, or nothing would have room.
                case.run(Step::Reset).await;
                case.charge(1, true, false).await;
                case.charge(4, true, false).await;
            }
        }
        assert!(given < charged && given > charged - 5, "{given} of {charged}");
    });
}
