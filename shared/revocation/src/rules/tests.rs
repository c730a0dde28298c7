use std::time::Duration;

use proptest::prelude::*;

use super::{Answer, Rule, Rules, judge};
use crate::{Claims, CutoffBy, Kept, Millis, Scope, State, Target, TokenHash};

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

const RULES: Rules =
    Rules { max_lifetime: Duration::from_secs(3600), leeway: Duration::from_secs(60), issuer_skew: Duration::ZERO };

/// Good token of an hour, half of which is over.
fn claims() -> Claims<'static> {
    Claims {
        tenant: "acme",
        issuer: "https://idp",
        jti: "j-1",
        sid: "s-1",
        subject: "u-42",
        client: "web",
        kid: "k-1",
        issued_at: Some(Millis(NOW - HOUR / 2)),
        auth_time: Some(Millis(NOW - HOUR)),
        expires: Some(Millis(NOW + HOUR / 2)),
    }
}

fn subject(by: CutoffBy) -> Scope {
    Scope::Subject { user: "u-42".into(), by }
}

fn known(scope: Scope, cutoff: Option<i64>) -> (Target, State) {
    let state = State {
        undone: false,
        expires: Millis(NOW + HOUR),
        cutoff: cutoff.map(Millis),
        token_expires: None,
        kept: Vec::new(),
    };
    (Target { tenant: "acme".into(), scope }, state)
}

fn rule(claims: &Claims<'_>, rules: &Rules, known: &[(Target, State)]) -> Option<Rule> {
    match judge(claims, rules, Millis(NOW), known) {
        Answer::Active => None,
        Answer::Revoked { rule, .. } => Some(rule),
        Answer::Suspect(_) => panic!("what is exact is never suspect"),
        Answer::KeyUnknown => panic!("its tokens have a kid"),
    }
}

/// Rule for a token of this `iat` under a cutoff for its user.
fn by_cutoff(iat: Option<Millis>, cutoff: i64) -> Option<Rule> {
    rule(&Claims { issued_at: iat, ..claims() }, &RULES, &[known(subject(CutoffBy::IssuedAt), Some(cutoff))])
}

#[test]
fn a_good_token_is_active() {
    assert_eq!(rule(&claims(), &RULES, &[]), None);
    assert_eq!(rule(&Claims { tenant: "acme", expires: Some(Millis(NOW)), ..Claims::default() }, &RULES, &[]), None);
}

#[test]
fn a_token_must_expire_and_not_have_expired() {
    let expires =
        |expires: Option<i64>| rule(&Claims { expires: expires.map(Millis), issued_at: None, ..claims() }, &RULES, &[]);
    assert_eq!(expires(None), Some(Rule::NoExpiry));
    assert_eq!(expires(Some(NOW - MINUTE)), Some(Rule::Expired));
    assert_eq!(expires(Some(NOW - MINUTE + 1)), None, "the leeway is the clocks'");
    assert_eq!(expires(Some(i64::MIN)), Some(Rule::Expired));
}

#[test]
fn a_token_must_not_live_too_long() {
    let life = |iat: Option<i64>, exp: i64| {
        rule(&Claims { issued_at: iat.map(Millis), expires: Some(Millis(exp)), ..claims() }, &RULES, &[])
    };
    assert_eq!(life(Some(NOW), NOW + HOUR), None);
    assert_eq!(life(Some(NOW), NOW + HOUR + 1), Some(Rule::LifetimeTooLong));
    // Nearly over, and still too long.
    assert_eq!(life(Some(NOW - 2 * HOUR), NOW), Some(Rule::LifetimeTooLong));
    assert_eq!(life(None, NOW + HOUR + MINUTE), None);
    assert_eq!(life(None, NOW + HOUR + MINUTE + 1), Some(Rule::LifetimeTooLong));
    assert_eq!(life(Some(i64::MIN), i64::MAX), Some(Rule::LifetimeTooLong));
    assert_eq!(life(Some(i64::MAX), i64::MAX), Some(Rule::LifetimeTooLong));
}

