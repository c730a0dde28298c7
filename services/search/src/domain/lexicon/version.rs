//! Versions of a lexicon: ids of its log's entries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Id of an entry of the lexicon's log, as a stream of Valkey numbers them; `0-0` precedes the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct LogId {
    /// Time of the entry, in milliseconds since 1970.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

// === impl LogId ===

impl LogId {
    /// Parses `<ms>-<seq>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<LogId> {
        let (ms, seq) = text.split_once('-')?;
        Some(LogId { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_id_survives_its_text_and_orders_by_number() {
        let id = LogId { ms: 1_700_000_000_123, seq: 10 };
        assert_eq!(LogId::parse(&id.to_string()), Some(id));
        assert!(LogId { ms: id.ms, seq: 9 } < id, "9 precedes 10");
        for bad in ["", "1", "a-1", "1-", "-1"] {
            assert_eq!(LogId::parse(bad), None, "{bad}");
        }
    }
}
