//! Version of a feature's stored layout; a program of another layout must not touch the data.

use std::fmt;

use crate::key::Key;
use crate::observe::Operation;
use crate::{Error, ErrorKind, Feature, Valkey};

/// Layout of stored data, recorded as `3`, or as `1 partitions=4` if the number of partitions is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    version: u32,
    partitions: Option<u32>,
}

// === impl Valkey ===

impl Valkey {
    /// Records `version` as the layout of `feature`, or compares it with the recorded one. Call it at start, before anything
    /// is read or written.
    ///
    /// Fails with [`ErrorKind::Layout`] if the stored layout is another. Idempotent.
    pub async fn check_layout(&self, feature: Feature, version: u32) -> Result<(), Error> {
        self.check(feature, Layout { version, partitions: None }).await
    }

    /// Checks like [`Valkey::check_layout`] for a feature whose keys are spread over a fixed number of partitions. The first
    /// program also fixes that number: another number would miss keys.
    ///
    /// Fails with [`ErrorKind::Layout`], naming both numbers, if either is another. Idempotent.
    pub async fn check_layout_with(&self, feature: Feature, version: u32, partitions: u32) -> Result<(), Error> {
        self.check(feature, Layout { version, partitions: Some(partitions) }).await
    }

    async fn check(&self, feature: Feature, own: Layout) -> Result<(), Error> {
        let key = Key::layout(self.app(), feature);
        self.record(&key, own).await?;
        let stored = self.get(&key).await?;
        // The first key set stays.
        let _ = self.pool.common.probe.set(key.clone());
        let stored = stored.as_deref().and_then(|text| Layout::parse(std::str::from_utf8(text).ok()?));
        match stored {
            Some(stored) if stored == own => Ok(()),
            Some(stored) => Err(differs(&key, stored, own)),
            None => Err(unreadable(&key, own)),
        }
    }

    async fn record(&self, key: &Key, own: Layout) -> Result<(), Error> {
        let operation = Operation { changes: true, ..Operation::read("SET", key.feature().name()) };
        let arguments = || {
            vec![
                fred::types::Value::String(key.text().clone()),
                fred::types::Value::String(own.record().into()),
                fred::types::Value::from_static_str("NX"),
            ]
        };
        self.send(operation, Some(key), arguments).await.map(drop)
    }
}

// === impl Layout ===

impl Layout {
    fn parse(text: &str) -> Option<Layout> {
        match text.split_once(" partitions=") {
            None => Some(Layout { version: text.parse().ok()?, partitions: None }),
            Some((version, partitions)) => {
                Some(Layout { version: version.parse().ok()?, partitions: Some(partitions.parse().ok()?) })
            }
        }
    }

    fn record(self) -> String {
        match self.partitions {
            None => self.version.to_string(),
            Some(partitions) => format!("{} partitions={partitions}", self.version),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        match self.partitions {
            None => Ok(()),
            Some(1) => f.write_str(" on 1 partition"),
            Some(partitions) => write!(f, " on {partitions} partitions"),
        }
    }
}

fn differs(key: &Key, stored: Layout, own: Layout) -> Error {
    let message = match (stored.partitions, own.partitions) {
        (Some(theirs), Some(ours)) if stored.version == own.version => format!(
            "the stored data is spread over {theirs} partitions but this program is set to {ours} ({key}); set it to \
             {theirs}, or let it start anew under another KEYPLANE_APP"
        ),
        _ => format!(
            "the stored data has layout {stored} but this program has layout {own} ({key}); run the program that \
             wrote it, migrate the data, or set another KEYPLANE_APP"
        ),
    };
    Error::new(ErrorKind::Layout, "check_layout", message)
}

fn unreadable(key: &Key, own: Layout) -> Error {
    let message = format!(
        "the stored data has a layout that this program can't read: this program has layout {own} ({key}); \
         run the program that wrote it, migrate the data, or set another KEYPLANE_APP"
    );
    Error::new(ErrorKind::Layout, "check_layout", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_record_round_trips() {
        for (layout, record) in [
            (Layout { version: 3, partitions: None }, "3"),
            (Layout { version: 1, partitions: Some(4) }, "1 partitions=4"),
        ] {
            assert_eq!((layout.record().as_str(), Layout::parse(record)), (record, Some(layout)));
        }
        for foreign in ["", "x", "1 partitions=", "1 partitions=x", "1 shards=4", " 1"] {
            assert_eq!(Layout::parse(foreign), None, "{foreign:?}");
        }
    }
}
