//! Searches of the index.

use bytes::Bytes;
use keyplane_valkey::ft::{self, Attribute, Condition, Query, Search};

use super::Store;
use super::documents::read_number as number;
use crate::domain::{Clause, Column, Placement, Scope, Token};
use crate::error::Error;

/// Search of an index within a scope. Its parts are all required of a document.
#[derive(Clone, Copy, Debug)]
pub struct Find<'a> {
    /// Collection; no search is without.
    pub scope: &'a Scope,
    /// Condition on columns.
    pub clause: &'a Clause,
    /// Words, one of each.
    pub words: &'a [AnyOf],
    /// Words that the document must not have, in any of `not_columns`.
    pub not_words: &'a [String],
    /// Ordinals of the text columns for `not_words`.
    pub not_columns: &'a [u8],
    /// First and last number of the spread.
    pub spread: Option<(u32, u32)>,
    /// Ordinals of the text columns to return.
    pub texts: &'a [u8],
    /// Maximum number of rows; 0 only counts.
    pub limit: u32,
}

/// Alternatives for one word of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyOf {
    /// Ordinals of the text columns that may have them.
    pub columns: Vec<u8>,
    /// Alternatives; each is a list of terms that must all be there, in whatever columns.
    pub terms: Vec<Vec<String>>,
}

/// Documents that match.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Matches {
    /// Number of matching documents.
    pub total: u64,
    /// Some of them, in no particular order.
    pub rows: Vec<Row>,
}

/// Document that matches, as ranking and filters need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Document's id.
    pub id: String,
    /// Packed values, as in [`Packed`](crate::domain::Packed).
    pub packed: Bytes,
    /// Revision.
    pub revision: i64,
    /// Expiry, in milliseconds since 1970.
    pub expires: Option<i64>,
    /// Term streams of the requested text columns, in their order; none for a text without words.
    pub texts: Vec<Option<Bytes>>,
}

const SCOPE: Attribute = Attribute::new("_s");
const SPREAD: Attribute = Attribute::new("_r");
/// Fields of each row, before the text columns.
const FIELDS: [Attribute; 4] = [Attribute::new("_f"), Attribute::new("_x"), Attribute::new("_v"), Attribute::new("_i")];
/// Number of those that a counted document needs: each field of a row takes the engine and the reply another microsecond.
const COUNTED: usize = 2;

// === impl Store ===

impl Store {
    /// Searches one index, with one command. Documents that expired a moment ago may be among the matches.
    ///
    /// # Errors
    ///
    /// Search that is too long (see [`Find::text`]), missing index, or another error of the store.
    pub async fn find(&self, placement: &Placement, find: &Find<'_>) -> Result<Matches, Error> {
        self.read(placement, find, &FIELDS).await
    }

    /// Searches like [`Store::find`] for documents that are only counted: rows have no revision, and no id that their key hides.
    ///
    /// # Errors
    ///
    /// Those of [`Store::find`].
    pub async fn find_values(&self, placement: &Placement, find: &Find<'_>) -> Result<Matches, Error> {
        self.read(placement, find, &FIELDS[..COUNTED]).await
    }

    async fn read(&self, placement: &Placement, find: &Find<'_>, fields: &[Attribute]) -> Result<Matches, Error> {
        let index = self.index(placement);
        let query = find.query()?;
        if find.limit == 0 {
            let total = self.valkey.count(&index, &query).await?;
            return Ok(Matches { total, rows: Vec::new() });
        }
        let texts = find.texts.iter().map(|ordinal| Attribute::numbered("t", *ordinal));
        let (own, fields): (usize, Vec<Attribute>) = (fields.len(), fields.iter().copied().chain(texts).collect());
        let search = Search { index: &index, query: &query, fields: &fields, limit: find.limit };
        let found = self.valkey.search(&search).await?;
        let rows = found.rows.into_iter().filter_map(|row| row_of(row, own).transpose());
        Ok(Matches { total: found.total, rows: rows.collect::<Result<_, _>>()? })
    }
}

