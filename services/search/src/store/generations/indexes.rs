//! Indexes: created when a collection needs one, at most a fixed number of them.

use std::time::Duration;

use keyplane_contracts::names::CollectionName;
use keyplane_valkey::Feature;
use keyplane_valkey::ft::{Attribute, Columns, Index};
use tokio::time::{Instant, sleep};

use super::Store;
use crate::domain::{Placement, Shape};
use crate::error::Error;
use crate::store::keys;

/// Longest wait for a new index: less than what is left of a maintenance's lease when it begins.
const PATIENCE: Duration = Duration::from_secs(5);
/// First pause between two looks at a new index; the pauses double.
const PAUSE: Duration = Duration::from_millis(2);
/// Longest pause between two looks at a new index.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

// === impl Store ===

impl Store {
    /// Creates the index of a placement unless it exists, and waits until it is ready. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyIndexes`], [`Error::IndexNotReady`], or an error of the store.
    pub async fn ensure_index(&self, name: &CollectionName, placement: &Placement, maximum: u64) -> Result<(), Error> {
        let index = self.index(placement);
        let until = Instant::now() + keyplane_deadline::within(PATIENCE);
        let mut pause = PAUSE;
        let mut created = false;
        loop {
            match self.valkey.index_info(&index).await? {
                Some(info) if info.ready => return Ok(()),
                Some(_) => {}
                None if created => {}
                None => {
                    self.check_room(maximum).await?;
                    self.valkey.create_index(&index, &columns(placement.shape)).await?;
                    created = true;
                    continue;
                }
            }
            if Instant::now() + pause > until {
                return Err(Error::IndexNotReady { collection: name.collection.clone() });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reports whether the index of a placement exists, and holds all of its documents.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn is_index_ready(&self, placement: &Placement) -> Result<bool, Error> {
        Ok(self.valkey.index_info(&self.index(placement)).await?.is_some_and(|info| info.ready))
    }

    /// Checks that a rebuild to `schema` finds an index, or room for one.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyIndexes`], or an error of the store.
    pub async fn check_index_room(&self, placement: &Placement, maximum: u64) -> Result<(), Error> {
        match self.valkey.index_info(&self.index(placement)).await? {
            Some(_) => Ok(()),
            None => self.check_room(maximum).await,
        }
    }

    async fn check_room(&self, maximum: u64) -> Result<(), Error> {
        let indexes = self.count_indexes().await?;
        let full = u64::try_from(indexes).unwrap_or(u64::MAX) >= maximum;
        if full { Err(Error::TooManyIndexes { limit: maximum }) } else { Ok(()) }
    }

    /// Drops the index of a placement; its documents stay. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn drop_index(&self, placement: &Placement) -> Result<(), Error> {
        self.valkey.drop_index(&self.index(placement)).await?;
        Ok(())
    }

    /// Number of indexes.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn count_indexes(&self) -> Result<usize, Error> {
        Ok(self.valkey.indexes(Feature::SEARCH).await?.len())
    }

    /// Lists the shared indexes that have no document: name and generation.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn empty_shared_indexes(&self) -> Result<Vec<(String, u32)>, Error> {
        let mut empty = Vec::new();
        for (name, generation) in self.valkey.indexes(Feature::SEARCH).await? {
            if !name.starts_with("s-") {
                continue;
            }
            let placement = Placement { index: name, generation, shape: Shape::default() };
            let info = self.valkey.index_info(&self.index(&placement)).await?;
            if info.is_some_and(|info| info.ready && info.documents == 0) {
                empty.push((placement.index, generation));
            }
        }
        Ok(empty)
    }

    pub(in crate::store) fn index(&self, placement: &Placement) -> Index {
        keys::index(self.valkey.app(), placement)
    }
}

fn columns(shape: Shape) -> Columns {
    let texts = (0..shape.texts).map(|ordinal| Attribute::numbered("t", ordinal));
    let tags = (0..shape.tags).map(|ordinal| Attribute::numbered("g", ordinal));
    let numbers = (0..shape.numbers).map(|ordinal| Attribute::numbered("n", ordinal));
    Columns {
        tags: std::iter::once(Attribute::new("_s")).chain(tags).collect(),
        texts: texts.collect(),
        numbers: std::iter::once(Attribute::new("_r")).chain(numbers).collect(),
        vectors: Vec::new(),
    }
}
