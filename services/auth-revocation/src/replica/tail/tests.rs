use keyplane_revocation::{Millis, Scope, State, Target};
use proptest::prelude::*;

use super::*;

const AGE: Duration = Duration::from_secs(60);
/// Longest time between two moments of a partition that stays fresh.
const STEP: Duration = Duration::from_secs(1);

fn entry(sid: usize, version: u64) -> Arc<Entry> {
    let target = Target { tenant: "acme".into(), scope: Scope::Session(sid.to_string().into()) };
    let state = State { undone: false, expires: Millis(i64::MAX), cutoff: None, token_expires: None, kept: Vec::new() };
    Arc::new(Entry { target, state, version: Version(version) })
}

fn id(sid: usize) -> RevocationId {
    entry(sid, 1).target.id()
}

/// Fresh at each step of the seconds `from..=to` after `begin`.
fn stay_fresh(tail: &mut Tail, begin: Instant, from: u64, to: u64) {
    (from..=to).for_each(|second| tail.fresh(begin + Duration::from_secs(second)));
}

#[test]
fn the_last_version_is_kept_whatever_comes_first() {
    let mut tail = Tail::new(AGE, STEP);
    for version in [2, 3, 1] {
        tail.push(&entry(1, version));
    }
    assert_eq!(tail.get(&id(1)).map(|entry| entry.version), Some(Version(3)));
    assert_eq!(tail.entries().count(), 1);
}

#[test]
fn an_entry_is_kept_for_a_fresh_minute_after_its_last_change() {
    let (begin, mut tail) = (Instant::now(), Tail::new(AGE, STEP));
    stay_fresh(&mut tail, begin, 0, 10);
    tail.push(&entry(1, 1));
    stay_fresh(&mut tail, begin, 11, 70);
    tail.push(&entry(1, 2));
    stay_fresh(&mut tail, begin, 71, 129);
    assert!(tail.get(&id(1)).is_some());
    stay_fresh(&mut tail, begin, 130, 130);
    assert!(tail.get(&id(1)).is_none() && tail.order.is_empty());
}

#[test]
fn nothing_ages_during_an_outage_of_any_length() {
    for outage in [2, 59, 130, 600, 86_400] {
        let (begin, mut tail) = (Instant::now(), Tail::new(AGE, STEP));
        stay_fresh(&mut tail, begin, 0, 30);
        (0..172).for_each(|sid| tail.push(&entry(sid, 1)));
        // The store comes back, and is found to be whole; and again.
        for back in [30 + outage, 30 + 2 * outage, 30 + 3 * outage] {
            stay_fresh(&mut tail, begin, back, back);
            assert_eq!(tail.entries().count(), 172, "{outage} s away");
        }
        stay_fresh(&mut tail, begin, 31 + 3 * outage, 86 + 3 * outage);
        assert_eq!(tail.entries().count(), 172, "59 s of fresh time, of which each outage counts for 1 s");
        stay_fresh(&mut tail, begin, 87 + 3 * outage, 87 + 3 * outage);
        assert_eq!(tail.entries().count(), 0);
    }
}

#[test]
fn its_length_is_bounded() {
    let mut tail = Tail::new(AGE, STEP);
    for sid in 0..LENGTH + 10 {
        tail.push(&entry(sid, 1));
    }
    assert_eq!((tail.entries().count(), tail.order.len()), (LENGTH, LENGTH));
    assert!(tail.get(&id(9)).is_none() && tail.get(&id(10)).is_some());
}

/// What happens to a tail.
#[derive(Clone, Debug)]
enum Happens {
    /// An entry of one of a few targets comes.
    Entry(usize),
    /// The partition stays fresh for so many milliseconds.
    Fresh(u64),
    /// The store is away for so many seconds.
    Away(u64),
}

fn happens() -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        3 => (0..6usize).prop_map(Happens::Entry),
        3 => (1..30_000u64).prop_map(Happens::Fresh),
        1 => prop_oneof![Just(130), Just(600), 2..2_000u64].prop_map(Happens::Away),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    /// The model: each target's last change, in milliseconds of fresh time.
    #[test]
    fn it_holds_what_changed_within_a_minute_of_fresh_time(happens in happens()) {
        let (begin, mut tail) = (Instant::now(), Tail::new(AGE, STEP));
        let (mut wall, mut fresh, mut changed) = (0, 0, HashMap::new());
        tail.fresh(begin);
        for (version, happens) in (1..).zip(happens) {
            match happens {
                Happens::Entry(sid) => {
                    tail.push(&entry(sid, version));
                    changed.insert(sid, fresh);
                }
                Happens::Fresh(millis) => {
                    let mut left = millis;
                    while left > 0 {
                        let step = left.min(33);
                        (wall, fresh, left) = (wall + step, fresh + step, left - step);
                        tail.fresh(begin + Duration::from_millis(wall));
                    }
                }
                Happens::Away(seconds) => {
                    wall += seconds * 1000;
                    fresh += 1000;
                    tail.fresh(begin + Duration::from_millis(wall));
                }
            }
            let expected = changed.iter().filter(|(_, changed)| fresh - **changed < 60_000);
            let mut expected: Vec<_> = expected.map(|(sid, _)| id(*sid).to_string()).collect();
            let mut held: Vec<_> = tail.entries().map(|(id, _)| id.to_string()).collect();
            expected.sort();
            held.sort();
            prop_assert_eq!(held, expected);
        }
    }
}
