//! Nearest neighbours: `FT.SEARCH` with a vector, within a scope.

use fred::types::Value as Fred;

use super::{Attribute, Index, Query, Rows, reply};
use crate::{Error, ErrorKind, Valkey};

/// Largest number of neighbours: valkey-search takes no more.
pub const MAX_NEIGHBOURS: u32 = 10_000;
const NEAREST: &str = "FT.SEARCH";
/// Name of the distance in queries. Engines return it with the row, after the caller's fields.
const DISTANCE: Attribute = Attribute::new("_distance");

/// Vector field of an index: 32-bit floats in little-endian order, compared by cosine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorColumn {
    /// Attribute.
    pub attribute: Attribute,
    /// Number of values of a vector.
    pub dimension: u16,
    /// Algorithm.
    pub algorithm: VectorAlgorithm,
}

/// Algorithm of a vector field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorAlgorithm {
    /// Every vector of the scope is compared: exact.
    Flat,
    /// Hierarchical graph: approximate. M 16, EF_CONSTRUCTION 200.
    Hnsw,
}

/// Search for the nearest neighbours of a vector. Its query names a scope, since no [`Query`] is without one.
#[derive(Debug, Clone)]
pub struct Nearest<'a> {
    /// Index.
    pub index: &'a Index,
    /// Query, within its scope; neighbours match it.
    pub query: &'a Query,
    /// Vector field of the index.
    pub column: VectorColumn,
    /// Vector, of the field's dimension. Its length is 1, since one release of an engine does not normalise it.
    pub vector: &'a [f32],
    /// Hash fields of the rows. Unindexed fields are allowed.
    pub fields: &'a [Attribute],
    /// Number of neighbours, 1 to [`MAX_NEIGHBOURS`].
    pub count: u32,
    /// Number of candidates that the search of a graph keeps; at least `count` is.
    pub effort: u32,
}

// === impl Valkey ===

impl Valkey {
    /// Searches for the nearest neighbours of a vector, in no particular order. A document that expired a moment ago may be among
    /// them. In a cluster, any node answers for all.
    ///
    /// # Errors
    /// As for any call; also a query that doesn't [fit](Query::fits), a vector of another dimension, and
    /// [`ErrorKind::IndexMissing`].
    pub async fn nearest(&self, nearest: &Nearest<'_>) -> Result<Rows, Error> {
        nearest.check()?;
        let reply = self.send_search(nearest.index, || nearest.arguments(self.time_left())).await?;
        reply::rows(reply, nearest.fields).map_err(|error| error.in_operation(NEAREST))
    }
}

// === impl Nearest ===

impl Nearest<'_> {
    fn check(&self) -> Result<(), Error> {
        self.query.check(NEAREST)?;
        let dimension = usize::from(self.column.dimension);
        let fault = if self.vector.len() != dimension {
            format!("a vector has {dimension} values; got {}", self.vector.len())
        } else if self.fields.is_empty() || !(1..=MAX_NEIGHBOURS).contains(&self.count) {
            format!("a search returns at least one field, and 1 to {MAX_NEIGHBOURS} neighbours; got {}", self.count)
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Script, NEAREST, fault))
    }

    /// Text of the query: the scope's conditions in parentheses, then the neighbours among the documents that meet them.
    fn text(&self) -> String {
        let (query, column, count) = (self.query.as_str(), self.column.attribute, self.count);
        let effort = match self.column.algorithm {
            VectorAlgorithm::Flat => String::new(),
            VectorAlgorithm::Hnsw => format!(" EF_RUNTIME {}", self.effort.max(count)),
        };
        format!("({query})=>[KNN {count} @{column} $v{effort} AS {DISTANCE}]")
    }

    fn arguments(&self, timeout: std::time::Duration) -> Vec<Fred> {
        let word = Fred::from_static_str;
        let number = |number: usize| Fred::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let vector: Vec<u8> = self.vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut arguments = vec![Fred::String(self.index.key().text().clone()), Fred::String(self.text().into())];
        arguments.extend([word("PARAMS"), Fred::Integer(2), word("v"), Fred::Bytes(vector.into())]);
        arguments.extend([word("RETURN"), number(self.fields.len())]);
        arguments.extend(self.fields.iter().map(|field| Fred::String(field.to_string().into())));
        // The engines' default would cut all but ten.
        arguments.extend([word("LIMIT"), Fred::Integer(0), Fred::Integer(i64::from(self.count))]);
        let timeout = i64::try_from(timeout.as_millis().max(1)).unwrap_or(i64::MAX);
        arguments.extend([word("TIMEOUT"), Fred::Integer(timeout), word("DIALECT"), Fred::Integer(2)]);
        arguments
    }
}

