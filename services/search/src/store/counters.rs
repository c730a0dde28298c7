//! Counters of a collection, summed over its partitions.

use std::collections::HashMap;

use bytes::Bytes;
use futures::future::try_join_all;
use keyplane_contracts::names::CollectionName;

use super::Store;
use super::keys::Partition;
use crate::domain::spread::PARTITIONS;
use crate::error::Error;

/// Maximum number of counters of a partition that are read: a collection with more different tags is sampled instead.
const MAX_COUNTERS: u64 = 4_096;

/// Exact counts of a generation's documents, those that expired a moment ago included.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Number of documents.
    pub documents: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Bytes of their words in the index.
    pub text_bytes: u64,
    /// Documents with each tag, by the tag column's ordinal, then by the token; documents without one count for the token of a
    /// missing value. None if the collection has too many different tags to read them all.
    pub values: Option<HashMap<u8, HashMap<String, u64>>>,
    /// Documents with a number, by the numeric column's ordinal. Empty if there are too many different tags.
    pub present: HashMap<u8, u64>,
}

/// Sums over all documents of a generation, those that expired a moment ago included.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    /// Number of documents.
    pub documents: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Bytes of their words in the index.
    pub text_bytes: u64,
    /// Documents with a number, by the numeric column's ordinal.
    pub present: Vec<u64>,
}

// === impl Store ===

impl Store {
    /// Reads the counters of a generation: 16 partitions at once. O(different tags).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn counters(&self, name: &CollectionName, generation: u32) -> Result<Counters, Error> {
        let parts = (0..PARTITIONS).map(|partition| self.partition_counters(name, generation, partition));
        let mut sum = Counters { values: Some(HashMap::new()), ..Counters::default() };
        for (pairs, whole) in try_join_all(parts).await? {
            if !whole {
                sum.values = None;
            }
            for (counter, number) in pairs {
                sum.add(&counter, number)?;
            }
        }
        Ok(sum)
    }

    /// Reads the sums of a generation with so many numeric columns: 16 partitions at once, however many tags they count.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn totals(&self, name: &CollectionName, generation: u32, numbers: u8) -> Result<Totals, Error> {
        let columns: Vec<String> = (0..numbers).map(|ordinal| format!("p:n{ordinal}")).collect();
        let fields: Vec<&str> = ["n", "b", "t"].into_iter().chain(columns.iter().map(String::as_str)).collect();
        let fields = &fields;
        let parts = (0..PARTITIONS).map(|partition| async move {
            let key = Partition::new(self.valkey.app(), name, partition).count(generation);
            self.valkey.hmget(&key, fields).await
        });
        let mut sums = vec![0_u64; fields.len()];
        for part in try_join_all(parts).await? {
            for (sum, number) in sums.iter_mut().zip(part) {
                *sum += number.map_or(Ok(0), |text| unsigned(&text))?;
            }
        }
        let present = sums.split_off(3);
        let [documents, bytes, text_bytes] = [sums[0], sums[1], sums[2]];
        Ok(Totals { documents, bytes, text_bytes, present })
    }

    /// Sum of the partitions' revisions: it grows with every change of a document.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn revision(&self, name: &CollectionName) -> Result<u64, Error> {
        let read = (0..PARTITIONS).map(|partition| async move {
            let key = Partition::new(self.valkey.app(), name, partition).state();
            let fields = self.valkey.hmget(&key, &["rev"]).await?;
            fields.into_iter().next().flatten().map_or(Ok(0), |text| unsigned(&text))
        });
        Ok(try_join_all(read).await?.into_iter().sum())
    }

    /// Counters of a partition, and whether they are all.
    async fn partition_counters(
        &self,
        name: &CollectionName,
        generation: u32,
        partition: u8,
    ) -> Result<(Vec<(Bytes, Bytes)>, bool), Error> {
        const SUMS: [&str; 3] = ["n", "b", "t"];
        let key = Partition::new(self.valkey.app(), name, partition).count(generation);
        if self.valkey.hlen(&key).await? <= MAX_COUNTERS {
            return Ok((self.valkey.hgetall(&key).await?, true));
        }
        let numbers = self.valkey.hmget(&key, &SUMS).await?;
        let pairs = SUMS
            .into_iter()
            .zip(numbers)
            .filter_map(|(name, number)| Some((Bytes::from_static(name.as_bytes()), number?)));
        Ok((pairs.collect(), false))
    }
}

// === impl Counters ===

impl Counters {
    fn add(&mut self, counter: &[u8], number: Bytes) -> Result<(), Error> {
        let damaged = || Error::Corrupt("a counter has another name");
        let number = unsigned(&number)?;
        let counter = std::str::from_utf8(counter).map_err(|_| damaged())?;
        match counter.split_once(':') {
            None => match counter {
                "n" => self.documents += number,
                "b" => self.bytes += number,
                "t" => self.text_bytes += number,
                _ => return Err(damaged()),
            },
            Some(("p", column)) => {
                *self.present.entry(ordinal(column, 'n').ok_or_else(damaged)?).or_default() += number
            }
            Some(("v", value)) => {
                let (column, token) = value.split_once(':').ok_or_else(damaged)?;
                let column = ordinal(column, 'g').ok_or_else(damaged)?;
                if let Some(values) = &mut self.values {
                    *values.entry(column).or_default().entry(token.to_owned()).or_default() += number;
                }
            }
            Some(_) => return Err(damaged()),
        }
        Ok(())
    }
}

fn ordinal(column: &str, kind: char) -> Option<u8> {
    column.strip_prefix(kind)?.parse().ok()
}

/// Number in decimal. A counter below zero, of a damaged collection, counts as zero until it is mended.
pub(super) fn unsigned(text: &[u8]) -> Result<u64, Error> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    let number = number.ok_or(Error::Corrupt("a counter is no number"))?;
    Ok(u64::try_from(number).unwrap_or(0))
}
