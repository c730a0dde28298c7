//! Server kit: settings, health, reflection, layers, drain and the admin port.
//!
//! [`main`] takes a service's [`ServiceInfo`], a function that reads its own settings, and one that connects what it needs
//! and calls [`start`]. Everything else (signals, telemetry, health, limits, deadlines, the order of shutdown) is here, once
//! for all services. `docs/layers.md` walks through the layers.

pub mod config;
pub mod errors;
pub mod random;
pub mod sse;

mod allocator;
mod info;
mod layers;
mod program;
mod run;
mod watch_cap;
mod watched_file;

pub use errors::{Description, IF_MATCH, ServiceError, if_match, item_error, status};
pub use info::ServiceInfo;
pub use program::main;
pub use run::{Context, Drain, Error, Readiness, Running, start};
pub use watch_cap::{TooManyWatches, WatchCap, WatchPermit};
pub use watched_file::WatchedFile;
