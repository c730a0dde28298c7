//! Audit, and leases of the instances.

use std::time::Duration;

use keyplane_auth_revocation::domain::{AuditEntry, Cause, Cutoff, Reason, Revoke};
use keyplane_auth_revocation::store::Settings;
use keyplane_revocation::{Sequence, Target};
use keyplane_testkit::eventually;

use crate::case::{Case, TENANT, modules, session, tenant};

async fn all_pages(case: &Case, size: u32) -> Vec<AuditEntry> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = case.store.audit(TENANT, size, after).await.expect("a page");
        assert!(page.entries.len() <= size as usize);
        all.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn the_audit_names_initiator_change_and_reason() {
    let case = Case::new().await;
    let cause =
        Cause { reason: Reason::Compromised, initiator: "ops@x".into(), description: "laptop; stolen,\u{e4}".into() };
    let made = case.revoke(Revoke { cause: cause.clone(), ..session("s", None) }).await.expect("a revocation");
    let other = Target { tenant: "other".into(), ..tenant(Cutoff::Now).target };
    case.revoke(Revoke { target: other, ..tenant(Cutoff::Now) }).await.expect("another tenant's");
    let id = made.record.target.id();
    let undone = case.store.undo(TENANT, &id, None, Cause { reason: Reason::Policy, ..Cause::default() }).await;
    let undone = undone.expect("undone");
    let entries = all_pages(&case, 10).await;
    assert_eq!(entries.len(), 2, "another tenant's is not among them");
    assert_eq!((&entries[0].record, entries[0].cause.reason), (&undone.record, Reason::Policy));
    assert_eq!((&entries[1].record, &entries[1].cause), (&made.record, &cause));
    assert!(entries.iter().all(|entry| entry.time.0.abs_diff(case.store.now().0) < 60_000));
    case.nothing_is_eternal(modules());
}

#[tokio::test]
async fn pages_join_into_one_list_whatever_their_size() {
    let case = Case::new().await;
    // Many entries in one moment, over all partitions.
    for round in 0..3 {
        for result in case.store.revoke((0..40).map(|n| session(&format!("{round}-{n}"), None)).collect()).await {
            result.expect("a revocation");
        }
    }
    let whole = all_pages(&case, 1000).await;
    assert_eq!(whole.len(), 120);
    assert!(whole.windows(2).all(|pair| pair[0].time >= pair[1].time), "the newest first");
    for size in [1, 7, 60, 119, 120, 121] {
        assert_eq!(all_pages(&case, size).await, whole, "in pages of {size}");
    }
}

#[tokio::test]
async fn the_audit_forgets_old_entries() {
    let settings = Settings { partitions: 1, audit_age: Duration::from_millis(400), ..Settings::default() };
    let case = Case::on(&modules().url(), settings).await;
    for result in case.store.revoke((0..300).map(|n| session(&n.to_string(), None)).collect()).await {
        result.expect("a revocation");
    }
    let mut n = 300;
    eventually("the first ones are trimmed by those that follow", Duration::from_secs(10), async || {
        n += 1;
        case.revoke(session(&n.to_string(), None)).await.expect("a revocation");
        let length = all_pages(&case, 1000).await.len();
        if length < 200 { Ok(()) } else { Err(length) }
    })
    .await;
    eventually("an audit that nobody adds to is gone as a whole", Duration::from_secs(10), async || {
        all_pages(&case, 1000).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn instances_live_as_long_as_they_report() {
    let case = Case::new().await;
    let second = Duration::from_secs(30);
    let report = async |name: &str, seq, lease| {
        case.store.report(name, &Sequence::at(1, seq, 4), lease).await.expect("a report");
    };
    report("a", 3, second).await;
    report("b", 5, second).await;
    report("a", 4, second).await;
    report("brief", 1, Duration::from_millis(50)).await;
    case.nothing_is_eternal(modules());
    eventually("a lease ends", Duration::from_secs(5), async || {
        let mut live = case.store.instances().await.expect("the instances");
        live.sort_by(|(a, _), (b, _)| a.cmp(b));
        let expected = [("a".to_owned(), Sequence::at(1, 4, 4)), ("b".to_owned(), Sequence::at(1, 5, 4))];
        if live == expected { Ok(()) } else { Err(live) }
    })
    .await;
    report("a", 4, Duration::ZERO).await;
    let live = case.store.instances().await.expect("the instances");
    assert_eq!(live, [("b".to_owned(), Sequence::at(1, 5, 4))], "an instance that leaves is removed at once");
    assert_eq!(case.keys_with(modules(), ":positions:").len(), 1);
}
