//! Use cases.

pub mod collections;
pub mod documents;
mod figures;
pub mod lexicons;
pub mod maintenance;
pub mod planner;
pub mod rebuild;
pub mod reconciler;
pub mod samples;
pub mod search;
pub mod sweeper;
pub mod turn;