#[test]
fn a_token_must_not_come_from_the_future() {
    let issued = |iat: i64, rules: &Rules| {
        rule(&Claims { issued_at: Some(Millis(iat)), expires: Some(Millis(NOW + HOUR)), ..claims() }, rules, &[])
    };
    assert_eq!(issued(NOW + MINUTE, &RULES), None);
    assert_eq!(issued(NOW + MINUTE + 1, &RULES), Some(Rule::IssuedInFuture));
    let skewed = Rules { issuer_skew: Duration::from_secs(5), ..RULES };
    assert_eq!(issued(NOW + MINUTE + 5000, &skewed), None);
    assert_eq!(issued(NOW + MINUTE + 5001, &skewed), Some(Rule::IssuedInFuture));
}

#[test]
fn a_login_in_the_second_of_the_logout_works_if_iat_has_a_fraction() {
    let second = NOW - MINUTE;
    let logout = second + 400;
    let iat = |seconds: f64| Millis::from_seconds(seconds);
    let seconds = second as f64 / 1000.0;
    assert_eq!(by_cutoff(iat(seconds + 0.399), logout), Some(Rule::Subject));
    assert_eq!(by_cutoff(iat(seconds + 0.400), logout), Some(Rule::Subject), "up to the moment, inclusive");
    assert_eq!(by_cutoff(iat(seconds + 0.401), logout), None);
    // An integer can't tell before from after: it counts as before, until the next second.
    assert_eq!(by_cutoff(iat(seconds), logout), Some(Rule::Subject));
    assert_eq!(by_cutoff(iat(seconds + 1.0), logout), None);
}

#[test]
fn a_token_without_time_of_issue_is_revoked_by_any_cutoff() {
    assert_eq!(by_cutoff(None, NOW - 10 * HOUR), Some(Rule::Subject));
    let logins = [known(subject(CutoffBy::AuthTime), Some(NOW - 10 * HOUR))];
    assert_eq!(rule(&claims(), &RULES, &logins), None);
    assert_eq!(rule(&Claims { auth_time: None, ..claims() }, &RULES, &logins), Some(Rule::Subject));
    // The time of another kind of cutoff does not matter.
    assert_eq!(rule(&Claims { issued_at: None, ..claims() }, &RULES, &logins), None);
}

#[test]
fn a_cutoff_by_login_spares_no_token_of_an_older_login() {
    let cutoff = [known(subject(CutoffBy::AuthTime), Some(NOW - HOUR))];
    assert_eq!(rule(&claims(), &RULES, &cutoff), Some(Rule::Subject), "though it was issued later");
    let later = Claims { auth_time: Some(Millis(NOW - HOUR + 1)), ..claims() };
    assert_eq!(rule(&later, &RULES, &cutoff), None);
}

#[test]
fn kept_sessions_are_under_the_cutoff_before() {
    let (target, mut state) = known(subject(CutoffBy::IssuedAt), Some(NOW));
    state.kept = vec![
        Kept { sid: "s-1".into(), cutoff: None },
        Kept { sid: "s-2".into(), cutoff: Some(Millis(NOW - HOUR / 2)) },
        Kept { sid: "s-3".into(), cutoff: Some(Millis(NOW - HOUR / 2 - 1)) },
    ];
    let known = [(target, state)];
    let sid = |sid| rule(&Claims { sid, ..claims() }, &RULES, &known);
    assert_eq!((sid("s-1"), sid("s-3")), (None, None));
    assert_eq!((sid("s-2"), sid("s-4"), sid("")), (Some(Rule::Subject), Some(Rule::Subject), Some(Rule::Subject)));
}

