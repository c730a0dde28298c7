//! The settings of the session service, besides those that every service has.

use std::time::Duration;

use keyplane_server::config::{Env, parse_duration};
use tonic::transport::Endpoint;

use crate::domain::{Overflow, Policies, Policy};
use crate::store::Retention;

/// The settings of the session service.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long sessions live, and how many a user may have.
    pub policies: Policies,
    /// How much is kept besides the sessions.
    pub retention: Retention,
    /// Watches that one instance follows at the same time.
    pub max_watches: usize,
    /// Silence after which a browser's watch is sent a comment line.
    pub heartbeat: Duration,
    /// Where tokens are revoked; without it, `revoke_tokens` is refused.
    pub revocation: Option<Endpoint>,
}

const IDLE: &str = "KEYPLANE_SESSION_IDLE_TIMEOUT";
const ABSOLUTE: &str = "KEYPLANE_SESSION_ABSOLUTE_TIMEOUT";
const MAX_SESSIONS: &str = "KEYPLANE_SESSION_MAX_SESSIONS";
const TENANTS: &str = "KEYPLANE_SESSION_TENANTS";
const EVENTS: &str = "KEYPLANE_SESSION_EVENTS";
const EVENT_AGE: &str = "KEYPLANE_SESSION_EVENT_AGE";
const REQUEST_AGE: &str = "KEYPLANE_SESSION_REQUEST_AGE";
const HEARTBEAT: &str = "KEYPLANE_SESSION_HEARTBEAT";
const MAX_WATCHES: &str = "KEYPLANE_SESSION_MAX_WATCHES";
const REVOCATION_URL: &str = "KEYPLANE_SESSION_REVOCATION_URL";

// === impl Config ===

impl Config {
    /// Reads the settings; what is wrong with them is told by [`Env::finish`].
    pub fn read(env: &mut Env) -> Config {
        let policies = read_policies(env);
        let retention = Retention {
            events: env.number(EVENTS, 128, "events kept for each user, for watchers that were away"),
            event_age: env.duration(EVENT_AGE, "1h", "how long a user's events are kept after the last one"),
            request_age: env.duration(REQUEST_AGE, "10m", "how long a `request_id` is remembered"),
        };
        env.require(EVENTS, (1..=10_000).contains(&retention.events), "must be 1 to 10000");
        for (name, age) in [(EVENT_AGE, retention.event_age), (REQUEST_AGE, retention.request_age)] {
            let day = Duration::from_hours(24);
            env.require(name, (Duration::from_secs(1)..=day).contains(&age), "must be 1s to 24h");
        }
        let max_watches =
            env.number(MAX_WATCHES, 20_000, "watches that one instance follows at a time, some 15 KiB each");
        env.require(MAX_WATCHES, max_watches > 0, "must be positive");
        let heartbeat = env.duration(HEARTBEAT, "15s", "silence after which an event stream is sent a comment line");
        let bounds = Duration::from_millis(100)..=Duration::from_mins(5);
        env.require(HEARTBEAT, bounds.contains(&heartbeat), "must be 100ms to 5m");
        let doc = "the revocation service, e.g. `http://auth-revocation:50052`; without it, `revoke_tokens` is refused";
        let revocation = env.optional(REVOCATION_URL, doc, revocation_endpoint);
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
        "what happens at the login past the cap: `evict-oldest` (ends the session used least recently) or `reject`",
        |text| Overflow::parse(text).map_err(|error| error.to_string()),
    );
    let asked = Policy {
        idle: env.duration(IDLE, "30m", "life of a session without use; 1s up to the absolute timeout"),
        absolute: env.duration(ABSOLUTE, "12h", "life of a session in any case; 1s to 31d"),
        max_sessions: env.number(MAX_SESSIONS, 10, "sessions that a user may have at the same time; 1 to 100"),
        overflow: overflow.unwrap_or(Overflow::EvictOldest),
    };
    let default = match asked.clone().checked() {
        Ok(policy) => policy,
        Err(error) => {
            env.require(error.concerns([IDLE, ABSOLUTE, MAX_SESSIONS]), false, &error.to_string());
            asked
        }
    };
    let policies = Policies::new(default);
    let with_tenants =
        |text: &str| policies.clone().with_tenants(text, parse_duration).map_err(|error| error.to_string());
    env.optional(
        TENANTS,
        "other policies for single tenants, e.g. `acme: idle=15m, absolute=8h, max_sessions=5, overflow=reject; globex: ...`",
        with_tenants,
    )
    .unwrap_or(policies)
}
