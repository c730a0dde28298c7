//! Use cases.

pub mod collections;
