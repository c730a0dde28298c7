//! Settings of the connection.

use std::fmt;
use std::time::Duration;

use url::Url;

/// Address of the server, and limits for its connections and calls.
///
/// `Debug` masks the password.
#[derive(Clone)]
pub struct Settings {
    /// `valkey://[user[:password]@]host[:port][/database]`. `valkeys` is TLS; `valkey-cluster` and `valkeys-cluster` are a
    /// cluster, and `?node=host:port` (repeatable) names further nodes of it. The `redis` spellings work too.
    pub url: String,
    /// Connections of the pool (to each node of a cluster), 1 to 64. One task drives each connection: more than the number
    /// of cores only adds sockets.
    pub connections: usize,
    /// Longest wait for a new connection, its TLS handshake and its login. A restored server is found within about this
    /// plus half a second.
    pub connect_timeout: Duration,
    /// Longest wait for one call, from the queue to the reply.
    pub command_timeout: Duration,
    /// Most commands in the queue of one connection; further calls fail with
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded).
    pub queue_limit: usize,
    /// Breaker for a server that does not answer.
    pub breaker: BreakerSettings,
}

/// Filter directives for a log: the client library also warns of each lost connection, which this crate reports itself.
pub const QUIET_LOGS: &[&str] = &["fred=error"];

/// Thresholds at which calls fail at once instead of waiting for a server that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Missing answers in a row (server errors are answers) that open the breaker; default 5.
    pub failures: u32,
    /// Time that the breaker stays open before one call may probe the server; default 500 ms.
    pub cool_down: Duration,
}

/// Setting that can't be used, and the rule that it breaks. Never holds the URL itself, which may carry a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct SettingsError {
    setting: &'static str,
    problem: String,
}

// === impl Settings ===

impl Settings {
    /// Settings for `url` with defaults for the rest: one connection a core, 1 s to connect, 1 s a command, 10,000 commands
    /// in a queue.
    pub fn new(url: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            connections: std::thread::available_parallelism().map_or(1, usize::from).min(64),
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(1),
            queue_limit: 10_000,
            breaker: BreakerSettings::default(),
        }
    }

    pub(crate) fn check_bounds(&self) -> Result<(), SettingsError> {
        let tick = Duration::from_millis(1);
        let bounds = [
            ((1..=64).contains(&self.connections), "connections", "must be between 1 and 64"),
            (self.connect_timeout >= tick, "connect_timeout", "must be at least 1ms"),
            (self.command_timeout >= tick, "command_timeout", "must be at least 1ms"),
            (self.queue_limit > 0, "queue_limit", "must be at least 1"),
            (self.breaker.failures > 0, "breaker.failures", "must be at least 1"),
            (self.breaker.cool_down >= tick, "breaker.cool_down", "must be at least 1ms"),
        ];
        let broken = bounds.into_iter().find(|(holds, _, _)| !holds);
        broken.map_or(Ok(()), |(_, setting, problem)| Err(SettingsError::new(setting, problem)))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &masked(&self.url))
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .field("queue_limit", &self.queue_limit)
            .field("breaker", &self.breaker)
            .finish()
    }
}

// === impl BreakerSettings ===

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings { failures: 5, cool_down: Duration::from_millis(500) }
    }
}

// === impl SettingsError ===

impl SettingsError {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> SettingsError {
        SettingsError { setting, problem: problem.into() }
    }

    /// Field of [`Settings`].
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Rule that the setting breaks, worded to follow its name. Never holds a password.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// URL with its password replaced, or a fixed text if it is not a URL.
fn masked(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return "(not a URL)".to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "(masked)".to_owned();
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_masks_the_password() {
        let settings = Settings::new("valkeys://app:sec-ret@h:1");
        assert!(!format!("{settings:?}").contains("sec-ret"), "{settings:?}");
        assert!(format!("{settings:?}").contains("valkeys://app:***@h:1"), "{settings:?}");
    }
}
