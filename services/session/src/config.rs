//! Settings of the session service, besides those that every service has.

use std::time::Duration;

use keyplane_server::config::{Env, parse_duration};
use tonic::transport::Endpoint;

use crate::domain::{Overflow, Policies, Policy};
use crate::store::Retention;

/// Settings of the session service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Lifetimes of sessions, and their maximum for a user.
    pub policies: Policies,
    /// Retention of events and request ids.
    pub retention: Retention,
    /// Maximum of concurrent watches of this instance.
    pub max_watches: usize,
    /// Silence after which a browser's watch gets a comment line.
    pub heartbeat: Duration,
    /// Address of the revocation service; without it, `revoke_tokens` is rejected.
    pub revocation: Option<Endpoint>,
}

const IDLE: &str = "KEYPLANE_SESSION_IDLE_TIMEOUT";
const ABSOLUTE: &str = "KEYPLANE_SESSION_ABSOLUTE_TIMEOUT";
const MAX_SESSIONS: &str = "KEYPLANE_SESSION_MAX_SESSIONS";
const MAX_WATCHES: &str = "KEYPLANE_SESSION_MAX_WATCHES";

// === impl Config ===

impl Config {
    /// Reads the settings; [`Env::finish`] reports the wrong ones.
    pub fn read(env: &mut Env) -> Config {
        let policies = read_policies(env);
        let retention = Retention {
            events: env.number_within(
                "KEYPLANE_SESSION_EVENTS",
                128,
                1..=10_000,
                "events kept for each user, for watchers that reconnect",
            ),
            event_age: env.duration_within(
                "KEYPLANE_SESSION_EVENT_AGE",
                "1h",
                ["1s", "24h"],
                "retention of a user's events after the last one",
            ),
            request_age: env.duration_within(
                "KEYPLANE_SESSION_REQUEST_AGE",
                "10m",
                ["1s", "24h"],
                "time for which a `request_id` is remembered",
            ),
        };
        let max_watches =
            env.number(MAX_WATCHES, 20_000, "maximum of concurrent watches of one instance, some 15 KiB each");
        env.require(MAX_WATCHES, max_watches > 0, "must be positive");
        let heartbeat = env.duration_within(
            "KEYPLANE_SESSION_HEARTBEAT",
            "15s",
            ["100ms", "5m"],
            "silence after which an event stream gets a comment line",
        );
        let revocation = env.optional(
            "KEYPLANE_SESSION_REVOCATION_URL",
            "the revocation service, e.g. `http://auth-revocation:50052`; unset: `revoke_tokens` is rejected",
            revocation_endpoint,
        );
        Config { policies, retention, max_watches, heartbeat, revocation }
    }
}

fn revocation_endpoint(text: &str) -> Result<Endpoint, String> {
    let rule = || "must be `http://<host>:<port>`, and nothing more".to_owned();
    let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|_| rule())?;
    let uri = endpoint.uri();
    let has_user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
    let bare = uri.path() == "/" && uri.query().is_none() && uri.port().is_some();
    if uri.scheme_str() == Some("http") && bare && !has_user { Ok(endpoint) } else { Err(rule()) }
}

fn read_policies(env: &mut Env) -> Policies {
    let overflow = env.parsed(
        "KEYPLANE_SESSION_OVERFLOW",
        "evict-oldest",
        "login past the maximum: `evict-oldest` (ends the session used least recently) or `reject`",
        |text| Overflow::parse(text).map_err(|error| error.to_string()),
    );
    let policy = Policy {
        idle: env.duration(IDLE, "30m", "lifetime of a session without use; 1s up to the absolute timeout"),
        absolute: env.duration(ABSOLUTE, "12h", "longest lifetime of a session; 1s to 31d"),
        max_sessions: env.number(MAX_SESSIONS, 10, "maximum of sessions of a user; 1 to 100"),
        overflow: overflow.unwrap_or(Overflow::EvictOldest),
    };
    let default = match policy.clone().checked() {
        Ok(policy) => policy,
        Err(error) => {
            env.require(error.concerns([IDLE, ABSOLUTE, MAX_SESSIONS]), false, &error.to_string());
            policy
        }
    };
    let policies = Policies::new(default);
    let with_tenants =
        |text: &str| policies.clone().with_tenants(text, parse_duration).map_err(|error| error.to_string());
    env.optional(
        "KEYPLANE_SESSION_TENANTS",
        "policies of single tenants, e.g. `acme: idle=15m, absolute=8h, max_sessions=5, overflow=reject; globex: ...`",
        with_tenants,
    )
    .unwrap_or(policies)
}
