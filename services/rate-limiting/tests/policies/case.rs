//! Test case on the shared server, with a direct view of its keys.

use std::path::PathBuf;
use std::time::Duration;

use keyplane_contracts::names::TenantId;
use keyplane_engine::Reply;
use keyplane_rate_limiting::app::policies::{Policies, Settings};
use keyplane_rate_limiting::domain::{Entry, Limit, Origin, Patch, Policy, PolicyId};
use keyplane_rate_limiting::store::{AuditStore, PolicyStore};
use keyplane_valkey::{App, Settings as Connection, Valkey};
use tokio::sync::watch;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Without a file, and with audits of 90 days.
pub(crate) const SETTINGS: Settings = Settings { file: None, audit_age: Duration::from_hours(90 * 24) };

/// File of one policy, and two tenants with a plan.
pub(crate) const FILE: &str = "policies:
  - {id: f, entries: [tenant], limit: {amount: 5, per: 1s}}
tenants: {acme: silver, globex: silver}
";

pub(crate) struct Case {
    pub(crate) app: String,
    folder: tempfile::TempDir,
}

// === impl Case ===

impl Case {
    pub(crate) fn new() -> Case {
        Case { app: keyplane_testkit::app(), folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("policies.yaml")
    }

    /// Writes the file at once, as careful operators do.
    pub(crate) fn write_file(&self, text: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(new, self.file()).expect("it takes the file's place");
    }

    /// With the file, if it was written.
    pub(crate) fn settings(&self) -> Settings {
        Settings { file: Some(self.file()).filter(|file| file.exists()), ..SETTINGS }
    }

    /// Instance on the shared server, ready.
    pub(crate) async fn start(&self) -> Policies {
        self.start_at(&keyplane_testkit::valkey().url()).await
    }

    pub(crate) async fn start_at(&self, url: &str) -> Policies {
        let policies = start(connect(&self.app, url).await, self.settings()).await.expect("it starts");
        let mut ready = policies.ready();
        tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.expect("in time").expect("it lives");
        policies
    }

    // === behind the service's back ===

    pub(crate) fn hget(&self, field: &str) -> String {
        let reply = command(&["HGET", &self.key(), field]);
        reply.text().expect("the field is there").to_owned()
    }

    pub(crate) fn hset(&self, field: &str, value: &str) {
        command(&["HSET", &self.key(), field, value]);
    }

    /// Number of fields of the hash.
    pub(crate) fn fields(&self) -> i64 {
        command(&["HLEN", &self.key()]).int().expect("a number")
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let Reply::Array(keys) = command(&["KEYS", &format!("{}:*", self.app)]) else { panic!("no list") };
        keys.iter().filter_map(Reply::text).map(str::to_owned).collect()
    }

    /// Milliseconds that the key with this end lives.
    pub(crate) fn ttl(&self, end: &str) -> i64 {
        let key = self.keys().into_iter().find(|key| key.ends_with(end)).expect("the key is there");
        command(&["PTTL", &key]).int().expect("a number")
    }

    fn key(&self) -> String {
        format!("{}:policies:_:policies:{{p0}}", self.app)
    }
}

fn command(args: &[&str]) -> Reply {
    keyplane_testkit::valkey().command(args).expect("the server answers")
}

/// Policies over this connection.
pub(crate) async fn start(valkey: Valkey, settings: Settings) -> Result<Policies, Box<dyn std::error::Error>> {
    let audit = AuditStore::new(valkey.clone(), settings.audit_age)?;
    Ok(Policies::start(PolicyStore::new(valkey), audit, settings.file).await?)
}

/// Separate connection that is up.
pub(crate) async fn connect(app: &str, url: &str) -> Valkey {
    let valkey = connect_lazily(app, url);
    valkey.wait_ready(PATIENCE).await.expect("the test server answers");
    valkey
}

/// Separate connection, perhaps to no server.
pub(crate) fn connect_lazily(app: &str, url: &str) -> Valkey {
    let app = App::new(app).expect("the test kit's prefix is an app");
    Valkey::connect(&Connection::new(url), app).expect("the settings of the test server")
}

/// Waits until the file is rejected for this reason.
pub(crate) async fn rejected(rejected: &mut watch::Receiver<Option<String>>, why: &str) {
    let is_reason = |reasons: &Option<String>| reasons.as_ref().is_some_and(|reasons| reasons.contains(why));
    let waited = tokio::time::timeout(PATIENCE, rejected.wait_for(is_reason)).await;
    waited.unwrap_or_else(|_| panic!("not rejected for {why}")).expect("it lives");
}

// === what is made ===

pub(crate) fn limit(amount: u64) -> Limit {
    Limit::per(amount, Duration::from_secs(1))
}

pub(crate) fn new(id: &str, amount: u64) -> Policy {
    with_limit(id, limit(amount))
}

pub(crate) fn with_limit(id: &str, limit: Limit) -> Policy {
    Policy {
        id: PolicyId::parse(id, "").expect("an id"),
        domain: "keyplane".to_owned(),
        entries: vec![Entry { key: "tenant".to_owned(), value: None }],
        limit,
        plans: std::collections::BTreeMap::new(),
        tenants: std::collections::BTreeMap::new(),
        outage: None,
        post_charge: false,
        lease: 0,
        version: 0,
        origin: Origin::Api,
        updated: None,
    }
}

pub(crate) fn tenant(id: &str) -> TenantId {
    TenantId::parse(id, "").expect("a tenant")
}

pub(crate) fn id(text: &str) -> PolicyId {
    PolicyId::parse(text, "").unwrap()
}

pub(crate) fn amount(amount: u64) -> Patch {
    Patch { limit: Some(limit(amount)), ..Patch::default() }
}

/// Default amount of a policy in force on an instance, and the policy's origin.
pub(crate) fn seen(policies: &Policies, id: &str) -> Option<(u64, Origin)> {
    policies.catalog().get(id).map(|compiled| (compiled.policy.limit.amount, compiled.policy.origin))
}
