//! Scenarios: faults while tokens are revoked.

use clap::ValueEnum;

/// Fault of a run, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// No fault.
    Calm,
    /// Half of all lookups in the filters are false positives.
    FalsePositives,
    /// Valkey is killed and started again, with a log on disk that holds each write.
    Restart,
    /// Instances that did not revoke are stopped (SIGSTOP) for longer than the bound, and go on.
    Sigstop,
    /// Cut: one instance loses its connections to Valkey, and gets no new ones.
    Cut,
    /// Black hole: nothing passes between one instance and Valkey until the end; then all of it arrives.
    BlackHole,
    /// Half open: Valkey vanishes for one instance without a reset.
    HalfOpen,
    /// While one instance is cut off, the feed loses entries that it has not read.
    Trim,
    /// Valkey forgets all scripts, again and again.
    Flush,
    /// Cluster of three primaries with a replica each loses a primary.
    Cluster,
}

// === impl Scenario ===

impl Scenario {
    pub(super) const ALL: [Scenario; 10] = [
        Scenario::Calm,
        Scenario::FalsePositives,
        Scenario::Restart,
        Scenario::Sigstop,
        Scenario::Cut,
        Scenario::BlackHole,
        Scenario::HalfOpen,
        Scenario::Trim,
        Scenario::Flush,
        Scenario::Cluster,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Scenario::Calm => "calm",
            Scenario::FalsePositives => "false positives forced to 0.5",
            Scenario::Restart => "Valkey killed and restarted",
            Scenario::Sigstop => "instances stopped (SIGSTOP)",
            Scenario::Cut => "feed cut",
            Scenario::BlackHole => "feed in a black hole",
            Scenario::HalfOpen => "feed half open",
            Scenario::Trim => "feed trimmed",
            Scenario::Flush => "SCRIPT FLUSH",
            Scenario::Cluster => "cluster, a primary killed",
        }
    }

    /// Requires late answers ACTIVE while the rule is off: an instance is kept from the feed for
    /// longer than the bound, and answers.
    pub(super) fn shows_late_without_the_rule(self) -> bool {
        match self {
            Scenario::Sigstop | Scenario::Cut | Scenario::BlackHole | Scenario::HalfOpen => true,
            Scenario::Calm
            | Scenario::FalsePositives
            | Scenario::Restart
            | Scenario::Trim
            | Scenario::Flush
            | Scenario::Cluster => false,
        }
    }

    /// Reports whether one instance reaches Valkey through a fault proxy.
    pub(super) fn has_proxy(self) -> bool {
        match self {
            Scenario::Cut | Scenario::BlackHole | Scenario::HalfOpen | Scenario::Trim => true,
            Scenario::Calm
            | Scenario::FalsePositives
            | Scenario::Restart
            | Scenario::Sigstop
            | Scenario::Flush
            | Scenario::Cluster => false,
        }
    }

    /// Reports whether every call must be answered: store and instances stay available.
    pub(super) fn is_peaceful(self) -> bool {
        matches!(self, Scenario::Calm | Scenario::FalsePositives | Scenario::Flush)
    }

    /// Settings of the service besides the defaults. With `rule` off, a replica of any age answers.
    pub(super) fn settings(self, rule: bool) -> Vec<(&'static str, &'static str)> {
        let mut settings = Vec::new();
        if !rule {
            settings.push(("KEYPLANE_REVOCATION_MAX_STALENESS", "1h"));
        }
        if self == Scenario::FalsePositives {
            settings.push(("KEYPLANE_REVOCATION_FALSE_POSITIVES", "0.5"));
        }
        settings
    }
}