// === impl Find ===

impl Find<'_> {
    /// Query in the engine's language; none if the engine rejects one of its size, or a word can't be sent.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let query = self.query().ok()?;
        query.fits().then(|| query.as_str().to_owned())
    }

    fn query(&self) -> Result<Query, Error> {
        let scope = ft::Scope { attribute: SCOPE, tag: tag(self.scope.as_str())? };
        let mut query = Query::new(scope).and(&condition(self.clause)?);
        for word in self.words {
            query = query.and(&any_of(word)?);
        }
        for word in self.not_words {
            query = query.and(&Condition::Not(Box::new(in_any(self.not_columns, word)?)));
        }
        if let Some((first, last)) = self.spread {
            let bound = |number: u32| std::ops::Bound::Included(f64::from(number));
            query = query.and(&Condition::Range(SPREAD, bound(first), bound(last)));
        }
        Ok(query)
    }
}

fn any_of(word: &AnyOf) -> Result<Condition, Error> {
    let all = |terms: &Vec<String>| {
        let terms: Result<Vec<Condition>, Error> = terms.iter().map(|term| in_any(&word.columns, term)).collect();
        terms.map(Condition::All)
    };
    word.terms.iter().map(all).collect::<Result<_, _>>().map(Condition::Any)
}

fn in_any(columns: &[u8], term: &str) -> Result<Condition, Error> {
    let term = ft::Token::word(term).map_err(|_| Error::Corrupt("a term has a character that no term has"))?;
    let one = |ordinal: &u8| Condition::Word(Attribute::numbered("t", *ordinal), term.clone());
    Ok(Condition::Any(columns.iter().map(one).collect()))
}

fn condition(clause: &Clause) -> Result<Condition, Error> {
    let list = |list: &[Clause]| list.iter().map(condition).collect::<Result<Vec<_>, _>>();
    Ok(match clause {
        Clause::Tag(column, tokens) => {
            Condition::Tag(attribute(*column), tokens.iter().map(token).collect::<Result<_, _>>()?)
        }
        Clause::Range(column, low, high) => Condition::Range(attribute(*column), *low, *high),
        Clause::All(clauses) => Condition::All(list(clauses)?),
        Clause::Any(clauses) => Condition::Any(list(clauses)?),
        Clause::Not(clause) => Condition::Not(Box::new(condition(clause)?)),
    })
}

fn attribute(column: Column) -> Attribute {
    match column {
        Column::Text(ordinal) => Attribute::numbered("t", ordinal),
        Column::Tag(ordinal) => Attribute::numbered("g", ordinal),
        Column::Number(ordinal) => Attribute::numbered("n", ordinal),
    }
}

fn token(token: &Token) -> Result<ft::Token, Error> {
    tag(token.as_str())
}

fn tag(text: &str) -> Result<ft::Token, Error> {
    ft::Token::tag(text).map_err(|_| Error::Corrupt("a tag has a character that no token has"))
}

/// Row out of its `own` fields and the texts after them; none for a document that expired during the search.
fn row_of(row: ft::Row, own: usize) -> Result<Option<Row>, Error> {
    let mut fields = row.fields;
    let texts = fields.split_off(own.min(fields.len()));
    let mut fields = fields.into_iter();
    let (packed, expires) = (fields.next().flatten(), fields.next().flatten());
    let (revision, hidden) = (number(fields.next().flatten())?, fields.next().flatten());
    let Some(packed) = packed else { return Ok(None) };
    let is_counted = own == COUNTED;
    if revision.is_none() && !is_counted {
        return Ok(None);
    }
    let hidden = hidden.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let id =
        row.id.or(hidden).or_else(|| is_counted.then(String::new)).ok_or(Error::Corrupt("a document has no id"))?;
    Ok(Some(Row { id, packed, revision: revision.unwrap_or_default(), expires: number(expires)?, texts }))
}
