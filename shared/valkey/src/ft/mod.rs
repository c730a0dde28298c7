//! Search indexes (`FT.*`): a typed builder in which a query without a scope, or with raw text, can't be written.
//!
//! All texts belong to the subset that valkey-search 1.2 and RediSearch 2.10 read alike. A [`Query`] begins with its
//! [`Scope`], a tag that every document carries. Its clauses take validated [`Token`]s and numbers.

mod admin;
mod attribute;
mod condition;
mod nearest;
mod query;
mod render;
mod reply;
mod search;
mod token;

pub use admin::{Columns, IndexInfo};
pub use attribute::Attribute;
pub use condition::{Condition, Scope};
pub use nearest::{MAX_NEIGHBOURS, Nearest, VectorAlgorithm, VectorColumn};
pub use query::Query;
pub use reply::{Row, Rows};
pub use search::Search;
pub use token::{Token, TokenError};

pub use crate::key::Index;

/// Longest text of a query, in bytes: the limit of valkey-search.
pub const MAX_QUERY_BYTES: usize = 10_240;
/// Maximum number of terms and tags in a query.
pub const MAX_QUERY_TOKENS: usize = 1_000;
