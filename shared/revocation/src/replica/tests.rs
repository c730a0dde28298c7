use std::time::Duration;

use super::{Replica, Stats};
use crate::{
    Answer, Claims, CutoffBy, Entry, Filters, Millis, RevocationId, Rule, Rules, Scope, State, Target, TokenHash,
    Version,
};

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
const RULES: Rules =
    Rules { max_lifetime: Duration::from_secs(3600), leeway: Duration::from_secs(60), issuer_skew: Duration::ZERO };
const BUCKET: Duration = Duration::from_secs(600);

fn replica(false_positives: f64) -> Replica {
    Replica::new(RULES, Filters { false_positives, bucket: BUCKET })
}

fn claims(jti: &str) -> Claims<'_> {
    Claims {
        tenant: "acme",
        issuer: "i",
        jti,
        sid: "s-1",
        subject: "u-42",
        client: "web",
        kid: "k-1",
        issued_at: Some(Millis(NOW - 1)),
        auth_time: Some(Millis(NOW - 1)),
        expires: Some(Millis(NOW + HOUR / 2)),
    }
}

fn entry(scope: Scope, version: u64) -> Entry {
    let is_cutoff = matches!(scope, Scope::Subject { .. } | Scope::Client(_) | Scope::Tenant);
    let state = State {
        undone: false,
        expires: Millis(NOW + HOUR),
        cutoff: is_cutoff.then_some(Millis(NOW)),
        token_expires: None,
        kept: Vec::new(),
    };
    Entry { target: Target { tenant: "acme".into(), scope }, state, version: Version(version) }
}

fn token(jti: &str) -> Scope {
    Scope::Token(TokenHash::digest("acme", "i", jti))
}

fn undone(mut entry: Entry) -> Entry {
    entry.state.undone = true;
    entry
}

fn scopes() -> [Scope; 6] {
    [
        Scope::Tenant,
        Scope::Key { issuer: "i".into(), kid: "k-1".into() },
        Scope::Client("web".into()),
        Scope::Subject { user: "u-42".into(), by: CutoffBy::IssuedAt },
        Scope::Subject { user: "u-42".into(), by: CutoffBy::AuthTime },
        Scope::Session("s-1".into()),
    ]
}

fn check(replica: &Replica, jti: &str) -> Answer {
    replica.check(&claims(jti), Millis(NOW))
}

#[test]
fn each_scope_is_held_and_named() {
    for scope in scopes() {
        let (replica, entry) = (replica(1e-4), entry(scope.clone(), 1));
        assert_eq!(check(&replica, "j-1"), Answer::Active);
        assert!(replica.apply(&entry));
        let expected = Answer::Revoked { rule: scope.rule(), revocation: Some(entry.target.id()) };
        assert_eq!(check(&replica, "j-1"), expected);
        assert_eq!(replica.check(&Claims { tenant: "other", ..claims("j-1") }, Millis(NOW)), Answer::Active);
    }
}

#[test]
fn the_higher_version_wins_in_either_order() {
    for scope in scopes() {
        let (revoked, taken_back) = (entry(scope.clone(), 1), undone(entry(scope.clone(), 2)));
        let again = entry(scope, 3);
        let replica = replica(1e-4);
        assert!(replica.apply(&taken_back));
        assert!(!replica.apply(&revoked) && !replica.apply(&taken_back), "a lower or equal version changes nothing");
        assert_eq!(check(&replica, "j-1"), Answer::Active);
        assert!(replica.apply(&again) && !replica.apply(&taken_back));
        assert_ne!(check(&replica, "j-1"), Answer::Active);
    }
}

#[test]
fn a_revoked_token_is_suspect_until_it_is_confirmed() {
    for expires in [Some(Millis(NOW + HOUR / 2)), None] {
        let (replica, mut entry) = (replica(1e-9), entry(token("j-1"), 1));
        entry.state.token_expires = expires;
        replica.apply(&entry);
        let hash = TokenHash::digest("acme", "i", "j-1");
        assert_eq!(check(&replica, "j-1"), Answer::Suspect(hash));
        assert_eq!(check(&replica, "j-2"), Answer::Active);
        replica.confirm(hash, Version(1), entry.state.expires);
        let revoked = Answer::Revoked { rule: Rule::Token, revocation: Some(RevocationId::from(hash)) };
        assert_eq!(check(&replica, "j-1"), revoked);
        // A repeated entry changes nothing; a later one does.
        replica.apply(&entry);
        assert_eq!(check(&replica, "j-1"), revoked);
        entry.version = Version(2);
        replica.apply(&undone(entry));
        assert_eq!(check(&replica, "j-1"), Answer::Suspect(hash));
    }
}

