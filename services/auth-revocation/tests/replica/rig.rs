//! Instance without gRPC: store, replica and checker, in this process.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyplane_auth_revocation::app::check::{Checked, Checker, Demands, Source};
use keyplane_auth_revocation::app::replica::{Mirror, Settings};
use keyplane_auth_revocation::domain::{Cause, Cutoff, Revoke, Written};
use keyplane_auth_revocation::error::Error;
use keyplane_auth_revocation::store::{self, Store};
use keyplane_revocation::{Answer, Claims, Millis, Rule, Scope, Sequence, Target, TokenHash};
use keyplane_testkit::eventually;
use keyplane_valkey::{App, Valkey};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const TENANT: &str = "acme";
const ISSUER: &str = "https://idp.example";

/// Time after the acknowledgement from which on no check may begin that is answered active.
pub(crate) const BOUND: Duration = Duration::from_millis(100);

/// Expiry of all tokens: equal for revokers and checkers, also across the end of an hour.
static EXPIRES: LazyLock<Millis> = LazyLock::new(|| Millis(now().0 + 3_600_000));

pub(crate) struct Instance {
    pub(crate) store: Store,
    pub(crate) mirror: Mirror,
    pub(crate) checker: Checker,
}

/// Starts an instance on the store at `url`, and waits until it has caught up. `change` changes the defaults.
pub(crate) async fn start(app: &str, url: &str, change: impl FnOnce(&mut store::Settings, &mut Settings)) -> Instance {
    let instance = begin(app, url, change);
    instance.wait_ready().await;
    instance
}

/// Starts an instance without waiting.
pub(crate) fn begin(app: &str, url: &str, change: impl FnOnce(&mut store::Settings, &mut Settings)) -> Instance {
    let mut kept = store::Settings::default();
    let mut settings = Settings::new(kept.rules, kept.filters);
    change(&mut kept, &mut settings);
    (settings.rules, settings.filters) = (kept.rules, kept.filters);
    let mut connection = keyplane_valkey::Settings::new(url);
    connection.command_timeout = Duration::from_millis(500);
    let valkey = Valkey::connect(&connection, App::new(app).expect("an app")).expect("settings of a store");
    let store = Store::new(valkey, kept).expect("settings of a store");
    let mirror = Mirror::start(store.clone(), settings);
    let checker = Checker::new(mirror.clone());
    Instance { store, mirror, checker }
}

pub(crate) fn unchanged(_: &mut store::Settings, _: &mut Settings) {}

// === impl Instance ===

impl Instance {
    pub(crate) async fn wait_ready(&self) {
        let mut ready = self.mirror.ready();
        let ready = tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
        ready.expect("the replica catches up: see what the store and the log say").expect("it lives");
    }

    /// Revokes, and applies the acknowledged record to memory, as the service does.
    pub(crate) async fn revoke(&self, scope: Scope) -> (Written, Instant) {
        let written = self.revoke_elsewhere(scope).await;
        self.mirror.apply(&written.0.record);
        written
    }

    /// Revokes as another instance would: memory learns of it by the feed alone.
    pub(crate) async fn revoke_elsewhere(&self, scope: Scope) -> (Written, Instant) {
        let revoke = revocation(scope);
        let mut results = self.store.revoke(vec![revoke]).await;
        let written = results.pop().expect("one result").expect("the store takes it");
        (written, Instant::now())
    }

    pub(crate) async fn check(&self, claims: &Claims<'_>) -> Result<Checked, Error> {
        self.checker.check(claims, &Demands::default()).await
    }

    /// Returns whether memory holds everything in `sequence`.
    pub(crate) fn covers(&self, sequence: &Sequence) -> bool {
        Sequence::parse(&self.mirror.head().sequence).expect("a sequence").covers(sequence)
    }

    /// Name of the instance: its epoch without the count.
    pub(crate) fn name(&self) -> String {
        let epoch = self.mirror.head().epoch;
        epoch.rsplit_once('.').expect("a name and a count").0.to_owned()
    }

    /// Answer of memory alone.
    pub(crate) fn recall(&self, claims: &Claims<'_>) -> Option<Answer> {
        self.checker.check_now(claims, &Demands::default()).map(|checked| checked.answer)
    }

    /// Waits until a token is rejected.
    pub(crate) async fn rejects(&self, claims: &Claims<'_>) {
        let description = format!("{claims:?} is rejected");
        eventually(&description, PATIENCE, async || {
            let checked = self.check(claims).await.map_err(|error| error.to_string())?;
            if is_revoked(&checked.answer) { Ok(()) } else { Err(format!("{checked:?}")) }
        })
        .await;
    }

    /// Waits until memory answers about a good token.
    pub(crate) async fn answers_from_memory(&self) {
        let claims = token("never-revoked");
        eventually("memory answers", PATIENCE, async || match self.check(&claims).await {
            Ok(Checked { answer: Answer::Active, freshness }) if freshness.source == Source::Local => Ok(()),
            other => Err(other),
        })
        .await;
    }

    /// Checks for `time`, beginning 100 ms after `acknowledged`; returns how often the answer was active.
    pub(crate) async fn late_actives(&self, claims: &Claims<'_>, acknowledged: Instant, time: Duration) -> u32 {
        tokio::time::sleep_until((acknowledged + BOUND).into()).await;
        let (begun, mut late) = (Instant::now(), 0);
        while begun.elapsed() < time {
            if self.check(claims).await.is_ok_and(|checked| checked.answer == Answer::Active) {
                late += 1;
            }
            tokio::task::yield_now().await;
        }
        late
    }
}

pub(crate) fn is_revoked(answer: &Answer) -> bool {
    matches!(answer, Answer::Revoked { revocation: Some(_), .. })
}

pub(crate) fn rule(answer: &Answer) -> Option<Rule> {
    match answer {
        Answer::Revoked { rule, .. } => Some(*rule),
        Answer::Active | Answer::Suspect(_) | Answer::KeyUnknown => None,
    }
}

/// Good token of an hour, with no claims but its jti.
pub(crate) fn token(jti: &str) -> Claims<'_> {
    let issued_at = Some(Millis(now().0 - 1000));
    Claims { tenant: TENANT, issuer: ISSUER, jti, issued_at, expires: Some(*EXPIRES), ..Claims::default() }
}

pub(crate) fn scope_of(jti: &str) -> Scope {
    Scope::Token(TokenHash::digest(TENANT, ISSUER, jti))
}

pub(crate) fn revocation(scope: Scope) -> Revoke {
    let is_cutoff = !matches!(scope, Scope::Token(_) | Scope::Session(_) | Scope::Key { .. });
    let expires = matches!(scope, Scope::Token(_)).then_some(*EXPIRES);
    Revoke {
        target: Target { tenant: TENANT.into(), scope },
        cutoff: if is_cutoff { Cutoff::Now } else { Cutoff::All },
        expires,
        exp_is_proven: true,
        keep: Vec::new(),
        cause: Cause::default(),
    }
}

pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    Millis(i64::try_from(since.as_millis()).expect("a clock before the end of time"))
}
