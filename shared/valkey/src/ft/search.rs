//! `FT.SEARCH`: rows, and counts.

use std::time::Duration;

use fred::types::Value as Fred;

use super::{Attribute, Index, Query, Rows, reply};
use crate::observe::Operation;
use crate::patience::patience;
use crate::{Error, ErrorKind, Valkey};

/// Largest number of rows: the local engine's limit.
const MAX_ROWS: u32 = 1_000_000;
/// Longest timeout that valkey-search takes.
const MAX_TIMEOUT: Duration = Duration::from_mins(1);
const SEARCH: &str = "FT.SEARCH";

/// Search of one index. Its rows come in no order.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// Index.
    pub index: &'a Index,
    /// Query, within its scope.
    pub query: &'a Query,
    /// Hash fields of the rows, at least one. Unindexed fields are allowed.
    pub fields: &'a [Attribute],
    /// Maximum number of rows, from 1 to 1,000,000.
    pub limit: u32,
}

// === impl Valkey ===

impl Valkey {
    /// Searches an index. In a cluster, any node answers for all. Numbers in the reply may be reformatted by the engine:
    /// take exact values from unindexed fields.
    ///
    /// # Errors
    /// As for any call; also a query that doesn't [fit](Query::fits), and [`ErrorKind::IndexMissing`].
    pub async fn search(&self, search: &Search<'_>) -> Result<Rows, Error> {
        search.check()?;
        let reply = self.send_search(search.index, || search.arguments(self.time_left())).await?;
        reply::rows(reply, search.fields).map_err(|error| error.in_operation(SEARCH))
    }

    /// Counts the documents that match. valkey-search stops at 100,000.
    ///
    /// # Errors
    /// As for [`Valkey::search`].
    pub async fn count(&self, index: &Index, query: &Query) -> Result<u64, Error> {
        query.check(SEARCH)?;
        let search = Search { index, query, fields: &[], limit: 0 };
        let reply = self.send_search(index, || search.arguments(self.time_left())).await?;
        reply::total(reply).map_err(|error| error.in_operation(SEARCH))
    }

    pub(super) async fn send_search(
        &self,
        index: &Index,
        arguments: impl Fn() -> Vec<Fred>,
    ) -> Result<crate::Value, Error> {
        self.send(Operation::read(SEARCH, index.feature().name()), None, arguments).await
    }

    /// Time for the engine: what the call itself waits.
    pub(super) fn time_left(&self) -> Duration {
        let left = patience(self.pool.common.command_timeout, SEARCH).unwrap_or(Duration::from_millis(1));
        left.min(MAX_TIMEOUT)
    }
}

// === impl Search ===

impl Search<'_> {
    fn check(&self) -> Result<(), Error> {
        self.query.check(SEARCH)?;
        if self.fields.is_empty() || !(1..=MAX_ROWS).contains(&self.limit) {
            let message = format!("a search returns at least one field, and 1 to {MAX_ROWS} rows");
            return Err(Error::new(ErrorKind::Script, SEARCH, message));
        }
        Ok(())
    }

    fn arguments(&self, timeout: Duration) -> Vec<Fred> {
        let name = |attribute: &Attribute| Fred::String(attribute.to_string().into());
        let word = Fred::from_static_str;
        let mut arguments = Vec::with_capacity(16 + self.fields.len());
        arguments.push(Fred::String(self.index.key().text().clone()));
        arguments.push(Fred::String(self.query.as_str().into()));
        if !self.fields.is_empty() {
            let count = i64::try_from(self.fields.len()).unwrap_or(i64::MAX);
            arguments.extend([word("RETURN"), Fred::Integer(count)]);
            arguments.extend(self.fields.iter().map(name));
        }
        arguments.extend([word("LIMIT"), Fred::Integer(0), Fred::Integer(i64::from(self.limit))]);
        let timeout = i64::try_from(timeout.as_millis().max(1)).unwrap_or(i64::MAX);
        arguments.extend([word("TIMEOUT"), Fred::Integer(timeout), word("DIALECT"), Fred::Integer(2)]);
        arguments
    }
}
