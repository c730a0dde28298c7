//! Wrong clocks: this machine's, or that of a caller who states when a token expires.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use keyplane_auth_revocation::app::check::{Demands, Source};
use keyplane_auth_revocation::domain::{Cutoff, Outcome, Revoke};
use keyplane_revocation::{Answer, Claims, CutoffBy, Millis, Rule, Rules, Scope};
use keyplane_testkit::eventually;

use crate::rig::{self, PATIENCE, is_revoked, now, revocation, rule, scope_of, token};

const HOUR: i64 = 3_600_000;
/// Time between two rounds of forgetting: many while a clock is wrong.
const PRUNE: Duration = Duration::from_millis(5);
/// Time for which the checks are observed.
const WHILE: Duration = Duration::from_millis(300);

fn url() -> String {
    keyplane_testkit::valkey().url()
}

fn user(name: &str) -> Scope {
    Scope::Subject { user: name.into(), by: CutoffBy::IssuedAt }
}

fn of_user<'a>(jti: &'a str, user: &'a str) -> Claims<'a> {
    Claims { subject: user, ..token(jti) }
}

/// Token whose `exp` is stated, and may be wrong.
fn stated(jti: &str, exp: i64) -> Revoke {
    Revoke { expires: Some(Millis(exp)), exp_is_proven: false, ..revocation(scope_of(jti)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_changes_no_answer() {
    static AHEAD: AtomicI64 = AtomicI64::new(0);
    let instance = rig::start(&keyplane_testkit::app(), &url(), |kept, settings| {
        kept.wall = || Millis(now().0 + AHEAD.load(Ordering::Relaxed));
        (settings.prune, settings.bound, settings.ask) = (PRUNE, Duration::from_secs(5), PATIENCE);
    })
    .await;
    let unproven = Revoke { expires: None, ..revocation(scope_of("unknown")) };
    for revoke in
        [revocation(scope_of("known")), unproven, revocation(Scope::Session("s".into())), revocation(user("u"))]
    {
        let written = instance.store.revoke(vec![revoke]).await.pop().expect("one result").expect("it is revoked");
        eventually("memory has it", PATIENCE, async || instance.covers(&written.sequence)).await;
    }
    let revoked = [
        (token("known"), Rule::Token),
        (token("unknown"), Rule::Token),
        (Claims { sid: "s", ..token("other") }, Rule::Session),
        (of_user("another", "u"), Rule::Subject),
    ];
    for ahead in [25 * HOUR, 0, -25 * HOUR, 25 * HOUR, 0] {
        AHEAD.store(ahead, Ordering::Relaxed);
        let begun = Instant::now();
        while begun.elapsed() < WHILE {
            let good = instance.check(&token("good")).await.expect("it can be told");
            assert_eq!(good.answer, Answer::Active, "this machine is {ahead} ms ahead");
            for (claims, expected) in &revoked {
                let checked = instance.check(claims).await.expect("it can be told");
                assert_eq!(rule(&checked.answer), Some(*expected), "this machine is {ahead} ms ahead");
            }
            tokio::task::yield_now().await;
        }
        let told = instance.store.wall_ahead().expect("the store has replied");
        assert!((told - ahead).abs() < HOUR / 60, "{told} ms ahead, not {ahead}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_starts_with_a_wrong_clock_uses_the_stores() {
    for ahead in [25 * HOUR, -25 * HOUR] {
        static AHEAD: AtomicI64 = AtomicI64::new(0);
        AHEAD.store(ahead, Ordering::Relaxed);
        let instance = rig::begin(&keyplane_testkit::app(), &url(), |kept, settings| {
            kept.wall = || Millis(now().0 + AHEAD.load(Ordering::Relaxed));
            (settings.prune, settings.bound, settings.ask) = (PRUNE, Duration::from_secs(5), PATIENCE);
        });
        let expired = Claims { expires: Some(Millis(now().0 - HOUR)), ..token("expired") };
        // From the first moment on, when the store has not replied yet.
        eventually("memory answers", PATIENCE, async || {
            let good = instance.check(&token("good")).await.map_err(|error| error.to_string())?;
            assert_eq!(good.answer, Answer::Active, "{ahead} ms ahead");
            let old = instance.check(&expired).await.map_err(|error| error.to_string())?;
            assert_eq!(rule(&old.answer), Some(Rule::Expired), "{ahead} ms ahead");
            if good.freshness.source == Source::Local { Ok(()) } else { Err(format!("{good:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_right_after_a_logout_everywhere_is_good() {
    let instance = rig::start(&keyplane_testkit::app(), &url(), |_, settings| {
        (settings.bound, settings.ask) = (Duration::from_secs(5), PATIENCE);
    })
    .await;
    for round in 0..100 {
        let name = format!("u-{round}");
        let before = Claims { issued_at: Some(now()), ..of_user("before", &name) };
        let (written, _) = instance.revoke(user(&name)).await;
        // The store is on this machine, so that both have one clock.
        let after = Claims { issued_at: Some(now()), ..of_user("after", &name) };
        assert!(is_revoked(&instance.check(&before).await.expect("it can be told").answer), "round {round}");
        let answer = instance.check(&after).await.expect("it can be told").answer;
        let cutoff = written.record.state.cutoff.expect("a cutoff");
        assert_eq!(answer, Answer::Active, "round {round}: iat {:?} after the reply, cutoff {cutoff}", after.issued_at);
        // An issuer of whole seconds can't tell when in the second it was.
        let whole = |at: Millis| Claims { issued_at: Some(Millis(at.0 / 1000 * 1000)), ..of_user("whole", &name) };
        let rules = Rules { issuer_skew: Duration::ZERO, ..instance.store.settings().rules };
        let safe = rules.reissue_time(cutoff);
        assert!(is_revoked(&instance.check(&whole(cutoff)).await.expect("it can be told").answer), "round {round}");
        let answer = instance.check(&whole(safe)).await.expect("it can be told").answer;
        assert_eq!(answer, Answer::Active, "round {round}: from {safe} on a whole second is good; cutoff {cutoff}");
    }
    // Two at the same moment: the second changes nothing, and is as late as the first.
    for round in 0..50 {
        let name = format!("twice-{round}");
        let revoke = || instance.store.revoke(vec![revocation(user(&name))]);
        let ((), second) = tokio::join!(async { drop(revoke().await) }, revoke());
        second.into_iter().for_each(|made| instance.mirror.apply(&made.expect("it is revoked").record));
        let after = Claims { issued_at: Some(now()), ..of_user("after", &name) };
        let answer = instance.check(&after).await.expect("it can be told").answer;
        assert_eq!(answer, Answer::Active, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_whatever_expiry_is_stated() {
    let app = keyplane_testkit::app();
    let change = |_: &mut _, settings: &mut keyplane_auth_revocation::app::replica::Settings| {
        (settings.bound, settings.ask) = (Duration::from_secs(5), PATIENCE);
    };
    let (one, other) = (rig::start(&app, &url(), change).await, rig::start(&app, &url(), change).await);
    let exp = now().0 + HOUR;
    let store = Demands { max_staleness: Some(Duration::ZERO), ..Demands::default() };
    for (jti, said) in
        [("right", exp), ("sooner", now().0 + 1000), ("later", exp + 9 * HOUR), ("late", now().0 - 30_000)]
    {
        let made = one.store.revoke(vec![stated(jti, said)]).await.pop().expect("one result").expect("it is revoked");
        assert_eq!(made.outcome, Outcome::Changed, "{jti}");
        one.mirror.apply(&made.record);
        eventually("the other has it", PATIENCE, async || other.covers(&made.sequence)).await;
        for instance in [&one, &other] {
            for demands in [&Demands::default(), &store] {
                let checked = instance.checker.check(&token(jti), demands).await.expect("it can be told");
                assert_eq!(rule(&checked.answer), Some(Rule::Token), "{jti}: {checked:?}");
            }
        }
        let held = made.record.state.expires.0 - now().0;
        assert!(held > 24 * HOUR, "{jti}: it is held for {held} ms, less than a token may live");
        let again = one.store.revoke(vec![stated(jti, said)]).await.pop().expect("one result").expect("again");
        assert_eq!(again.outcome, Outcome::Unchanged, "{jti}: a retry");
    }
    let gone = one.store.revoke(vec![stated("gone", now().0 - 2 * HOUR)]).await.pop().expect("one result");
    assert_eq!(gone.expect("no error").outcome, Outcome::Expired, "nothing is claimed to be revoked");
    // A revocation that holds is reported so, also to a caller who is wrong about its expiry.
    let known = one.store.revoke(vec![stated("right", now().0 - 2 * HOUR)]).await.pop().expect("one result");
    assert_eq!(known.expect("no error").outcome, Outcome::Unchanged);
    let at = Revoke { cutoff: Cutoff::At(Millis(now().0 - HOUR)), ..revocation(user("u")) };
    let begun = Instant::now();
    one.store.revoke(vec![at]).await.pop().expect("one result").expect("a cutoff of an hour ago");
    println!("a cutoff of the past took {:?}", begun.elapsed());
}
