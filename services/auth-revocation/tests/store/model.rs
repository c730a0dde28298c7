//! Store against an exact model: after any revocations, undos, losses and repetitions, both judge each token alike.
//!
//! The model has no records, versions or filters. It remembers the cutoffs of each target, with the sessions that each
//! left alone, and knows the rules that a token breaks by itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use keyplane_auth_revocation::domain::{Cause, Cutoff, Outcome, Revoke};
use keyplane_auth_revocation::store::Settings;
use keyplane_engine::Cluster;
use keyplane_revocation::{Answer, Claims, CutoffBy, Entry, Filters, Millis, Rule, Target};
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Runtime;

use crate::case::{Case, HOUR, ISSUER, TENANT, client, key, modules, session, stated, subject, tenant, token};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

static CLUSTER: LazyLock<Cluster> =
    LazyLock::new(|| Cluster::start(&keyplane_testkit::toolbox(), 3).expect("a cluster of three primaries"));

const NAMES: [&str; 3] = ["x", "y", "z w"];
/// Distance of a run's moments, ms; a token or a cutoff is at one of them, or a millisecond beside it.
const STEP: i64 = 1000;

/// Call of the store, or a fault.
#[derive(Clone, Debug)]
enum Call {
    Token {
        name: usize,
        exp: Exp,
    },
    Session {
        name: usize,
    },
    Key {
        name: usize,
    },
    Cut {
        what: What,
        moment: u8,
        keep: Vec<usize>,
    },
    /// Undo of the target that was revoked this many calls ago.
    Undo {
        ago: usize,
    },
    /// Merge of the feed from some entry on, as by an instance with old entries.
    Merge {
        from: usize,
    },
    /// Failover: the records are lost, and the feed's entries are merged.
    Lose(Lost),
    Check(Presented),
}

