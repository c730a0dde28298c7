//! Store of its own on a server that the tests share, and a view behind its back.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use keyplane_auth_revocation::domain::{Cause, Cutoff, Reason, Revoke, Written};
use keyplane_auth_revocation::error::Error;
use keyplane_auth_revocation::store::feed::FeedRecord;
use keyplane_auth_revocation::store::{Settings, Store};
use keyplane_engine::{Reply, Valkey as Server};
use keyplane_revocation::{Answer, Claims, CutoffBy, Entry, Millis, Rule, Scope, Target, TokenHash};
use keyplane_valkey::{App, Feature, Key, Settings as Connection, Valkey};

pub(crate) const TENANT: &str = "acme";
pub(crate) const ISSUER: &str = "https://idp.example";
pub(crate) const HOUR: i64 = 3_600_000;

/// Server with Bloom filters.
static MODULES: LazyLock<Server> = LazyLock::new(|| {
    Server::builder(&keyplane_testkit::toolbox()).modules(true).start().expect("a server with modules")
});

pub(crate) struct Case {
    pub(crate) app: String,
    pub(crate) valkey: Valkey,
    pub(crate) store: Store,
}

// === servers ===

pub(crate) fn modules() -> &'static Server {
    &MODULES
}

pub(crate) async fn connect(app: &str, url: &str) -> Valkey {
    let app = App::new(app).expect("the test kit's prefix is an app");
    let valkey = Valkey::connect(&Connection::new(url), app).expect("the settings of the test server");
    valkey.wait_ready(Duration::from_secs(10)).await.expect("the test server answers");
    valkey
}

// === impl Case ===

impl Case {
    /// Case on the server with Bloom filters.
    pub(crate) async fn new() -> Case {
        Case::on(&modules().url(), Settings::default()).await
    }

    pub(crate) async fn on(url: &str, settings: Settings) -> Case {
        let app = keyplane_testkit::app();
        let valkey = connect(&app, url).await;
        let store = Store::new(valkey.clone(), settings).expect("lifetimes that keys may have");
        store.probe().await.expect("the test server can do what the store needs");
        Case { app, valkey, store }
    }

    pub(crate) async fn revoke(&self, revoke: Revoke) -> Result<Written, Error> {
        let mut results = self.store.revoke(vec![revoke]).await;
        assert_eq!(results.len(), 1, "one result for one item");
        results.remove(0)
    }

    /// Rule by which the store rejects a token; `None` if it is good.
    pub(crate) async fn rule(&self, claims: &Claims<'_>) -> Option<Rule> {
        match self.store.judge(claims).await.expect("the store judges") {
            Answer::Active => None,
            Answer::Revoked { rule, .. } => Some(rule),
            Answer::Suspect(_) | Answer::KeyUnknown => panic!("no revoked key is hidden, and the store never suspects"),
        }
    }

    pub(crate) fn claims<'a>(&self, jti: &'a str) -> Claims<'a> {
        let now = self.store.now();
        Claims {
            tenant: TENANT,
            issuer: ISSUER,
            jti,
            kid: "good",
            issued_at: Some(Millis(now.0 - 1000)),
            expires: Some(Millis(now.0 + HOUR)),
            ..Claims::default()
        }
    }

    /// Entries of a partition's feed.
    pub(crate) async fn feed(&self, partition: u32) -> Vec<FeedRecord> {
        self.store.feed_page(partition, None, 100_000).await.expect("the feed is read")
    }

    /// States in a partition's feed.
    pub(crate) async fn entries(&self, partition: u32) -> Vec<Entry> {
        self.feed(partition).await.into_iter().map(|record| Arc::unwrap_or_clone(record.entry)).collect()
    }

    /// Key of a partition's head.
    pub(crate) fn head_key(&self, partition: u32) -> Key {
        Key::partitioned(self.valkey.app(), Feature::REVOCATION, "_", &["head"], partition)
    }

    /// Feeds of all partitions.
    pub(crate) async fn feeds(&self) -> Vec<Vec<FeedRecord>> {
        let mut feeds = Vec::new();
        for partition in 0..self.store.partitions() {
            feeds.push(self.feed(partition).await);
        }
        feeds
    }

    pub(crate) async fn feed_length(&self) -> usize {
        self.feeds().await.iter().map(Vec::len).sum()
    }

    /// Names of this case's keys that contain `part`, on `server`.
    pub(crate) fn keys_with(&self, server: &Server, part: &str) -> Vec<String> {
        let reply = server.command(&["KEYS", &format!("{}:*{part}*", self.app)]).expect("the keys of the case");
        let Reply::Array(keys) = reply else { panic!("a list of keys, not {reply:?}") };
        keys.iter().filter_map(Reply::text).map(str::to_owned).collect()
    }

    /// Deletes the keys that contain `part`, behind the store's back; returns how many.
    pub(crate) fn lose(&self, server: &Server, part: &str) -> usize {
        let keys = self.keys_with(server, part);
        for key in &keys {
            server.command(&["DEL", key]).expect("a key is deleted");
        }
        keys.len()
    }

    /// Asserts that each key has a TTL that its feature allows, but for the layout.
    pub(crate) fn nothing_is_eternal(&self, server: &Server) {
        let keys = self.keys_with(server, "");
        assert!(keys.len() > 1, "the case has written something");
        for key in keys.iter().filter(|key| !key.ends_with(":revocation:layout")) {
            let ttl = server.command(&["PTTL", key]).expect("a TTL").int().expect("a number");
            assert!(ttl > 0, "{key} lives for ever; every write must set a TTL");
            assert!(ttl <= 800 * 24 * HOUR, "{key} lives for {ttl} ms, longer than its feature allows");
        }
    }
}

// === what is revoked ===

fn revoke(scope: Scope, cutoff: Cutoff) -> Revoke {
    let cause = Cause { reason: Reason::Logout, initiator: "admin".into(), description: "ticket 7".into() };
    let target = Target { tenant: TENANT.into(), scope };
    Revoke { target, cutoff, expires: None, exp_is_proven: true, keep: Vec::new(), cause }
}

pub(crate) fn token(jti: &str, expires: Option<Millis>) -> Revoke {
    let hash = TokenHash::digest(TENANT, ISSUER, jti);
    Revoke { expires, ..revoke(Scope::Token(hash), Cutoff::All) }
}

/// Token whose `exp` a caller states without proof.
pub(crate) fn stated(jti: &str, expires: Millis) -> Revoke {
    Revoke { exp_is_proven: false, ..token(jti, Some(expires)) }
}

pub(crate) fn session(sid: &str, expires: Option<Millis>) -> Revoke {
    Revoke { expires, ..revoke(Scope::Session(sid.into()), Cutoff::All) }
}

pub(crate) fn key(kid: &str, expires: Option<Millis>) -> Revoke {
    Revoke { expires, ..revoke(Scope::Key { issuer: ISSUER.into(), kid: kid.into() }, Cutoff::All) }
}

pub(crate) fn subject(user: &str, by: CutoffBy, cutoff: Cutoff, keep: &[&str]) -> Revoke {
    let keep = keep.iter().map(|sid| Box::from(*sid)).collect();
    Revoke { keep, ..revoke(Scope::Subject { user: user.into(), by }, cutoff) }
}

pub(crate) fn client(client: &str, cutoff: Cutoff) -> Revoke {
    revoke(Scope::Client(client.into()), cutoff)
}

pub(crate) fn tenant(cutoff: Cutoff) -> Revoke {
    revoke(Scope::Tenant, cutoff)
}
