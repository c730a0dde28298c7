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

/// Marks the partition fresh at each of the seconds `from..=to` after `begin`.
fn stay_fresh(recent: &mut RecentChanges, begin: Instant, from: u64, to: u64) {
    (from..=to).for_each(|second| recent.fresh(begin + Duration::from_secs(second)));
}

#[test]
fn the_last_version_is_kept_in_any_order() {
    let mut recent = RecentChanges::new(AGE, STEP);
    for version in [2, 3, 1] {
        recent.push(&entry(1, version));
    }
    assert_eq!(recent.get(&id(1)).map(|entry| entry.version), Some(Version(3)));
    assert_eq!(recent.entries().count(), 1);
}

#[test]
fn an_entry_is_kept_for_a_fresh_minute_after_its_last_change() {
    let (begin, mut recent) = (Instant::now(), RecentChanges::new(AGE, STEP));
    stay_fresh(&mut recent, begin, 0, 10);
    recent.push(&entry(1, 1));
    stay_fresh(&mut recent, begin, 11, 70);
    recent.push(&entry(1, 2));
    stay_fresh(&mut recent, begin, 71, 129);
    assert!(recent.get(&id(1)).is_some());
    stay_fresh(&mut recent, begin, 130, 130);
    assert!(recent.get(&id(1)).is_none() && recent.order.is_empty());
}

#[test]
fn nothing_ages_during_an_outage_of_any_length() {
    for outage in [2, 59, 130, 600, 86_400] {
        let (begin, mut recent) = (Instant::now(), RecentChanges::new(AGE, STEP));
        stay_fresh(&mut recent, begin, 0, 30);
        (0..172).for_each(|sid| recent.push(&entry(sid, 1)));
        // The store comes back without a loss; three times.
        for back in [30 + outage, 30 + 2 * outage, 30 + 3 * outage] {
            stay_fresh(&mut recent, begin, back, back);
            assert_eq!(recent.entries().count(), 172, "outage of {outage} s");
        }
        stay_fresh(&mut recent, begin, 31 + 3 * outage, 86 + 3 * outage);
        assert_eq!(recent.entries().count(), 172, "59 s of fresh time, of which each outage counts for 1 s");
        stay_fresh(&mut recent, begin, 87 + 3 * outage, 87 + 3 * outage);
        assert_eq!(recent.entries().count(), 0);
    }
}

#[test]
fn the_number_of_entries_is_bounded() {
    let mut recent = RecentChanges::new(AGE, STEP);
    for sid in 0..LENGTH + 10 {
        recent.push(&entry(sid, 1));
    }
    assert_eq!((recent.entries().count(), recent.order.len()), (LENGTH, LENGTH));
    assert!(recent.get(&id(9)).is_none() && recent.get(&id(10)).is_some());
}

/// Event in the life of a partition.
#[derive(Clone, Debug)]
enum Event {
    /// Change of one of a few targets.
    Entry(usize),
    /// Time in ms for which the partition stays fresh.
    Fresh(u64),
    /// Outage of the store, in seconds.
    Outage(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..6usize).prop_map(Event::Entry),
        3 => (1..30_000u64).prop_map(Event::Fresh),
        1 => prop_oneof![Just(130), Just(600), 2..2_000u64].prop_map(Event::Outage),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    /// Model: each target's last change, in ms of fresh time.
    #[test]
    fn changes_within_a_minute_of_fresh_time_are_kept(events in events()) {
        let (begin, mut recent) = (Instant::now(), RecentChanges::new(AGE, STEP));
        let (mut wall, mut fresh, mut changed) = (0, 0, HashMap::new());
        recent.fresh(begin);
        for (version, event) in (1..).zip(events) {
            match event {
                Event::Entry(sid) => {
                    recent.push(&entry(sid, version));
                    changed.insert(sid, fresh);
                }
                Event::Fresh(millis) => {
                    let mut left = millis;
                    while left > 0 {
                        let step = left.min(33);
                        (wall, fresh, left) = (wall + step, fresh + step, left - step);
                        recent.fresh(begin + Duration::from_millis(wall));
                    }
                }
                Event::Outage(seconds) => {
                    wall += seconds * 1000;
                    fresh += 1000;
                    recent.fresh(begin + Duration::from_millis(wall));
                }
            }
            let expected = changed.iter().filter(|(_, changed)| fresh - **changed < 60_000);
            let mut expected: Vec<_> = expected.map(|(sid, _)| id(*sid).to_string()).collect();
            let mut held: Vec<_> = recent.entries().map(|(id, _)| id.to_string()).collect();
            expected.sort();
            held.sort();
            prop_assert_eq!(held, expected);
        }
    }
}
