//! Use cases: admitting calls, answering the gateway, changing policies.

mod admission;
pub mod gateway;
pub mod limiter;
pub(crate) mod metrics;
pub mod policies;

pub use admission::{Admission, Explained, Explanation};