#[test]
fn a_confirmation_that_an_undo_overtook_is_not_remembered() {
    let (replica, hash) = (replica(1e-4), TokenHash::digest("acme", "i", "j-1"));
    replica.apply(&entry(token("j-1"), 1));
    // First the call to the store, then the undo, then the store's reply.
    assert!(replica.apply(&undone(entry(token("j-1"), 2))));
    replica.confirm(hash, Version(1), Millis(NOW + HOUR));
    assert_eq!(check(&replica, "j-1"), Answer::Suspect(hash));
    replica.apply(&entry(token("j-1"), 3));
    replica.confirm(hash, Version(3), Millis(NOW + HOUR));
    assert!(!replica.apply(&undone(entry(token("j-1"), 2))), "it is not the last word any more");
    assert!(matches!(check(&replica, "j-1"), Answer::Revoked { .. }));
}

#[test]
fn a_confirmation_ends_with_the_revocation_that_it_is_of() {
    let (replica, hash) = (replica(1e-9), TokenHash::digest("acme", "i", "j-1"));
    // Revoked before it was issued, by its name alone: the token outlives the revocation.
    let (mut entry, end) = (entry(token("j-1"), 1), NOW + HOUR / 4);
    entry.state.expires = Millis(end);
    replica.apply(&entry);
    replica.confirm(hash, Version(1), entry.state.expires);
    assert!(matches!(replica.check(&claims("j-1"), Millis(end - 1)), Answer::Revoked { rule: Rule::Token, .. }));
    assert_eq!(replica.check(&claims("j-1"), Millis(end)), Answer::Suspect(hash), "the store has to be asked again");
    // Prolonged: the later revocation counts, whichever reply of the store comes last.
    replica.confirm(hash, Version(2), Millis(end + 1));
    replica.confirm(hash, Version(1), Millis(end));
    assert!(matches!(replica.check(&claims("j-1"), Millis(end)), Answer::Revoked { rule: Rule::Token, .. }));
}

#[test]
fn a_token_without_a_name_is_never_suspect() {
    let replica = replica(0.5);
    for claims in [Claims { jti: "", ..claims("j-1") }, Claims { issuer: "", ..claims("j-1") }] {
        assert_eq!(replica.check(&claims, Millis(NOW)), Answer::Active);
    }
}

#[test]
fn half_of_all_tokens_are_suspect_if_that_is_forced() {
    let (replica, names) = (replica(0.5), (0..10_000).map(|number| format!("j-{number}")));
    let suspect = names.filter(|jti| matches!(check(&replica, jti), Answer::Suspect(_))).count();
    assert!((4_500..5_500).contains(&suspect), "{suspect} of 10,000 good tokens are suspect; 5,000 are asked for");
}

#[test]
fn false_positives_are_as_rare_as_configured() {
    let rate = 0.005;
    let replica = replica(rate);
    for number in 0..100_000i64 {
        let mut entry = entry(token(&format!("r-{number}")), 1);
        // One bucket by exp takes a half, the generation the other.
        entry.state.token_expires = (number % 2 == 0).then_some(Millis(NOW + HOUR / 2));
        replica.apply(&entry);
    }
    let stats = replica.stats();
    assert!(stats.tokens > 98_000 && stats.filter_bytes < 600_000, "{stats:?}");
    let missed = (0..100_000).find(|number| check(&replica, &format!("r-{number}")) == Answer::Active);
    assert_eq!(missed, None, "this one was revoked");
    let probed = 100_000;
    let good = (0..probed).map(|number| format!("g-{number}"));
    let suspect = good.filter(|jti| check(&replica, jti) != Answer::Active).count();
    let measured = suspect as f64 / f64::from(probed);
    assert!(measured <= rate, "{measured} of good tokens are suspect; configured are {rate}");
    assert!(
        measured > rate / 20.0,
        "{measured} of good tokens are suspect: the filters take more memory than {rate} needs"
    );
}

#[test]
fn a_batch_is_answered_in_its_order() {
    let replica = replica(1e-9);
    replica.apply(&entry(token("j-2"), 1));
    let batch = [claims("j-1"), claims("j-2"), Claims { expires: None, ..claims("j-3") }];
    let mut answers = Vec::new();
    replica.check_many(&batch, Millis(NOW), |answer| answers.push(answer));
    let expected: Vec<_> = batch.iter().map(|claims| replica.check(claims, Millis(NOW))).collect();
    assert_eq!(answers, expected);
    assert!(matches!(answers[..], [Answer::Active, Answer::Suspect(_), Answer::Revoked { rule: Rule::NoExpiry, .. }]));
}

#[test]
fn only_expired_entries_are_forgotten() {
    let replica = replica(1e-4);
    for scope in scopes() {
        replica.apply(&entry(scope, 1));
    }
    let mut later = entry(Scope::Session("s-9".into()), 1);
    later.state.expires = Millis(NOW + HOUR + 1);
    replica.apply(&later);
    let mut known = entry(token("j-1"), 1);
    known.state.token_expires = Some(Millis(NOW));
    replica.apply(&known);
    replica.apply(&undone(entry(token("j-1"), 2)));
    assert_eq!((replica.stats().cutoffs, replica.stats().tokens), (7, 1));

    replica.prune(Millis(NOW + HOUR));
    assert_eq!((replica.stats().cutoffs, replica.stats().tokens), (1, 0));
    replica.prune(Millis(NOW + HOUR + 1));
    assert_eq!(replica.stats(), Stats::default());
    assert!(!replica.apply(&later) && !replica.apply(&known), "what is over is not taken in again");
    assert_eq!(replica.stats(), Stats::default());
}

