//! Use cases.

pub mod collections;
pub mod documents;
