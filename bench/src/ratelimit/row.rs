//! Rows: the calls, and the limit of each.

use clap::ValueEnum;

use crate::closed;

/// Row of the report: a kind of call.
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
}

// === impl Row ===

impl Row {
    /// Rows in the order of the report.
    pub(super) const ALL: [Row; 11] = [
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
    ];

    /// Rows for the cluster.
    pub(super) const CLUSTER: [Row; 5] = [Row::Echo, Row::EchoDecide, Row::Acquire, Row::Three, Row::Across];
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
        }
    }

    fn limit(self) -> Option<Row> {
        match self {
            Row::Echo | Row::RawDecide | Row::RawGathered | Row::RawWindow => None,
            Row::EchoDecide | Row::Leased | Row::Denied => Some(Row::Echo),
            Row::Acquire => Some(Row::EchoDecide),
            Row::Remembered | Row::Three | Row::Across => Some(Row::Acquire),
        }
    }
}