#[test]
fn the_first_of_several_rules_is_reported() {
    let mut all = vec![
        known(Scope::Token(TokenHash::digest("acme", "https://idp", "j-1")), None),
        known(Scope::Session("s-1".into()), None),
        known(subject(CutoffBy::AuthTime), Some(NOW)),
        known(subject(CutoffBy::IssuedAt), Some(NOW)),
        known(Scope::Client("web".into()), Some(NOW)),
        known(Scope::Key { issuer: "https://idp".into(), kid: "k-1".into() }, None),
        known(Scope::Tenant, Some(NOW)),
    ];
    let mut reported = Vec::new();
    while let Answer::Revoked { rule, revocation } = judge(&claims(), &RULES, Millis(NOW), &all) {
        let last = all.pop().expect("what is revoked is revoked by something");
        assert_eq!(revocation, Some(last.0.id()), "{rule:?}");
        assert_eq!(rule, last.0.scope.rule());
        reported.push(rule);
    }
    let order = [Rule::Tenant, Rule::Key, Rule::Client, Rule::Subject, Rule::Subject, Rule::Session, Rule::Token];
    assert_eq!(reported, order);
    let expired = Claims { expires: Some(Millis(0)), ..claims() };
    let answer = judge(&expired, &RULES, Millis(NOW), &[known(Scope::Tenant, Some(NOW))]);
    assert_eq!(answer, Answer::Revoked { rule: Rule::Expired, revocation: None });
}

#[test]
fn revocations_of_others_undone_or_expired_do_not_cover_a_token() {
    for scope in [
        Scope::Token(TokenHash::digest("acme", "https://other", "j-1")),
        Scope::Token(TokenHash::digest("other", "https://idp", "j-1")),
        Scope::Session("s-2".into()),
        Scope::Subject { user: "u-43".into(), by: CutoffBy::IssuedAt },
        Scope::Client("u-42".into()),
        Scope::Key { issuer: "https://other".into(), kid: "k-1".into() },
        Scope::Key { issuer: "https://idp".into(), kid: "k-2".into() },
    ] {
        assert_eq!(rule(&claims(), &RULES, &[known(scope.clone(), Some(NOW))]), None, "{scope:?}");
    }
    let (mut target, state) = known(Scope::Tenant, Some(NOW));
    let undone = State { undone: true, ..state.clone() };
    let expired = State { expires: Millis(NOW), ..state.clone() };
    assert_eq!(rule(&claims(), &RULES, &[(target.clone(), undone), (target.clone(), expired)]), None);
    target.tenant = "other".into();
    assert_eq!(rule(&claims(), &RULES, &[(target, state)]), None);
}

#[test]
fn a_cutoff_without_a_moment_covers_everything() {
    assert_eq!(rule(&claims(), &RULES, &[known(Scope::Tenant, None)]), Some(Rule::Tenant));
}

