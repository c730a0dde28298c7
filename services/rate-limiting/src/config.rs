//! The settings of the rate-limiting service, besides those that every service has.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use keyplane_server::config::Env;

use crate::domain::Outage;
use crate::grpc::EnvoySettings;
use crate::policies;
use crate::store::BatchSettings;

/// The settings of the rate-limiting service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the policies come from.
    pub policies: policies::Settings,
    /// Who answers while the store is away, where a policy does not say.
    pub outage: Outage,
    /// How much goes to the store together.
    pub batches: BatchSettings,
    /// Envoy's door.
    pub envoy: EnvoySettings,
    /// How long a request id is remembered where the caller does not say.
    pub remember: Duration,
}

const REMEMBER: &str = "KEYPLANE_RATELIMIT_REMEMBER";
const ENVOY_DEADLINE: &str = "KEYPLANE_RATELIMIT_ENVOY_DEADLINE";
const AUDIT_AGE: &str = "KEYPLANE_RATELIMIT_AUDIT_AGE";
const BATCH: &str = "KEYPLANE_RATELIMIT_BATCH";
const BATCHES: &str = "KEYPLANE_RATELIMIT_BATCHES";
const QUEUE: &str = "KEYPLANE_RATELIMIT_QUEUE";

// === impl Config ===

impl Config {
    /// Reads the settings; what is wrong with them is told by [`Env::finish`].
    pub fn read(env: &mut Env) -> Config {
        let file = env.optional(
            "KEYPLANE_RATELIMIT_POLICIES",
            "file with policies (YAML), read anew when it changes; unset: only those that were made by CreatePolicy",
            |text| Ok(PathBuf::from(text)),
        );
        let audit_age = env.duration(AUDIT_AGE, "90d", "how long audits are kept after the last one; 1h to 730d");
        let ages = Duration::from_hours(1)..=Duration::from_hours(730 * 24);
        env.require(AUDIT_AGE, ages.contains(&audit_age), "must be 1h to 730d");
        let outage = env.parsed(
            "KEYPLANE_RATELIMIT_OUTAGE_POLICY",
            "closed",
            "while the store is away, for policies that do not say: `closed` (UNAVAILABLE), `open`, or `local` (each instance by itself)",
            |text| Outage::named(text).ok_or_else(|| "must be closed, open or local".to_owned()),
        );
        let remember =
            env.duration(REMEMBER, "10s", "how long the `request_id` of an admitted call is remembered; 1s to 1h");
        let spans = Duration::from_secs(1)..=Duration::from_hours(1);
        env.require(REMEMBER, spans.contains(&remember), "must be 1s to 1h");
        let envoy = read_envoy(env, remember);
        let batches = read_batches(env);
        let policies = policies::Settings { file, audit_age };
        Config { policies, outage: outage.unwrap_or_default(), batches, envoy, remember }
    }
}

fn read_envoy(env: &mut Env, remember: Duration) -> EnvoySettings {
    let deadline = env.duration(
        ENVOY_DEADLINE,
        "8ms",
        "how long Envoy's call may take; less than its `timeout` (20 ms by default), so that it hears the reason; 1ms to 10s",
    );
    let bounds = Duration::from_millis(1)..=Duration::from_secs(10);
    env.require(ENVOY_DEADLINE, bounds.contains(&deadline), "must be 1ms to 10s");
    let refund_peers = env.parsed(
        "KEYPLANE_RATELIMIT_REFUND_PEERS",
        "",
        "networks of the peers that may take hits back (`is_negative_hits`), e.g. `10.0.0.0/8, ::1/128`; unset: none",
        networks,
    );
    EnvoySettings { deadline, refund_peers: refund_peers.unwrap_or_default(), remember }
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parse =
        |part: &str| part.trim().parse().map_err(|_| "must be networks like 10.0.0.0/8, between commas".to_owned());
    text.split(',').filter(|part| !part.trim().is_empty()).map(parse).collect()
}

fn read_batches(env: &mut Env) -> BatchSettings {
    let default = BatchSettings::default();
    let groups = env.number(BATCH, default.groups, "decisions that go to the store in one call, at most; 1 to 256");
    env.require(BATCH, (1..=256).contains(&groups), "must be 1 to 256");
    let calls = env.number(BATCHES, default.calls, "such calls that are under way at a time; 1 to 256");
    env.require(BATCHES, (1..=256).contains(&calls), "must be 1 to 256");
    let queue =
        env.number(QUEUE, default.queue, "decisions that may wait; beyond it calls fail with OVERLOADED; 1 to 1000000");
    env.require(QUEUE, (1..=1_000_000).contains(&queue), "must be 1 to 1000000");
    BatchSettings { groups, calls, queue }
}
