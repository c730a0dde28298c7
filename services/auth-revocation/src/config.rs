//! The settings of the revocation service, besides those that every service has.

use std::path::PathBuf;
use std::time::Duration;

use keyplane_revocation::{Filters, Rules};
use keyplane_server::config::{Env, parse_duration};

use crate::domain::{AfterLoss, OutagePolicy};
use crate::store::Replication;
use crate::{replica, store};

/// The settings of the revocation service.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the revocations are kept.
    pub store: store::Settings,
    /// How the replica follows them, and when it may answer.
    pub replica: replica::Settings,
    /// The claim that names a token's tenant.
    pub tenant_claim: String,
    /// RFC 7009: the file that holds the keys which sign tokens.
    pub jwks: Option<PathBuf>,
    /// RFC 7009: the issuers whose tokens are revoked; empty: any whose signature holds.
    pub issuers: Vec<String>,
    /// The issuers whose tokens and keys have no `kid`.
    pub without_kid: Vec<String>,
    /// Watches that one instance serves at the same time.
    pub max_watches: usize,
}

const PARTITIONS: &str = "KEYPLANE_REVOCATION_PARTITIONS";
const MAX_TOKEN_LIFETIME: &str = "KEYPLANE_REVOCATION_MAX_TOKEN_LIFETIME";
const LEEWAY: &str = "KEYPLANE_REVOCATION_LEEWAY";
const ISSUER_SKEW: &str = "KEYPLANE_REVOCATION_ISSUER_SKEW";
const FALSE_POSITIVES: &str = "KEYPLANE_REVOCATION_FALSE_POSITIVES";
const AUDIT_AGE: &str = "KEYPLANE_REVOCATION_AUDIT_AGE";
const DURABILITY: &str = "KEYPLANE_REVOCATION_DURABILITY";
const REPLICAS: &str = "KEYPLANE_REVOCATION_REPLICAS";
const REPLICA_WAIT: &str = "KEYPLANE_REVOCATION_REPLICA_WAIT";
const MAX_STALENESS: &str = "KEYPLANE_REVOCATION_MAX_STALENESS";
const FEED_READ: &str = "KEYPLANE_REVOCATION_FEED_READ";
const STORE_TIMEOUT: &str = "KEYPLANE_REVOCATION_STORE_TIMEOUT";
const OUTAGE_POLICY: &str = "KEYPLANE_REVOCATION_OUTAGE_POLICY";
const AFTER_LOSS: &str = "KEYPLANE_REVOCATION_AFTER_LOSS";
const TENANT_CLAIM: &str = "KEYPLANE_REVOCATION_TENANT_CLAIM";
const JWKS: &str = "KEYPLANE_REVOCATION_JWKS";
const ISSUERS: &str = "KEYPLANE_REVOCATION_ISSUERS";
const ISSUERS_WITHOUT_KID: &str = "KEYPLANE_REVOCATION_ISSUERS_WITHOUT_KID";
const MAX_WATCHES: &str = "KEYPLANE_REVOCATION_MAX_WATCHES";

/// How much of the tokens' `exp` one filter spans.
const BUCKET: Duration = Duration::from_hours(1);

// === impl Config ===

impl Config {
    /// Reads the settings; what is wrong with them is told by [`Env::finish`].
    pub fn read(env: &mut Env) -> Config {
        let rules = read_rules(env);
        let false_positives = env.number(
            FALSE_POSITIVES,
            0.0001,
            "share of checks of good tokens that ask the store all the same, since a filter holds a look-alike",
        );
        env.require(FALSE_POSITIVES, false_positives > 0.0 && false_positives <= 0.5, "must be over 0 and at most 0.5");
        let filters = Filters { false_positives, bucket: BUCKET };
        let store = read_store(env, rules, filters);
        let replica = read_replica(env, rules, filters);
        let tenant_claim = env.text(TENANT_CLAIM, "tenant", "claim that names a token's tenant");
        let jwks = env.optional(
            JWKS,
            "file with the JSON Web Key Set of the tokens' issuers, for `oauth2/revoke`; unset: that call is refused",
            |text| Ok(PathBuf::from(text)),
        );
        let issuers = env.list(
            ISSUERS,
            "",
            "issuers (`iss`) whose tokens `oauth2/revoke` takes; unset: any that a key of the set signed",
        );
        let without_kid = env.list(
            ISSUERS_WITHOUT_KID,
            "",
            "issuers (`iss`) that set no `kid`: their tokens and keys pass without one, and `RevokeKey` is refused for them; unset: none",
        );
        let max_watches = env.number(MAX_WATCHES, 1000, "watches that one instance serves at a time");
        env.require(MAX_WATCHES, max_watches > 0, "must be positive");
        Config { store, replica, tenant_claim, jwks, issuers, without_kid, max_watches }
    }
}