proptest! {
    #[test]
    fn skew_of_issuers_only_widens_a_cutoff(
        iat in proptest::option::of(-5000i64..5000), cutoff in -5000i64..5000, skew in 0u64..5000,
    ) {
        let cutoff = Some(Millis(cutoff));
        let cuts = |skew| {
            let rules = Rules { issuer_skew: Duration::from_millis(skew), ..RULES };
            rules.cuts(cutoff, &[], iat.map(Millis), &claims())
        };
        prop_assert!(cuts(skew) || !cuts(0), "what is revoked without skew is revoked with it");
    }

    /// Cutoffs are kept until every token that they revoke has expired.
    #[test]
    fn a_cutoff_outlives_every_token_that_it_revokes(
        iat in 0i64..4 * HOUR, life in 0i64..2 * HOUR, cutoff in 0i64..4 * HOUR,
        skew in 0u64..5000, later in 0i64..HOUR,
    ) {
        let rules = Rules { issuer_skew: Duration::from_millis(skew), ..RULES };
        let token = Claims { issued_at: Some(Millis(iat)), expires: Some(Millis(iat + life)), ..claims() };
        let forgotten = Millis(cutoff).plus(rules.memory());
        if rules.cuts(Some(Millis(cutoff)), &[], token.issued_at, &token) {
            let broken = rules.broken_by(&token, Millis(forgotten.0 + later));
            let ended = matches!(broken, Some(Rule::Expired | Rule::LifetimeTooLong));
            prop_assert!(ended, "{broken:?}: it is active again");
        }
    }

    /// Revocations of single tokens of unknown expiry outlive the tokens, however far ahead the issuer's clock was
    /// within the rules.
    #[test]
    fn a_token_of_unknown_expiry_is_remembered_for_as_long_as_it_is_accepted(
        short in 0i64..MINUTE, ahead in 0.0..=1.0f64, skew in 0u64..=60_000, later in 0i64..MINUTE,
    ) {
        let rules = Rules { issuer_skew: Duration::from_millis(skew), ..RULES };
        let issued = NOW + (ahead * (MINUTE + skew as i64) as f64) as i64;
        let token =
            Claims { issued_at: Some(Millis(issued)), expires: Some(Millis(issued + HOUR - short)), ..claims() };
        let forgotten = Millis(NOW).plus(rules.memory()).plus(Duration::from_millis(later as u64));
        prop_assert_eq!(rules.broken_by(&token, forgotten), Some(Rule::Expired), "it is active again");
    }

    #[test]
    fn no_time_breaks_the_rules(
        now in any::<i64>(), iat in any::<Option<i64>>(), exp in any::<Option<i64>>(), cutoff in any::<i64>(),
    ) {
        let token = Claims { issued_at: iat.map(Millis), auth_time: iat.map(Millis), expires: exp.map(Millis), ..claims() };
        let rules = Rules { max_lifetime: Duration::MAX, leeway: Duration::MAX, issuer_skew: Duration::MAX };
        for rules in [RULES, rules] {
            judge(&token, &rules, Millis(now), &[known(Scope::Tenant, Some(cutoff))]);
        }
    }
}

proptest! {
    #[test]
    fn a_whole_second_is_good_from_reissue_time_on(
        cutoff in 0..4_000_000_000_000i64, skew in 0..600_000u64, later in 0..5i64,
    ) {
        let rules = Rules { issuer_skew: Duration::from_millis(skew), ..RULES };
        let safe = rules.reissue_time(Millis(cutoff));
        prop_assert_eq!(safe.0 % 1000, 0);
        let cuts = |iat: i64| rules.cuts(Some(Millis(cutoff)), &[], Some(Millis(iat)), &claims());
        prop_assert!(!cuts(safe.0 + later * 1000), "a token of that second, or a later one, is good");
        prop_assert!(cuts(safe.0 - 1000), "one of the second before is not");
    }
}

#[test]
fn a_token_that_hides_its_key_is_not_active_while_one_of_its_issuer_is_revoked() {
    let key = |issuer: &str| known(Scope::Key { issuer: issuer.into(), kid: "stolen".into() }, None);
    let judged = |claims: &Claims<'_>, known: &[(Target, State)]| judge(claims, &RULES, Millis(NOW), known);
    let bare = Claims { kid: "", ..claims() };
    assert_eq!(judged(&bare, &[key("https://idp")]), Answer::KeyUnknown);
    assert_eq!(judged(&claims(), &[key("https://idp")]), Answer::Active, "it was signed by another");
    assert_eq!(judged(&bare, &[key("https://other")]), Answer::Active);
    let (target, state) = key("https://idp");
    for over in [State { undone: true, ..state.clone() }, State { expires: Millis(NOW), ..state }] {
        assert_eq!(judged(&bare, &[(target.clone(), over)]), Answer::Active);
    }
    // Certain rules come first.
    let both = [key("https://idp"), known(Scope::Token(TokenHash::digest("acme", "https://idp", "j-1")), None)];
    assert!(matches!(judged(&bare, &both), Answer::Revoked { rule: Rule::Token, .. }));
    assert!(matches!(judged(&Claims { expires: None, ..bare }, &both), Answer::Revoked { rule: Rule::NoExpiry, .. }));
}
