//! Agent memory: what agents learnt, found again within a budget of tokens. *What did the agent already learn?*
//!
//! Calls go `grpc → app → store`, and `app → peers` for embeddings; `domain` has the rules under all of them.

pub mod app;
pub mod domain;
pub mod error;
pub mod peers;
pub mod store;
