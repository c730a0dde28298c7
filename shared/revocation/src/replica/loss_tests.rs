//! Answers of the replica once the store has lost revocations.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::Replica;
use crate::{Answer, Claims, Entry, Filters, Millis, Rules, Scope, State, Target, TokenHash, Version};

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
const PARTITIONS: u32 = 4;

fn replica(false_positives: f64) -> Replica {
    let day = Duration::from_hours(24);
    let rules = Rules { max_lifetime: day, leeway: Duration::from_mins(1), issuer_skew: Duration::ZERO };
    let filters = Filters { false_positives, bucket: Duration::from_hours(1) };
    Replica::partitioned(rules, filters, PARTITIONS)
}

/// Claims of tokens of all ages: they expire within 20 hours.
fn claims(jti: &str) -> Claims<'_> {
    let hours = jti.bytes().map(i64::from).sum::<i64>() % 20 + 1;
    Claims { tenant: "acme", issuer: "i", jti, expires: Some(Millis(NOW + hours * HOUR)), ..Claims::default() }
}

fn hash(jti: &str) -> TokenHash {
    TokenHash::digest("acme", "i", jti)
}

/// Revocation of a token; `knows_exp`: the revoker knew when it expires.
fn entry(jti: &str, version: u64, knows_exp: bool) -> Entry {
    let token_expires = claims(jti).expires.filter(|_| knows_exp);
    let expires = token_expires.unwrap_or(Millis(NOW + 24 * HOUR));
    let state = State { undone: false, expires, cutoff: None, token_expires, kept: Vec::new() };
    Entry { target: Target { tenant: "acme".into(), scope: Scope::Token(hash(jti)) }, state, version: Version(version) }
}

fn undone(jti: &str, version: u64) -> Entry {
    let mut entry = entry(jti, version, true);
    entry.state.undone = true;
    entry
}

fn lose_all(replica: &Replica) {
    (0..PARTITIONS).for_each(|partition| replica.lose(partition));
}

/// Returns whether the token is rejected though the store knows nothing of it.
fn is_rejected(replica: &Replica, jti: &str) -> bool {
    let claims = claims(jti);
    matches!(replica.check(&claims, Millis(NOW)), Answer::Suspect(_)) && replica.may_be_lost(&claims)
}

#[test]
fn after_a_loss_held_tokens_are_rejected_and_few_good_ones() {
    let (count, rate) = (100_000, 1e-3);
    let replica = replica(rate);
    let jtis: Vec<String> = (0..count).map(|number| format!("revoked-{number}")).collect();
    for (version, jti) in (1..).zip(&jtis) {
        replica.apply(&entry(jti, version, version % 8 != 0));
    }
    assert!(!jtis[..1000].iter().any(|jti| is_rejected(&replica, jti)), "while the store has all, it decides");
    lose_all(&replica);
    let active = jtis.iter().filter(|jti| !is_rejected(&replica, jti)).count();
    assert_eq!(active, 0, "of {count} revoked tokens");
    assert_eq!(replica.stats().lost, replica.stats().tokens);
    let good = (0..30_000).filter(|number| is_rejected(&replica, &format!("good-{number}"))).count();
    assert!(good as f64 <= 2.0 * rate * 3e4, "{good} of 30,000 good tokens are rejected; configured is {rate}");
}

#[test]
fn undone_tokens_pass_and_tokens_revoked_again_do_not() {
    let replica = replica(1e-9);
    for (version, jti) in [(1, "revoked"), (2, "undone"), (3, "again"), (4, "old-news")] {
        replica.apply(&entry(jti, version, true));
    }
    replica.apply(&undone("undone", 5));
    replica.apply(&undone("again", 6));
    replica.apply(&entry("again", 7, true));
    replica.apply(&undone("again", 6));
    replica.apply(&undone("old-news", 9));
    replica.apply(&entry("old-news", 8, true));
    assert_eq!((0..PARTITIONS).map(|partition| replica.revoked_tokens(partition)).sum::<usize>(), 2);
    lose_all(&replica);
    let rejected = |jti| is_rejected(&replica, jti);
    assert!(rejected("revoked") && rejected("again") && !rejected("undone") && !rejected("old-news"));
    // Revoking and undoing lets a token pass that was rejected wrongly.
    replica.apply(&entry("revoked", 10, true));
    replica.apply(&undone("revoked", 11));
    assert!(!rejected("revoked"));
}

#[test]
fn each_bucket_ends_by_itself() {
    let replica = replica(1e-9);
    let jtis: Vec<String> = (0..200).map(|number| format!("j-{number}")).collect();
    for (version, jti) in (1..).zip(&jtis) {
        replica.apply(&entry(jti, version, true));
    }
    lose_all(&replica);
    for hour in 0..24 {
        let now = Millis(NOW + hour * HOUR);
        replica.prune(now);
        for jti in &jtis {
            let lives = claims(jti).expires.is_some_and(|expires| expires > now);
            assert!(!lives || replica.may_be_lost(&claims(jti)), "{jti} expires later than after {hour} hours");
        }
    }
    assert_eq!((replica.stats().lost, replica.stats().filter_bytes), (0, 0), "nothing is left of the loss");
    replica.apply(&entry("j-0", 1000, true));
    assert!(!replica.may_be_lost(&claims("j-0")), "a filter of later has lost nothing");
}

