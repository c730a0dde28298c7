//! Costs of the engines, as data.

use std::time::Duration;

use crate::store::Engine;

/// Costs of one engine, in nanoseconds, measured with 100,000 documents and one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// One more document that matches and is only counted.
    pub count: u64,
    /// One more document of a numeric range.
    pub range: u64,
    /// One more document that is returned: its hash read, sent, and decoded here.
    pub row: u64,
    /// One more byte of a returned document.
    pub byte: u64,
    /// Time for all the documents of a search that is answered exactly from them.
    pub direct: Duration,
    /// Time for a count of all matches, beyond which a sample is counted.
    pub counting: Duration,
}

/// Local engine (RediSearch 2.10).
const LOCAL: Costs = Costs {
    count: 120,
    range: 150,
    row: 7_700,
    byte: 2,
    direct: Duration::from_micros(2_400),
    counting: Duration::from_micros(600),
};

/// valkey-search 1.2.
const VALKEY_SEARCH: Costs = Costs {
    count: 200,
    range: 300,
    row: 8_000,
    byte: 2,
    direct: Duration::from_micros(2_500),
    counting: Duration::from_micros(600),
};

// === impl Costs ===

impl Costs {
    /// Costs of an engine.
    #[must_use]
    pub fn of(engine: Engine) -> Costs {
        match engine {
            Engine::Local => LOCAL,
            Engine::ValkeySearch => VALKEY_SEARCH,
        }
    }

    /// Most documents that are fetched to answer a search exactly; `bytes` is the length of what is read of each.
    #[must_use]
    pub fn direct_rows(&self, bytes: u64) -> u64 {
        let row = self.row + self.byte * bytes;
        nanoseconds(self.direct) / row.max(1)
    }

    /// Most matches that are counted.
    #[must_use]
    pub fn counted(&self) -> u64 {
        nanoseconds(self.counting) / self.count.max(1)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_leave_room_for_fewer_documents() {
        for engine in [Engine::Local, Engine::ValkeySearch] {
            let costs = Costs::of(engine);
            assert!((250..350).contains(&costs.direct_rows(100)), "{engine:?}");
            assert!(costs.direct_rows(10_000) < 100);
            assert!((2_000..10_000).contains(&costs.counted()));
        }
    }
}