#[test]
fn a_bucket_is_kept_until_its_last_token_has_expired() {
    let (replica, end) = (replica(1e-4), NOW + 600_000);
    let mut last = entry(token("j-1"), 1);
    last.state.token_expires = Some(Millis(end - 1));
    replica.apply(&last);
    let mut unknown = entry(token("j-2"), 1);
    unknown.state.expires = Millis(NOW).plus(RULES.memory());
    replica.apply(&unknown);
    replica.prune(Millis(end + 59_998));
    let token = |jti| Claims { expires: Some(Millis(end - 1)), ..claims(jti) };
    let suspect = |jti, now| matches!(replica.check(&token(jti), Millis(now)), Answer::Suspect(_));
    assert!(suspect("j-1", end + 59_998) && suspect("j-2", end + 59_998));
    replica.prune(Millis(end + 60_000));
    assert_eq!(replica.stats().tokens, 1);
    replica.prune(Millis(NOW).plus(RULES.memory()).plus(RULES.memory()).plus(RULES.leeway));
    assert_eq!(replica.stats().tokens, 0);
}

#[test]
fn a_clock_that_goes_back_a_little_brings_no_token_back() {
    let replica = replica(1e-4);
    let expires = NOW + HOUR / 2 + 60_000;
    replica.apply(&entry(Scope::Tenant, 1));
    assert!(matches!(check(&replica, "j-1"), Answer::Revoked { rule: Rule::Tenant, .. }));
    replica.prune(Millis(expires));
    for back in [1, 2_000, 600_000] {
        replica.prune(Millis(expires - back));
        let answer = replica.check(&claims("j-1"), Millis(expires - back));
        assert!(matches!(answer, Answer::Revoked { rule: Rule::Expired, .. }), "{back} ms back: {answer:?}");
    }
}

#[test]
fn no_floor_outlives_the_clock_that_made_it() {
    let replica = replica(1e-4);
    replica.prune(Millis(NOW + 25 * HOUR));
    assert!(matches!(check(&replica, "j-1"), Answer::Revoked { rule: Rule::Expired, .. }));
    replica.prune(Millis(NOW));
    assert_eq!(check(&replica, "j-1"), Answer::Active, "the clock was wrong, and is right again");
    assert!(replica.apply(&entry(Scope::Tenant, 1)), "what is revoked from now on is taken in");
    assert_ne!(check(&replica, "j-1"), Answer::Active);
}

#[test]
fn entries_that_outlive_the_feed_are_complete() {
    let replica = replica(1e-4);
    let mut expected = Vec::new();
    for (version, scope) in (1..).zip(scopes()) {
        let mut entry = entry(scope, version);
        entry.state.kept = vec![crate::Kept { sid: "s-2".into(), cutoff: Some(Millis(5)) }];
        replica.apply(&entry);
        expected.push(entry);
    }
    replica.apply(&undone(entry(Scope::Session("undone".into()), 7)));
    replica.apply(&entry(token("j-1"), 8));
    let mut found = replica.persistent(Millis(NOW + HOUR - 1));
    found.sort_by_key(|entry| entry.version);
    assert_eq!(found, expected);
    assert_eq!(replica.persistent(Millis(NOW + HOUR)), [], "the feed still has them when they expire");
}

#[test]
fn stats_report_the_size() {
    let replica = replica(1e-4);
    assert_eq!(replica.stats(), Stats::default());
    for number in 0..1000 {
        replica.apply(&entry(Scope::Session(format!("s-{number}").into()), 1));
    }
    let stats = replica.stats();
    assert_eq!(stats.cutoffs, 1000);
    assert!((80_000..300_000).contains(&stats.cutoff_bytes), "{stats:?}");
}

#[test]
fn a_token_that_hides_its_key_is_not_active_while_one_of_its_issuer_is_revoked() {
    let replica = replica(1e-4);
    let bare = Claims { kid: "", ..claims("j-1") };
    let (now, later) = (Millis(NOW), Millis(NOW + HOUR));
    let key = |issuer: &str, version| entry(Scope::Key { issuer: issuer.into(), kid: "stolen".into() }, version);
    replica.apply(&key("other", 1));
    assert_eq!(replica.check(&bare, now), Answer::Active);
    replica.apply(&key("i", 2));
    assert_eq!(replica.check(&bare, now), Answer::KeyUnknown);
    assert_eq!(replica.check(&claims("j-1"), now), Answer::Active, "it was signed by another");
    // Also where a filter holds it: the store's knowledge goes first.
    replica.apply(&entry(token("j-1"), 3));
    assert!(matches!(replica.check(&bare, now), Answer::Suspect(_)));
    assert_eq!(replica.cleared(&bare, now), Answer::KeyUnknown);
    assert_eq!(replica.cleared(&bare, later), Answer::Active, "it has ended");
    replica.apply(&undone(key("i", 4)));
    assert_eq!(replica.cleared(&bare, now), Answer::Active);
}
