//! Connection to Valkey: keys, TTLs, scripts, errors, breaker and capabilities; the only crate that knows fred.
//!
//! A service holds one [`Valkey`] and calls [`Valkey::run`] for scripts and a few typed reads. Each call is:
//!
//! - **Bounded.** It waits at most the command timeout, and at most 90 % of the rest of the request's
//!   [deadline](keyplane_deadline).
//! - **Honest.** An [`Error`] says whether the command may have run ([`Error::outcome_unknown`]).
//!   A script is written to the wire at most once; a plain read is sent again after a lost connection.
//! - **Quick to fail.** Without a connection, and while the breaker is open, a call fails at once.
//! - **Cancel safe.** Dropping the future of a call is safe at any point; the command may still run on the server.
//! - **Dedicated if it blocks.** Blocking reads, and `WAIT`, use a [`Dedicated`] connection.
//! - **Observed.** It has one client span (if the caller is traced) and the metrics of `keyplane_telemetry::semconv`.
//!
//! Connections are restored for ever; no outage needs a restart.

mod backoff;
mod breaker;
mod client;
mod cluster;
mod command;
mod dedicated;
mod doorbell;
mod endpoint;
mod error;
mod failure;
mod features;
pub mod ft;
mod health;
mod key;
mod lane;
mod layout;
mod node;
mod observe;
mod patience;
mod probe;
mod reach;
mod reads;
mod ready;
mod script;
mod settings;
mod topology;
mod value;
mod watchdog;
mod wire;

pub use client::Valkey;
pub use dedicated::Dedicated;
pub use doorbell::{Bell, Doorbells, Ring};
pub use error::{Error, ErrorKind};
pub use features::{Feature, Ttl, TtlError};
pub use key::{App, AppError, Key};
pub use probe::Need;
pub use reach::Reach;
pub use script::Script;
pub use settings::{BreakerSettings, QUIET_LOGS, Settings, SettingsError};
pub use value::{Arg, StreamEntry, Value};
