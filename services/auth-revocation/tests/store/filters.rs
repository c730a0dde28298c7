//! Bloom filters in the store: no answer is wrong, whatever happens to them.

use keyplane_auth_revocation::domain::{Cause, Outcome};
use keyplane_auth_revocation::store::Settings;
use keyplane_revocation::{Claims, Filters, Millis, Rule, TokenHash};

use crate::case::{Case, HOUR, ISSUER, TENANT, modules, token};

async fn one_partition() -> Case {
    Case::on(&modules().url(), Settings { partitions: 1, ..Settings::default() }).await
}

fn soon(case: &Case) -> Millis {
    Millis(case.store.now().0 + HOUR)
}

/// Flags of the filters in the head: '+' or '-'.
async fn flags(case: &Case) -> Vec<String> {
    let head = case.valkey.hgetall(&case.head_key(0)).await.expect("the head");
    let flags = head.iter().filter(|(field, _)| field.starts_with(b"b"));
    flags.map(|(_, value)| String::from_utf8_lossy(&value[..1]).into_owned()).collect()
}

/// Writes a record behind the filter's back: only an answer of the filter can hide it.
fn forge(case: &Case, jti: &str) {
    let hash = TokenHash::digest(TENANT, ISSUER, jti);
    let (record, far) = (format!("{}:revocation:{TENANT}:t{hash}:{{p0}}", case.app), case.store.now().0 + HOUR);
    let text = format!("17;;R;{far};;;;");
    modules().command(&["SET", &record, &text, "PX", "3600000"]).expect("a record is forged");
}

#[tokio::test]
async fn a_clean_filter_spares_the_exact_read() {
    let case = one_partition().await;
    case.revoke(token("j", Some(soon(&case)))).await.expect("a revocation");
    assert_eq!(flags(&case).await, ["+"], "the filter of the token's bucket");
    assert_eq!(case.keys_with(modules(), ":bloom:").len(), 1);
    forge(&case, "forged");
    assert_eq!(case.rule(&case.claims("forged")).await, None, "the filter answers, as nothing was ever put into it");
    assert_eq!(case.rule(&case.claims("j")).await, Some(Rule::Token));
    // A token without exp has no bucket.
    assert_eq!(case.rule(&Claims { expires: None, ..case.claims("forged") }).await, Some(Rule::NoExpiry));
}

#[tokio::test]
async fn a_filter_that_was_lost_hides_nothing() {
    let case = one_partition().await;
    case.revoke(token("known", Some(soon(&case)))).await.expect("a revocation");
    case.revoke(token("unknown", None)).await.expect("a revocation");
    let both = async || {
        for jti in ["known", "unknown"] {
            assert_eq!(
                case.rule(&case.claims(jti)).await,
                Some(Rule::Token),
                "{jti} must not be hidden by a lost filter"
            );
        }
    };
    assert_eq!(case.lose(modules(), ":bloom:"), 2);
    both().await;
    // The next ones would make filters that lack the first.
    case.revoke(token("known-2", Some(soon(&case)))).await.expect("a revocation");
    case.revoke(token("unknown-2", None)).await.expect("a revocation");
    both().await;
    assert_eq!(flags(&case).await, ["-", "-"], "neither is trusted any more");
    assert_eq!(case.rule(&case.claims("good")).await, None);
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn a_head_that_was_lost_is_made_from_the_feed_and_no_filter_is_trusted() {
    let case = one_partition().await;
    let first = case.revoke(token("first", Some(soon(&case)))).await.expect("a revocation");
    assert_eq!(case.lose(modules(), ":head:"), 1);
    assert_eq!(case.rule(&case.claims("first")).await, Some(Rule::Token), "without a head nothing is known of filters");
    assert_eq!(case.lose(modules(), ":bloom:"), 1);
    let second = case.revoke(token("second", Some(soon(&case)))).await.expect("a revocation");
    for jti in ["first", "second"] {
        assert_eq!(case.rule(&case.claims(jti)).await, Some(Rule::Token), "{jti}");
    }
    let feed = case.feed(0).await;
    assert_eq!((feed[1].seq, &feed[1].previous), (2, &feed[0].nonce), "the chain goes on");
    assert!(second.record.version > first.record.version);
    // A bucket that has no filter yet: it may have had one that was lost with the head.
    forge(&case, "forged");
    let elsewhere = Claims { expires: Some(Millis(case.store.now().0 + 5 * HOUR)), ..case.claims("forged") };
    assert_eq!(case.rule(&elsewhere).await, Some(Rule::Token), "the exact record is read");
}

#[tokio::test]
async fn a_filter_that_can_take_no_more_makes_no_revoke_fail() {
    let case = one_partition().await;
    case.revoke(token("first", Some(soon(&case)))).await.expect("a revocation");
    let filter = case.keys_with(modules(), ":bloom:").remove(0);
    modules().command(&["SET", &filter, "no filter", "KEEPTTL"]).expect("the filter is replaced");
    let second =
        case.revoke(token("second", Some(soon(&case)))).await.expect("the filter's failure is not the caller's");
    assert_eq!(second.outcome, Outcome::Changed);
    assert_eq!(flags(&case).await, ["-"]);
    for jti in ["first", "second"] {
        assert_eq!(case.rule(&case.claims(jti)).await, Some(Rule::Token), "{jti}");
    }
}

#[tokio::test]
async fn without_the_module_everything_is_read_exactly() {
    let case = Case::on(&keyplane_testkit::valkey().url(), Settings { partitions: 1, ..Settings::default() }).await;
    for (jti, expires) in [("known", Some(soon(&case))), ("unknown", None)] {
        case.revoke(token(jti, expires)).await.expect("a revocation needs no filter");
        assert_eq!(case.rule(&case.claims(jti)).await, Some(Rule::Token), "{jti}");
    }
    assert_eq!(flags(&case).await, ["-", "-"]);
    assert!(case.keys_with(keyplane_testkit::valkey(), ":bloom:").is_empty());
    assert_eq!(case.rule(&case.claims("good")).await, None);
    case.nothing_is_eternal(keyplane_testkit::valkey());
}

#[tokio::test]
async fn a_filter_that_is_wrong_half_of_the_time_rejects_no_good_token() {
    let filters = Filters { false_positives: 0.5, ..Settings::default().filters };
    let case = Case::on(&modules().url(), Settings { partitions: 1, filters, ..Settings::default() }).await;
    let revokes = (0..2000).map(|n| token(&format!("j-{n}"), Some(soon(&case)))).collect();
    for result in case.store.revoke(revokes).await {
        result.expect("a revocation");
    }
    for n in 0..500 {
        assert_eq!(case.rule(&case.claims(&format!("good-{n}"))).await, None, "good-{n} is good");
        assert_eq!(case.rule(&case.claims(&format!("j-{n}"))).await, Some(Rule::Token), "j-{n} is revoked");
    }
}

#[tokio::test]
async fn a_token_that_was_undone_is_good_although_the_filter_has_it() {
    let case = one_partition().await;
    let made = case.revoke(token("j", Some(soon(&case)))).await.expect("a revocation");
    case.store.undo(TENANT, &made.record.target.id(), None, Cause::default()).await.expect("undone");
    assert_eq!(case.rule(&case.claims("j")).await, None);
}