// === impl VectorColumn ===

impl VectorColumn {
    /// Words of the field in `FT.CREATE`.
    pub(super) fn arguments(self) -> Vec<Fred> {
        let word = |text: &str| Fred::String(text.into());
        let common = ["TYPE", "FLOAT32", "DIM", &self.dimension.to_string(), "DISTANCE_METRIC", "COSINE"].map(word);
        let (algorithm, rest): (&str, &[&str]) = match self.algorithm {
            VectorAlgorithm::Flat => ("FLAT", &[]),
            VectorAlgorithm::Hnsw => ("HNSW", &["M", "16", "EF_CONSTRUCTION", "200"]),
        };
        let count = (common.len() + rest.len()).to_string();
        let start = [&self.attribute.to_string(), "VECTOR", algorithm, &count].map(word);
        start.into_iter().chain(common).chain(rest.iter().map(|text| word(text))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Condition, Scope, Token};
    use super::*;
    use crate::{App, Feature};

    fn column(algorithm: VectorAlgorithm) -> VectorColumn {
        VectorColumn { attribute: Attribute::new("v"), dimension: 2, algorithm }
    }

    fn query(tag: &str) -> Query {
        Query::new(Scope { attribute: Attribute::new("_s"), tag: Token::tag(tag).expect("a tag") })
    }

    fn index() -> Index {
        Index::new(&App::new("portal").expect("a name"), Feature::MEMORY, "minilm", 1)
    }

    fn nearest<'a>(index: &'a Index, query: &'a Query, algorithm: VectorAlgorithm) -> Nearest<'a> {
        const FIELDS: &[Attribute] = &[Attribute::new("r")];
        let (vector, fields) = (&[1.0, 0.0], FIELDS);
        Nearest { index, query, column: column(algorithm), vector, fields, count: 3, effort: 64 }
    }

    #[test]
    fn neighbours_are_taken_within_the_scope() {
        let (index, query) = (index(), query("acme_2fu1"));
        let graph = nearest(&index, &query, VectorAlgorithm::Hnsw);
        assert_eq!(graph.text(), "(@_s:{acme_2fu1})=>[KNN 3 @v $v EF_RUNTIME 64 AS _distance]");
        let flat = nearest(&index, &query, VectorAlgorithm::Flat);
        assert_eq!(flat.text(), "(@_s:{acme_2fu1})=>[KNN 3 @v $v AS _distance]");
    }

    #[test]
    fn another_dimension_and_no_neighbours_are_rejected() {
        let (index, query) = (index(), query("a"));
        let good = nearest(&index, &query, VectorAlgorithm::Flat);
        assert!(good.check().is_ok());
        assert!(Nearest { vector: &[1.0], ..good.clone() }.check().is_err());
        assert!(Nearest { count: 0, ..good.clone() }.check().is_err());
        assert!(Nearest { count: MAX_NEIGHBOURS + 1, ..good.clone() }.check().is_err());
        assert!(Nearest { fields: &[], ..good }.check().is_err());
    }

    proptest! {
        #[test]
        fn every_query_begins_with_its_scope(tag in "[A-Za-z0-9_]{1,40}", words in proptest::collection::vec("[a-z]{1,8}", 0..4)) {
            let mut query = query(&tag);
            for word in &words {
                let word = Token::tag(word).expect("a tag");
                query = query.and(&Condition::Tag(Attribute::new("g0"), vec![word]));
            }
            let index = index();
            let text = nearest(&index, &query, VectorAlgorithm::Hnsw).text();
            let start = format!("(@_s:{{{tag}}}");
            prop_assert!(text.starts_with(&start), "{}", text);
            prop_assert_eq!(text.matches("=>").count(), 1);
            prop_assert!(!text[..text.find("=>").unwrap_or(0)].contains('|'));
        }
    }
}
