//! Measurements of search.

pub(crate) mod relevance;
