use std::time::Duration;

use keyplane_contracts::revocation::v1 as pb;
use proptest::prelude::*;
use prost_types::Timestamp;

use super::{Invalid, entry_of, feed_entry, millis, rule, rule_of, rules, rules_of, timestamp};
use crate::state::tests::states;
use crate::target::tests::targets;
use crate::{Entry, Millis, Rule, Rules, Version};

fn read(seconds: i64, nanos: i32) -> Option<i64> {
    millis("time", &Timestamp { seconds, nanos }).ok().map(|millis| millis.0)
}

#[test]
fn times_are_cut_to_the_millisecond() {
    assert_eq!(read(1, 1_999_999), Some(1001));
    assert_eq!(read(1, 999_999_999), Some(1999));
    // Nanoseconds count towards the future, before 1970 too.
    assert_eq!(read(-1, 999_999), Some(-1000));
    assert_eq!(read(-1, 999_000_000), Some(-1));
}

#[test]
fn malformed_times_are_invalid() {
    for (seconds, nanos) in [
        (i64::MAX, 0),
        (i64::MIN, 0),
        (253_402_300_800, 0),
        (-62_135_596_801, 0),
        (0, -1),
        (0, 1_000_000_000),
        (0, i32::MIN),
    ] {
        assert_eq!(read(seconds, nanos), None, "{seconds} s and {nanos} ns is no time");
    }
    assert_eq!(read(253_402_300_799, 999_999_999), Some(253_402_300_799_999));
    assert_eq!(read(-62_135_596_800, 0), Some(-62_135_596_800_000));
}

#[test]
fn times_beyond_a_message_become_the_nearest() {
    assert_eq!(timestamp(Millis(i64::MAX)), timestamp(Millis(253_402_300_799_999)));
    assert_eq!(timestamp(Millis(i64::MIN)), Timestamp { seconds: -62_135_596_800, nanos: 0 });
    assert_eq!(timestamp(Millis(-1)), Timestamp { seconds: -1, nanos: 999_000_000 });
}

#[test]
fn rules_come_back() {
    let known = Rules {
        max_lifetime: Duration::from_secs(86_400),
        leeway: Duration::from_millis(1_500),
        issuer_skew: Duration::ZERO,
    };
    assert_eq!(rules_of(&rules(&known)), Ok(known));
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    let message = pb::Rules { leeway: Some(negative), ..rules(&known) };
    assert_eq!(rules_of(&message).unwrap_err().field, "leeway");
    assert_eq!(rules_of(&pb::Rules { max_lifetime: None, ..message }).unwrap_err().field, "max_lifetime");
}

#[test]
fn each_rule_has_its_message() {
    for number in 1..=10 {
        let message = pb::Rule::try_from(number).expect("the contract has ten rules");
        assert_eq!(rule_of(message).map(rule), Some(message));
    }
    assert_eq!(rule_of(pb::Rule::Unspecified), None);
    assert_eq!(rule(Rule::Token), pb::Rule::Token);
}

#[test]
fn a_malformed_entry_is_invalid() {
    let good = pb::FeedEntry {
        tenant: "acme".to_owned(),
        scope: pb::Scope::Key.into(),
        target: "kid".to_owned(),
        issuer: "i".to_owned(),
        expire_time: Some(Timestamp::default()),
        version: 1,
        ..pb::FeedEntry::default()
    };
    assert!(entry_of(&good).is_ok());
    let no_kept = pb::feed_entry::Kept::default();
    let bad_time = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
    for (field, message) in [
        ("tenant", pb::FeedEntry { tenant: String::new(), ..good.clone() }),
        ("scope", pb::FeedEntry { scope: 0, ..good.clone() }),
        ("scope", pb::FeedEntry { scope: 99, ..good.clone() }),
        ("target", pb::FeedEntry { target: String::new(), ..good.clone() }),
        ("issuer", pb::FeedEntry { issuer: String::new(), ..good.clone() }),
        ("expire_time", pb::FeedEntry { expire_time: None, ..good.clone() }),
        ("expire_time", pb::FeedEntry { expire_time: bad_time, ..good.clone() }),
        ("cutoff_time", pb::FeedEntry { cutoff_time: bad_time, ..good.clone() }),
        ("token_expire_time", pb::FeedEntry { token_expire_time: bad_time, ..good.clone() }),
        ("kept.sid", pb::FeedEntry { kept: vec![no_kept], ..good.clone() }),
        ("version", pb::FeedEntry { version: -1, ..good.clone() }),
        ("token_hash", pb::FeedEntry { scope: pb::Scope::Token.into(), ..good }),
    ] {
        let found: Result<_, Invalid> = entry_of(&message);
        assert_eq!(found.map_err(|invalid| invalid.field), Err(field));
    }
}

proptest! {
    #[test]
    fn a_time_comes_back(time in -62_135_596_800_000i64..=253_402_300_799_999) {
        prop_assert_eq!(millis("time", &timestamp(Millis(time))), Ok(Millis(time)));
    }

    #[test]
    fn an_entry_comes_back(target in targets(), mut state in states(), version in 0u64..1 << 62) {
        // Within the range of a message.
        state.expires.0 = state.expires.0.rem_euclid(253_402_300_799_999);
        let entry = Entry { target, state, version: Version(version) };
        prop_assert_eq!(entry_of(&feed_entry(&entry)), Ok(entry));
    }
}