/// Knowledge of a token's revoker about its `exp`.
#[derive(Clone, Copy, Debug)]
enum Exp {
    Unknown,
    /// Proven: read from the token, whose signature holds.
    Proven,
    /// Stated, and right only if it is this token's.
    Stated {
        of: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum What {
    Subject(usize, CutoffBy),
    Client(usize),
    Tenant,
}

#[derive(Clone, Copy, Debug)]
enum Lost {
    Records,
    Filters,
    Heads,
}

/// Token, in indices of names and moments.
#[derive(Clone, Debug)]
struct Presented {
    names: [usize; 5],
    /// Set if it names the key that signed it.
    has_kid: bool,
    issued: Option<(u8, i64)>,
    logged_in: Option<(u8, i64)>,
}

/// Cutoff that was made: tokens up to it, but for these sessions. Without a moment: all.
type Made = (Option<i64>, Vec<usize>);

/// Cutoffs that hold, by target.
#[derive(Default)]
struct Model {
    made: BTreeMap<Target, Vec<Made>>,
}

// === impl Model ===

impl Model {
    /// Adds a cutoff; returns whether it is later than any that holds.
    fn cut(&mut self, target: Target, cutoff: i64, keep: Vec<usize>) -> bool {
        let made = self.made.entry(target).or_default();
        let later = made.iter().all(|(at, _)| at.is_none_or(|at| at < cutoff));
        if later {
            made.push((Some(cutoff), keep));
        }
        later
    }

    /// Returns whether a revocation that holds covers a token of this session, issued (or whose user logged in) at
    /// `time`.
    fn revokes(&self, target: &Target, session: usize, time: Option<i64>) -> bool {
        let made = self.made.get(target).map(Vec::as_slice).unwrap_or_default();
        let mut concerning = made.iter().filter(|(_, keep)| !keep.contains(&session));
        concerning.any(|(cutoff, _)| match (cutoff, time) {
            (None, _) | (_, None) => true,
            (Some(cutoff), Some(time)) => time <= *cutoff,
        })
    }
}

// === running ===

struct Run {
    case: Case,
    model: Model,
    /// Moment in the past from which the run's moments count.
    base: i64,
    revoked: Vec<Target>,
}

// === impl Run ===

impl Run {
    async fn new(url: &str) -> Run {
        let filters = Filters { false_positives: 0.2, ..Settings::default().filters };
        let case = Case::on(url, Settings { partitions: 3, filters, ..Settings::default() }).await;
        let base = case.store.now().0 - 60 * STEP;
        Run { case, model: Model::default(), base, revoked: Vec::new() }
    }

    fn moment(&self, moment: u8) -> i64 {
        self.base + i64::from(moment) * STEP
    }

    /// Expiry of a token; each has its own.
    fn exp(&self, name: usize) -> Millis {
        Millis(self.base + HOUR / 2 + HOUR * [0, 1, 9][name])
    }

    async fn run(&mut self, call: Call) {
        match call {
            Call::Token { name, exp } => {
                let revoke = match exp {
                    Exp::Unknown => token(NAMES[name], None),
                    Exp::Proven => token(NAMES[name], Some(self.exp(name))),
                    Exp::Stated { of } => stated(NAMES[name], self.exp(of)),
                };
                self.model.made.insert(revoke.target.clone(), vec![(None, Vec::new())]);
                self.revoke(revoke).await;
            }
            Call::Session { name } => self.all(session(NAMES[name], None)).await,
            Call::Key { name } => self.all(key(NAMES[name], None)).await,
            Call::Cut { what, moment, keep } => {
                let (at, sids) = (self.moment(moment), keep.iter().map(|name| NAMES[*name]).collect::<Vec<_>>());
                let cutoff = Cutoff::At(Millis(at));
                let revoke = match what {
                    What::Subject(user, by) => subject(NAMES[user], by, cutoff, &sids),
                    What::Client(name) => client(NAMES[name], cutoff),
                    What::Tenant => tenant(cutoff),
                };
                let keep = if matches!(what, What::Subject(..)) { keep } else { Vec::new() };
                let later = self.model.cut(revoke.target.clone(), at, keep);
                let outcome = self.revoke(revoke).await;
                assert_eq!(outcome == Outcome::Changed, later, "only a later cutoff changes anything");
            }
            Call::Undo { ago } => {
                let Some(target) = self.revoked.iter().rev().nth(ago).cloned() else { return };
                let undone = self.case.store.undo(TENANT, &target.id(), None, Cause::default()).await.expect("undone");
                let held = self.model.made.remove(&target).is_some();
                assert_eq!(undone.outcome == Outcome::Changed, held, "only a revocation that holds can be undone");
            }
            Call::Merge { from } => {
                for partition in 0..3 {
                    let entries: Vec<Entry> = self.entries(partition).await.into_iter().skip(from).collect();
                    assert_eq!(self.case.store.merge(partition, &entries).await.expect("a merge"), 0, "old news");
                }
            }
            Call::Lose(lost) => self.lose(lost).await,
            Call::Check(presented) => self.check(&presented).await,
        }
    }

    async fn all(&mut self, revoke: Revoke) {
        self.model.made.insert(revoke.target.clone(), vec![(None, Vec::new())]);
        self.revoke(revoke).await;
    }

    async fn revoke(&mut self, revoke: Revoke) -> Outcome {
        self.revoked.push(revoke.target.clone());
        self.case.revoke(revoke).await.expect("a revocation").outcome
    }

    async fn entries(&self, partition: u32) -> Vec<Entry> {
        self.case.entries(partition).await
    }

    async fn lose(&self, lost: Lost) {
        match lost {
            Lost::Records => {
                self.delete(&format!("revocation:{TENANT}:"), ":audit:");
                for partition in 0..3 {
                    let entries = self.entries(partition).await;
                    self.case.store.merge(partition, &entries).await.expect("what was lost is merged");
                }
            }
            Lost::Filters => self.delete(":bloom:", "no exception"),
            Lost::Heads => self.delete(":head:", "no exception"),
        }
    }

    /// Deletes keys on whichever node they are.
    fn delete(&self, part: &str, but: &str) {
        let nodes = CLUSTER.nodes().iter().chain([modules()]);
        for node in nodes {
            for key in self.case.keys_with(node, part).iter().filter(|key| !key.contains(but)) {
                node.command(&["DEL", key]).expect("a key is deleted");
            }
        }
    }

    async fn check(&self, presented: &Presented) {
        let [jti, sid, user, app, kid] = presented.names;
        let time = |at: Option<(u8, i64)>| at.map(|(moment, beside)| self.moment(moment) + beside);
        let (issued, logged_in) = (time(presented.issued), time(presented.logged_in));
        let claims = Claims {
            tenant: TENANT,
            issuer: ISSUER,
            jti: NAMES[jti],
            sid: NAMES[sid],
            subject: NAMES[user],
            client: NAMES[app],
            kid: if presented.has_kid { NAMES[kid] } else { "" },
            issued_at: issued.map(Millis),
            auth_time: logged_in.map(Millis),
            expires: Some(self.exp(jti)),
        };
        let model = &self.model;
        let cut = |revoke: Revoke, time| model.revokes(&revoke.target, sid, time);
        let at = Cutoff::Now;
        // In the order of the contract.
        let expected = [
            (Rule::Tenant, cut(tenant(at), issued)),
            (Rule::Key, presented.has_kid && cut(key(NAMES[kid], None), issued)),
            (Rule::Client, cut(client(NAMES[app], at), issued)),
            (
                Rule::Subject,
                cut(subject(NAMES[user], CutoffBy::IssuedAt, at, &[]), issued)
                    || cut(subject(NAMES[user], CutoffBy::AuthTime, at, &[]), logged_in),
            ),
            (Rule::Session, cut(session(NAMES[sid], None), issued)),
            (Rule::Token, cut(token(NAMES[jti], None), issued)),
        ];
        let expected = expected.iter().find(|(_, revoked)| *revoked).map(|(rule, _)| *rule);
        let answer = self.case.store.judge(&claims).await.expect("the store judges");
        let hidden = !presented.has_kid && NAMES.iter().any(|kid| cut(key(kid, None), issued));
        let rule = match answer {
            Answer::Active => {
                assert!(
                    !hidden || expected.is_some(),
                    "a key of its issuer is revoked, and may have signed {claims:?}"
                );
                None
            }
            Answer::KeyUnknown => {
                assert!(hidden, "no key is revoked that {claims:?} may hide");
                None
            }
            Answer::Revoked { rule, revocation } => {
                assert!(revocation.is_some(), "{rule:?} names no revocation");
                Some(rule)
            }
            Answer::Suspect(_) => panic!("the store knows; it never suspects"),
        };
        assert_eq!(rule, expected, "of {claims:?}");
        let known = self.case.store.token_revocation(TENANT, claims.token().expect("it has a jti")).await;
        let expected = model.made.contains_key(&token(NAMES[jti], None).target);
        assert_eq!(known.expect("the store tells").is_some(), expected, "the token itself");
    }
}

// === calls ===

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let name = || 0..NAMES.len();
    // Moments before the run began: a cutoff may not be in the future.
    let moment = || 0u8..50;
    let by = prop_oneof![Just(CutoffBy::IssuedAt), Just(CutoffBy::AuthTime)];
    let what = prop_oneof![
        6 => (name(), by).prop_map(|(user, by)| What::Subject(user, by)),
        1 => name().prop_map(What::Client),
        1 => Just(What::Tenant),
    ];
    let exp = prop_oneof![Just(Exp::Unknown), Just(Exp::Proven), name().prop_map(|of| Exp::Stated { of })];
    let keep = proptest::collection::vec(name(), 0..3);
    let beside = || (moment(), -1i64..=1);
    let presented = (
        [name(), name(), name(), name(), name()],
        proptest::bool::weighted(0.7),
        proptest::option::weighted(0.9, beside()),
        proptest::option::weighted(0.8, beside()),
    );
    let presented =
        presented.prop_map(|(names, has_kid, issued, logged_in)| Presented { names, has_kid, issued, logged_in });
    let call = prop_oneof![
        3 => (name(), exp).prop_map(|(name, exp)| Call::Token { name, exp }),
        1 => name().prop_map(|name| Call::Session { name }),
        1 => name().prop_map(|name| Call::Key { name }),
        6 => (what, moment(), keep).prop_map(|(what, moment, keep)| Call::Cut { what, moment, keep }),
        6 => (0usize..6).prop_map(|ago| Call::Undo { ago }),
        1 => (0usize..6).prop_map(|from| Call::Merge { from }),
        1 => prop_oneof![Just(Lost::Records), Just(Lost::Filters), Just(Lost::Heads)].prop_map(Call::Lose),
        12 => presented.prop_map(Call::Check),
    ];
    proptest::collection::vec(call, 1..60)
}

async fn hold_against_the_model(url: &str, calls: Vec<Call>) {
    let mut run = Run::new(url).await;
    for call in calls {
        run.run(call).await;
    }
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn the_store_judges_as_the_model_does(calls in calls()) {
        RUNTIME.block_on(hold_against_the_model(&modules().url(), calls));
    }
}

proptest! {
    #![proptest_config(Config { cases: 16, ..Config::default() })]

    #[test]
    fn a_cluster_judges_as_the_model_does(calls in calls()) {
        RUNTIME.block_on(hold_against_the_model(&CLUSTER.url(), calls));
    }
}
