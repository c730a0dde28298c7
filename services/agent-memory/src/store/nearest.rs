//! Candidates of large owners: nearest vectors, and postings of terms.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use futures::future::try_join_all;
use keyplane_valkey::ft::{Attribute, Columns, Nearest, Query, Scope, Token, VectorAlgorithm, VectorColumn};
use keyplane_valkey::{Arg, Value, script};
use sha2::{Digest as _, Sha256};

use super::keys::{self, OwnerKeys, segment};
use super::{RecordName, Store};
use crate::domain::{Algorithm, Owner, Space};
use crate::error::Error;

script!(POSTINGS = "memory.postings", ["scripts/postings.lua"]);

const SCOPE: Attribute = Attribute::new("_s");
const VECTOR: Attribute = Attribute::new("v");
const FIELDS: [Attribute; 2] = [Attribute::new("r"), Attribute::new("q")];
/// Number of candidates that the search of a graph keeps.
const EFFORT: u32 = 256;
/// Postings that are read of each term: those of the largest impact.
const POSTINGS_OF_A_TERM: u32 = 400;

/// Items of an owner that have one of some terms.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Matching {
    /// Number of items with each term, in the order of the terms.
    pub frequencies: Vec<u64>,
    /// Places of the best items, the best first.
    pub places: Vec<(RecordName, u32)>,
}

// === impl Store ===

impl Store {
    /// Creates the index of a space's vectors unless it exists. Idempotent.
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn ensure_index(&self, space: &Space) -> Result<(), Error> {
        let columns = Columns { tags: vec![SCOPE], vectors: vec![column(space)], ..Columns::default() };
        self.valkey.create_index(&keys::index(self.valkey.app(), &space.id), &columns).await?;
        Ok(())
    }

    /// Finds the items of a large owner whose vectors are nearest to `vector`, of length 1. Items that expired a moment ago may be
    /// among them.
    ///
    /// # Errors
    ///
    /// Error of the store; missing index.
    pub async fn nearest(
        &self,
        owner: &Owner,
        space: &Space,
        vector: &[f32],
        count: u32,
    ) -> Result<Vec<(RecordName, u32)>, Error> {
        let tag = Token::tag(&tag(owner)).map_err(|_| Error::Corrupt("an owner's tag breaks its rule"))?;
        let index = keys::index(self.valkey.app(), &space.id);
        let query = Query::new(Scope { attribute: SCOPE, tag });
        let nearest = Nearest {
            index: &index,
            query: &query,
            column: column(space),
            vector,
            fields: &FIELDS,
            count,
            effort: EFFORT,
        };
        let found = self.valkey.nearest(&nearest).await?;
        let place = |row: keyplane_valkey::ft::Row| {
            let [record, sequence] = <[_; 2]>::try_from(row.fields).ok()?;
            let text = |bytes: Option<bytes::Bytes>| String::from_utf8(bytes?.to_vec()).ok();
            Some((RecordName::parse(&text(record)?)?, text(sequence)?.parse().ok()?))
        };
        Ok(found.rows.into_iter().filter_map(place).collect())
    }

    /// Finds the items of a large owner with some of the terms, at most `limit`: the largest sums of impact times inverse document
    /// frequency, of the 400 postings of each term with the largest impact. O(terms).
    ///
    /// # Errors
    ///
    /// Error of the store.
    pub async fn matching(&self, owner: &Owner, terms: &[u32], limit: usize) -> Result<Matching, Error> {
        let keys = OwnerKeys::new(self.valkey.app(), owner);
        let items = self.directory(owner).await?.items;
        let lists: Vec<_> = terms.iter().map(|term| keys.postings(*term)).collect();
        let args = [Arg::from(POSTINGS_OF_A_TERM)];
        let reads = lists.iter().map(|key| async { self.valkey.run(&POSTINGS, &[key], &args).await });
        let (mut matching, mut sums) = (Matching::default(), HashMap::<String, f64>::new());
        for reply in try_join_all(reads).await? {
            let (count, postings) = list(reply)?;
            matching.frequencies.push(count);
            for (place, impact) in postings {
                *sums.entry(place).or_default() += impact * idf(items, count);
            }
        }
        let mut places: Vec<(String, f64)> = sums.into_iter().collect();
        places.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        matching.places = places.into_iter().take(limit).filter_map(|(place, _)| parse(&place)).collect();
        Ok(matching)
    }
}

/// Number of a term's items, and its first postings with their impacts.
fn list(reply: Value) -> Result<(u64, Vec<(String, f64)>), Error> {
    let [count, postings] =
        <[Value; 2]>::try_from(reply.array()?).map_err(|_| Error::Corrupt("postings have another form"))?;
    let posting = |(place, impact): (bytes::Bytes, bytes::Bytes)| {
        let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
        text(&impact).parse().map(|impact| (text(&place), impact)).map_err(|_| Error::Corrupt("an impact is no number"))
    };
    let postings = postings.pairs()?.into_iter().map(posting).collect::<Result<_, _>>()?;
    Ok((u64::try_from(count.int()?).unwrap_or(0), postings))
}

/// Record and sequence of a posting.
pub(super) fn parse(place: &str) -> Option<(RecordName, u32)> {
    let (record, sequence) = place.split_once(' ')?;
    Some((RecordName::parse(record)?, sequence.parse().ok()?))
}

/// Inverse document frequency of BM25.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn idf(items: u64, with_term: u64) -> f64 {
    let (items, with_term) = (items.max(with_term) as f64, with_term as f64);
    (1.0 + (items - with_term + 0.5) / (with_term + 0.5)).ln()
}

/// Tag of an owner in the index: a hash, so that no id has a meaning in a query, and none is the start of another.
pub(super) fn tag(owner: &Owner) -> String {
    let mut hash = Sha256::new();
    hash.update(owner.tenant.as_str());
    hash.update([0]);
    hash.update(segment(owner));
    format!("o{}", HEXLOWER.encode(&hash.finalize()[..16]))
}

fn column(space: &Space) -> VectorColumn {
    let algorithm = match space.algorithm {
        Algorithm::Flat => VectorAlgorithm::Flat,
        Algorithm::Hnsw => VectorAlgorithm::Hnsw,
    };
    VectorColumn { attribute: VECTOR, dimension: space.dimension, algorithm }
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::{Id, TenantId};
    use proptest::prelude::*;

    use super::*;

    fn owner(tenant: &str, user: Option<&str>) -> Owner {
        Owner {
            tenant: TenantId::parse(tenant, "tenant").expect("a tenant"),
            user: user.map(|user| Id::parse(user, "user").expect("an id")),
        }
    }

    #[test]
    fn rare_terms_weigh_more() {
        assert!(idf(1_000, 1) > idf(1_000, 500));
        assert!(idf(10, 20) > 0.0);
    }

    proptest! {
        #[test]
        fn owners_with_different_ids_have_different_tags(
            a in ("[a-z0-9]{1,8}", "[A-Za-z0-9._~@|:+-]{1,12}"),
            b in ("[a-z0-9]{1,8}", "[A-Za-z0-9._~@|:+-]{1,12}"),
        ) {
            let (first, second) = (owner(&a.0, Some(&a.1)), owner(&b.0, Some(&b.1)));
            prop_assert_eq!(tag(&first) == tag(&second), a == b);
            prop_assert_ne!(tag(&first), tag(&owner(&a.0, None)));
            prop_assert!(Token::tag(&tag(&first)).is_ok());
        }
    }
}
