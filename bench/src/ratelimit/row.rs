//! The rows: what is called, and what each is held against.

use clap::ValueEnum;

use crate::closed;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    Echo,
    RawDecide,
    RawGathered,
    RawWindow,
    EchoDecide,
    Acquire,
    Remembered,
    Three,
    Across,
    Leased,
    Denied,
    Envoy,
    Peer,
    EnvoyDenied,
    PeerDenied,
}

// === impl Row ===

impl Row {
    /// In the order of the report.
    pub(super) const ALL: [Row; 15] = [
        Row::Echo,
        Row::RawDecide,
        Row::RawGathered,
        Row::RawWindow,
        Row::EchoDecide,
        Row::Acquire,
        Row::Remembered,
        Row::Three,
        Row::Across,
        Row::Leased,
        Row::Denied,
        Row::Envoy,
        Row::Peer,
        Row::EnvoyDenied,
        Row::PeerDenied,
    ];

    /// Those that are measured on a cluster too.
    pub(super) const CLUSTER: [Row; 5] = [Row::Echo, Row::EchoDecide, Row::Acquire, Row::Three, Row::Across];

    /// Whether envoyproxy/ratelimit answers it.
    pub(super) fn is_peer(self) -> bool {
        matches!(self, Row::Peer | Row::PeerDenied)
    }

    /// Whether it is about users who are refused.
    pub(super) fn is_denied(self) -> bool {
        matches!(self, Row::Denied | Row::EnvoyDenied | Row::PeerDenied)
    }
}

impl closed::Row for Row {
    fn label(self) -> &'static str {
        match self {
            Row::Echo => "echo",
            Row::RawDecide => "raw decide",
            Row::RawGathered => "raw decide, gathered",
            Row::RawWindow => "raw INCRBY + EXPIRE",
            Row::EchoDecide => "echo + decide",
            Row::Acquire => "Acquire",
            Row::Remembered => "Acquire, remembered",
            Row::Three => "Acquire, 3 limits",
            Row::Across => "Acquire, tenant + user",
            Row::Leased => "Acquire, leased",
            Row::Denied => "Acquire, denied",
            Row::Envoy => "ShouldRateLimit",
            Row::Peer => "peer's",
            Row::EnvoyDenied => "ShouldRateLimit, denied",
            Row::PeerDenied => "peer's, denied",
        }
    }

    fn limit(self) -> Option<Row> {
        match self {
            Row::Echo | Row::RawDecide | Row::RawGathered | Row::RawWindow | Row::Peer | Row::PeerDenied => None,
            Row::EchoDecide | Row::Leased | Row::Denied => Some(Row::Echo),
            Row::Acquire => Some(Row::EchoDecide),
            Row::Remembered | Row::Three | Row::Across => Some(Row::Acquire),
            Row::Envoy => Some(Row::Peer),
            Row::EnvoyDenied => Some(Row::PeerDenied),
        }
    }
}
