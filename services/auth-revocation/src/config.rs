//! Settings of the revocation service, besides those that every service has.

use std::path::PathBuf;
use std::time::Duration;

use keyplane_revocation::{Filters, Rules};
use keyplane_server::config::{Env, parse_duration};

use crate::app::replica;
use crate::domain::{AfterLoss, OutagePolicy};
use crate::store;
use crate::store::Replication;

/// Settings of the revocation service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Storage of the revocations.
    pub store: store::Settings,
    /// Revocation replica: its pace, and its age limits.
    pub replica: replica::Settings,
    /// Claim that names a token's tenant.
    pub tenant_claim: String,
    /// RFC 7009: file with the keys that sign tokens.
    pub jwks: Option<PathBuf>,
    /// RFC 7009: issuers whose tokens may be revoked; empty: any whose signature is valid.
    pub issuers: Vec<String>,
    /// Issuers whose tokens and keys have no `kid`.
    pub without_kid: Vec<String>,
    /// Maximum of concurrent watches of this instance.
    pub max_watches: usize,
}

const FALSE_POSITIVES: &str = "KEYPLANE_REVOCATION_FALSE_POSITIVES";
const FEED_READ: &str = "KEYPLANE_REVOCATION_FEED_READ";
const MAX_WATCHES: &str = "KEYPLANE_REVOCATION_MAX_WATCHES";

/// Span of tokens' `exp` in one filter.
const BUCKET: Duration = Duration::from_hours(1);

// === impl Config ===

impl Config {
    /// Reads the settings; [`Env::finish`] reports the wrong ones.
    pub fn read(env: &mut Env) -> Config {
        let rules = read_rules(env);
        let false_positives = env.number(
            FALSE_POSITIVES,
            0.0001,
            "share of checks of active tokens that ask the store, since a filter matches them by chance",
        );
        env.require(FALSE_POSITIVES, false_positives > 0.0 && false_positives <= 0.5, "must be over 0 and at most 0.5");
        let filters = Filters { false_positives, bucket: BUCKET };
        let store = read_store(env, rules, filters);
        let replica = read_replica(env, rules, filters);
        let tenant_claim = env.text("KEYPLANE_REVOCATION_TENANT_CLAIM", "tenant", "claim that names a token's tenant");
        let jwks = env.optional(
            "KEYPLANE_REVOCATION_JWKS",
            "file with the JSON Web Key Set of the tokens' issuers, for `oauth2/revoke`; unset: that call is rejected",
            |text| Ok(PathBuf::from(text)),
        );
        let issuers = env.list(
            "KEYPLANE_REVOCATION_ISSUERS",
            "",
            "issuers (`iss`) whose tokens `oauth2/revoke` accepts; unset: all whose keys are in the key set",
        );
        let without_kid = env.list(
            "KEYPLANE_REVOCATION_ISSUERS_WITHOUT_KID",
            "",
            "issuers (`iss`) that set no `kid`: their tokens and keys pass without one, and `RevokeKey` rejects them; unset: none",
        );
        let max_watches = env.number(MAX_WATCHES, 1000, "maximum of concurrent watches of one instance");
        env.require(MAX_WATCHES, max_watches > 0, "must be positive");
        Config { store, replica, tenant_claim, jwks, issuers, without_kid, max_watches }
    }
}

fn read_rules(env: &mut Env) -> Rules {
    Rules {
        max_lifetime: env.duration_within(
            "KEYPLANE_REVOCATION_MAX_TOKEN_LIFETIME",
            "24h",
            ["1m", "31d"],
            "longest lifetime of a token; longer ones are rejected, since their revocation could expire first",
        ),
        leeway: env.duration_within(
            "KEYPLANE_REVOCATION_LEEWAY",
            "60s",
            ["0s", "10m"],
            "tolerated difference of clocks; the same as the gateway's",
        ),
        issuer_skew: env.duration_within(
            "KEYPLANE_REVOCATION_ISSUER_SKEW",
            "0s",
            ["0s", "10m"],
            "time by which issuers' clocks may be ahead: added to each cutoff, so that it revokes more, never less",
        ),
    }
}

fn read_store(env: &mut Env, rules: Rules, filters: Filters) -> store::Settings {
    let partitions = env.number_within(
        "KEYPLANE_REVOCATION_PARTITIONS",
        4,
        1..=64,
        "partitions of the feed; fixed at the first use of the store; each costs every instance some 30 reads a second",
    );
    let audit_age =
        env.duration_within("KEYPLANE_REVOCATION_AUDIT_AGE", "90d", ["1h", "730d"], "retention of the audit");
    let waits = env.parsed(
        "KEYPLANE_REVOCATION_DURABILITY",
        "auto",
        "wait of a revocation for replicas of the store: `auto` (where WAIT is available) or `off`",
        |text| match text {
            "auto" => Ok(true),
            "off" => Ok(false),
            _ => Err("must be auto or off".to_owned()),
        },
    );
    let replicas = env.number_within(
        "KEYPLANE_REVOCATION_REPLICAS",
        1,
        1..=16,
        "replicas of the store that must have a revocation for it to be REPLICATED",
    );
    let within = env.duration_within(
        "KEYPLANE_REVOCATION_REPLICA_WAIT",
        "50ms",
        ["1ms", "10s"],
        "longest wait of a revocation for those replicas",
    );
    let replication = if waits == Some(false) { Replication::Off } else { Replication::Auto { replicas, within } };
    store::Settings { partitions, rules, filters, audit_age, replication, ..store::Settings::default() }
}

fn read_replica(env: &mut Env, rules: Rules, filters: Filters) -> replica::Settings {
    let bound = env.duration_within(
        "KEYPLANE_REVOCATION_MAX_STALENESS",
        "100ms",
        ["10ms", "1h"],
        "age past which memory no longer answers, and the store is asked; past 100ms a revocation takes as long",
    );
    let beat = env.duration(FEED_READ, "33ms", "interval of reads of each part of the feed; 5ms up to half of the age");
    let beats = Duration::from_millis(5)..=bound / 2;
    env.require(FEED_READ, beats.contains(&beat), "must be 5ms up to half of KEYPLANE_REVOCATION_MAX_STALENESS");
    let ask = env.duration_within(
        "KEYPLANE_REVOCATION_STORE_TIMEOUT",
        "100ms",
        ["5ms", "10s"],
        "longest wait of a check for the store, extended to 3s while the instance's own reads show that it answers",
    );
    let policy = env.parsed(
        "KEYPLANE_REVOCATION_OUTAGE_POLICY",
        "closed",
        "answer when neither memory nor the store can tell: `closed` (UNAVAILABLE), `open`, or `last-known 30s`",
        |text| OutagePolicy::parse(text, parse_duration).map_err(|error| error.to_string()),
    );
    let after_loss = env.parsed(
        "KEYPLANE_REVOCATION_AFTER_LOSS",
        "refuse",
        "answer for tokens whose revocation the store may have lost: `refuse`, or `ask-store`, which lets them pass",
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
