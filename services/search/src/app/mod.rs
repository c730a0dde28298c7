//! Use cases.

pub mod collections;
pub mod documents;
pub mod lexicons;
pub mod maintenance;
pub mod rebuild;
pub mod reconciler;
pub mod sweeper;
pub mod turn;