fn filled(rate: f64, count: usize) -> (Replica, Vec<String>) {
    let replica = replica(rate);
    let jtis: Vec<String> = (0..count).map(|number| format!("j-{number}")).collect();
    for (version, jti) in (1..).zip(&jtis) {
        replica.apply(&entry(jti, version, version % 4 != 0));
    }
    (replica, jtis)
}

#[test]
fn a_handover_makes_the_receiver_know_what_the_giver_knew() {
    let (giver, jtis) = filled(1e-4, 5_000);
    assert_eq!(giver.hand_over(0), None, "nothing was lost");
    giver.apply(&undone("j-7", 10_000));
    lose_all(&giver);
    let taker = replica(1e-4);
    taker.apply(&entry("j-7", 1, true));
    for partition in 0..PARTITIONS {
        let handover = giver.hand_over(partition).expect("something was lost");
        assert!(
            handover.until > Millis(NOW + 20 * HOUR) && handover.bytes.len() < 40_000 * 8,
            "{}",
            handover.bytes.len()
        );
        assert!(taker.take_over(partition, &handover.bytes));
        assert_eq!(taker.hand_over(partition), Some(handover), "it can be handed on");
    }
    assert_eq!(taker.stats(), giver.stats());
    for jti in jtis.iter().chain(&(0..5_000).map(|number| format!("good-{number}")).collect::<Vec<_>>()) {
        assert_eq!(is_rejected(&taker, jti), is_rejected(&giver, jti), "{jti}");
    }
    assert!(is_rejected(&taker, "j-8") && !is_rejected(&taker, "j-7"));
    // The receiver goes on from there.
    taker.apply(&entry("new", 20_000, true));
    assert!(matches!(taker.check(&claims("new"), Millis(NOW)), Answer::Suspect(_)));
    taker.prune(Millis(NOW + 100 * HOUR));
    assert_eq!(taker.stats().filter_bytes, 0);
}

#[test]
fn bytes_of_an_unequal_replica_are_not_taken_over() {
    let (giver, _) = filled(1e-4, 200);
    lose_all(&giver);
    let bytes = giver.hand_over(1).expect("something was lost").bytes;
    let (taker, jtis) = filled(1e-4, 200);
    let stats = taker.stats();
    for length in (0..bytes.len()).step_by(97) {
        assert!(!taker.take_over(1, &bytes[..length]), "{length} of {} bytes", bytes.len());
    }
    assert!(!taker.take_over(PARTITIONS, &bytes), "there is no such partition");
    let rules = Rules { leeway: Duration::from_mins(2), ..*taker.rules() };
    let filters = Filters { false_positives: 1e-4, bucket: Duration::from_hours(1) };
    assert!(!Replica::partitioned(rules, filters, PARTITIONS).take_over(1, &bytes), "its buckets are others");
    assert_eq!(taker.stats(), stats);
    assert!(jtis.iter().all(|jti| matches!(taker.check(&claims(jti), Millis(NOW)), Answer::Suspect(_))));
}

/// Event in the life of a few tokens and of the store.
#[derive(Clone, Debug)]
enum Event {
    Revoke(usize, bool),
    Undo(usize),
    Lose(u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..8usize, any::<bool>()).prop_map(|(token, knows_exp)| Event::Revoke(token, knows_exp)),
        2 => (0..8usize).prop_map(Event::Undo),
        1 => (0..PARTITIONS).prop_map(Event::Lose),
    ];
    prop::collection::vec(event, 1..60)
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(mut bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0..300usize, byte: u8) {
        let replica = replica(1e-4);
        replica.take_over(0, &bytes);
        bytes.insert(0, 1);
        replica.take_over(0, &bytes);
        let (giver, _) = filled(1e-4, 3);
        lose_all(&giver);
        for partition in 0..PARTITIONS {
            if let Some(mut handover) = giver.hand_over(partition) {
                handover.bytes[at] = byte;
                replica.take_over(0, &handover.bytes);
            }
        }
        replica.check(&claims("j-0"), Millis(NOW));
    }

    /// Model: the revoked tokens, and whether the store still knows of each.
    #[test]
    fn a_revoked_token_is_known_to_the_store_or_rejected_after_a_loss(events in events()) {
        let replica = replica(1e-12);
        let jtis: Vec<String> = (0..8).map(|token| format!("j-{token}")).collect();
        let (mut revoked, mut stored) = (HashSet::new(), HashMap::new());
        for (version, event) in (1..).zip(events) {
            match event {
                Event::Revoke(token, knows_exp) => {
                    replica.apply(&entry(&jtis[token], version, knows_exp));
                    revoked.insert(token);
                    stored.insert(token, true);
                }
                Event::Undo(token) => {
                    replica.apply(&undone(&jtis[token], version));
                    revoked.remove(&token);
                    stored.insert(token, false);
                }
                Event::Lose(partition) => {
                    replica.lose(partition);
                    stored.retain(|token, _| hash(&jtis[*token]).partition(PARTITIONS) != partition);
                }
            }
            for (token, jti) in jtis.iter().enumerate() {
                let suspect = matches!(replica.check(&claims(jti), Millis(NOW)), Answer::Suspect(_));
                // The service asks the store first, too.
                let rejected = suspect && stored.get(&token).copied().unwrap_or_else(|| replica.may_be_lost(&claims(jti)));
                prop_assert_eq!(rejected, revoked.contains(&token), "{} after {} steps", jti, version);
            }
        }
    }
}
