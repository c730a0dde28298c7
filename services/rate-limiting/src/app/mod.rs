//! Use cases: admitting calls, settling charges, deciding for the gateway, changing policies.

mod admission;
mod explain;
pub mod gateway;
pub mod limiter;
pub(crate) mod metrics;
pub mod policies;
mod reset;

pub use admission::{Acquired, Admission};
pub use explain::{Explained, Explanation};