fn read_rules(env: &mut Env) -> Rules {
    let rules = Rules {
        max_lifetime: env.duration(
            MAX_TOKEN_LIFETIME,
            "24h",
            "longest life of a token; one that lives longer is refused, since its revocation might be forgotten; 1m to 31d",
        ),
        leeway: env.duration(LEEWAY, "60s", "by how much clocks may differ; as much as the gateway allows; at most 10m"),
        issuer_skew: env.duration(
            ISSUER_SKEW,
            "0s",
            "by how much issuers' clocks may be ahead: added to each cutoff, so that it only widens refusal; at most 10m",
        ),
    };
    let lifetimes = Duration::from_mins(1)..=Duration::from_hours(31 * 24);
    env.require(MAX_TOKEN_LIFETIME, lifetimes.contains(&rules.max_lifetime), "must be 1m to 31d");
    for (name, span) in [(LEEWAY, rules.leeway), (ISSUER_SKEW, rules.issuer_skew)] {
        env.require(name, span <= Duration::from_mins(10), "must be at most 10m");
    }
    rules
}

fn read_store(env: &mut Env, rules: Rules, filters: Filters) -> store::Settings {
    let partitions = env.number(
        PARTITIONS,
        4,
        "parts of the feed, 1 to 64; fixed when the store is first used; each costs every instance some 30 reads a second",
    );
    env.require(PARTITIONS, (1..=64).contains(&partitions), "must be 1 to 64");
    let audit_age = env.duration(AUDIT_AGE, "90d", "how long the audit is kept; 1h to 730d");
    let ages = Duration::from_hours(1)..=Duration::from_hours(730 * 24);
    env.require(AUDIT_AGE, ages.contains(&audit_age), "must be 1h to 730d");
    let waits = env.parsed(
        DURABILITY,
        "auto",
        "whether a revocation waits for replicas of the store: `auto` (where WAIT can be used) or `off`",
        |text| match text {
            "auto" => Ok(true),
            "off" => Ok(false),
            _ => Err("must be auto or off".to_owned()),
        },
    );
    let replicas =
        env.number(REPLICAS, 1, "replicas of the store that must have a revocation for it to be REPLICATED; 1 to 16");
    env.require(REPLICAS, (1..=16).contains(&replicas), "must be 1 to 16");
    let within = env.duration(REPLICA_WAIT, "50ms", "how long a revocation waits for them; 1ms to 10s");
    let waitable = Duration::from_millis(1)..=Duration::from_secs(10);
    env.require(REPLICA_WAIT, waitable.contains(&within), "must be 1ms to 10s");
    let replication = if waits == Some(false) { Replication::Off } else { Replication::Auto { replicas, within } };
    store::Settings { partitions, rules, filters, audit_age, replication, ..store::Settings::default() }
}

fn read_replica(env: &mut Env, rules: Rules, filters: Filters) -> replica::Settings {
    let bound = env.duration(
        MAX_STALENESS,
        "100ms",
        "age at which what memory holds no longer answers, and the store is asked; 10ms to 1h; over 100ms a revocation takes as long",
    );
    let bounds = Duration::from_millis(10)..=Duration::from_hours(1);
    env.require(MAX_STALENESS, bounds.contains(&bound), "must be 10ms to 1h");
    let beat =
        env.duration(FEED_READ, "33ms", "time between two reads of each part of the feed; 5ms up to half of the age");
    let beats = Duration::from_millis(5)..=bound / 2;
    env.require(FEED_READ, beats.contains(&beat), "must be 5ms up to half of KEYPLANE_REVOCATION_MAX_STALENESS");
    let ask = env.duration(
        STORE_TIMEOUT,
        "100ms",
        "how long a check waits for the store, and up to 3s while the instance's own reads show that it answers; 5ms to 10s",
    );
    let asks = Duration::from_millis(5)..=Duration::from_secs(10);
    env.require(STORE_TIMEOUT, asks.contains(&ask), "must be 5ms to 10s");
    let policy = env.parsed(
        OUTAGE_POLICY,
        "closed",
        "who answers when neither memory nor the store can: `closed` (nobody: UNAVAILABLE), `open`, or `last-known 30s`",
        |text| OutagePolicy::parse(text, parse_duration).map_err(|error| error.to_string()),
    );
    let after_loss = env.parsed(
        AFTER_LOSS,
        "refuse",
        "what becomes of tokens that may have been revoked, once the store has lost revocations: `refuse`, or `ask-store`, which lets them pass",
        |text| AfterLoss::parse(text).ok_or_else(|| "must be refuse or ask-store".to_owned()),
    );
    replica::Settings {
        bound,
        beat,
        ask,
        policy: policy.unwrap_or_default(),
        after_loss: after_loss.unwrap_or_default(),
        ..replica::Settings::new(rules, filters)
    }
}
