//! Search service: full-text, faceted search over documents, kept apart by tenant. *Where is the thing they look for?*
//!
//! Calls go `grpc → app → store`; `domain` has the rules under all of them.

pub mod app;
pub mod domain;
pub mod error;
pub mod store;
