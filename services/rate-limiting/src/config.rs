//! Settings of the rate-limiting service, besides those that every service has.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use keyplane_server::config::Env;

use crate::app::gateway::Settings as GatewaySettings;
use crate::app::policies;
use crate::domain::Outage;
use crate::store::BatchSettings;

/// Settings of the rate-limiting service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sources of the policies.
    pub policies: policies::Settings,
    /// Outage mode of policies that set none.
    pub outage: Outage,
    /// Size of the calls to the store.
    pub batches: BatchSettings,
    /// Settings of Envoy's global rate limit.
    pub envoy: GatewaySettings,
    /// Time for which a request id is remembered, unless the caller sets it.
    pub remember: Duration,
}

// === impl Config ===

impl Config {
    /// Reads the settings; [`Env::finish`] reports the wrong ones.
    pub fn read(env: &mut Env) -> Config {
        let file = env.optional(
            "KEYPLANE_RATELIMIT_POLICIES",
            "file with policies (YAML), reloaded when it changes; unset: only policies of CreatePolicy",
            |text| Ok(PathBuf::from(text)),
        );
        let audit_age = env.duration_within(
            "KEYPLANE_RATELIMIT_AUDIT_AGE",
            "90d",
            ["1h", "730d"],
            "retention of audits after the last one",
        );
        let outage = env.parsed(
            "KEYPLANE_RATELIMIT_OUTAGE_POLICY",
            "closed",
            "outage mode of policies that set none: `closed` (UNAVAILABLE), `open`, or `local` (each instance by itself)",
            |text| Outage::named(text).ok_or_else(|| "must be closed, open or local".to_owned()),
        );
        let remember = env.duration_within(
            "KEYPLANE_RATELIMIT_REMEMBER",
            "10s",
            ["1s", "1h"],
            "time for which the `request_id` of an admitted call is remembered",
        );
        let envoy = read_envoy(env, remember);
        let batches = read_batches(env);
        let policies = policies::Settings { file, audit_age };
        Config { policies, outage: outage.unwrap_or_default(), batches, envoy, remember }
    }
}

fn read_envoy(env: &mut Env, remember: Duration) -> GatewaySettings {
    let deadline = env.duration_within(
        "KEYPLANE_RATELIMIT_ENVOY_DEADLINE",
        "8ms",
        ["1ms", "10s"],
        "deadline of Envoy's call; less than Envoy's `timeout` (20 ms by default), so that Envoy gets the reason",
    );
    let refund_peers = env.parsed(
        "KEYPLANE_RATELIMIT_REFUND_PEERS",
        "",
        "networks of the peers that may take hits back (`is_negative_hits`), e.g. `10.0.0.0/8, ::1/128`; unset: none",
        networks,
    );
    GatewaySettings { deadline, refund_peers: refund_peers.unwrap_or_default(), remember }
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parse =
        |part: &str| part.trim().parse().map_err(|_| "must be networks like 10.0.0.0/8, between commas".to_owned());
    text.split(',').filter(|part| !part.trim().is_empty()).map(parse).collect()
}

fn read_batches(env: &mut Env) -> BatchSettings {
    let default = BatchSettings::default();
    BatchSettings {
        groups: env.number_within(
            "KEYPLANE_RATELIMIT_BATCH",
            default.groups,
            1..=256,
            "maximum of decisions in one call to the store",
        ),
        calls: env.number_within(
            "KEYPLANE_RATELIMIT_BATCHES",
            default.calls,
            1..=256,
            "maximum of concurrent batch calls",
        ),
        queue: env.number_within(
            "KEYPLANE_RATELIMIT_QUEUE",
            default.queue,
            1..=1_000_000,
            "maximum of queued decisions; further calls fail with OVERLOADED",
        ),
    }
}
