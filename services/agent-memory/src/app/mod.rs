//! Use cases.

pub mod capacity;
pub mod embed;
pub mod embedded;
pub mod erase;
pub mod export;
pub mod figures;
pub mod forget;
pub mod maintenance;
pub mod memories;
pub mod recall;
pub mod reconciler;
pub mod remember;
pub mod sessions;
mod subjects;
pub mod sweeper;
pub mod update;

/// Time of this instance, in milliseconds since 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
