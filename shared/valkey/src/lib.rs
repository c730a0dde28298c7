//! The connection to Valkey: keys, TTLs, scripts, errors, breaker and capabilities; the only crate that knows fred.
//!
//! A service gets one [`Valkey`] and calls [`Valkey::run`] for scripts and a few typed reads. Around each call:
//!
//! - **Bounded.** It waits at most the command timeout, and at most 90 % of what the request's [`deadline`] leaves.
//! - **Honest.** An [`Error`] says whether the command may have run nonetheless ([`Error::outcome_unknown`]).
//!   A script is written to the wire at most once; a plain read may be sent again after a lost connection.
//! - **Quick to fail.** While no connection is up, and while the breaker is open, a call fails at once.
//! - **Cancel safe.** Dropping the future of a call is safe at any point; the command may still run on the server.
//! - **One's own where it must be.** Reads that wait, and `WAIT`, go over a [`Dedicated`] connection.
//! - **Observed.** One client span (when the caller is traced) and the metrics named in `keyplane_telemetry::semconv`.
//!
//! Connections come back by themselves, for ever; nothing has to be restarted after an outage.

mod backoff;
mod breaker;
mod client;
mod cluster;
mod command;
mod dedicated;
mod doorbell;
mod error;
mod features;
mod health;
mod lane;
mod layout;
mod node;
mod observe;
mod patience;
mod probe;
mod reach;
mod script;
mod settings;
mod subscriber;
mod topology;
mod url;
mod value;
mod watchdog;
mod wire;

pub mod key;

pub use client::Valkey;
pub use dedicated::Dedicated;
pub use doorbell::{Bell, Doorbells, Ring};
pub use error::{Error, ErrorKind};
pub use features::{FEATURES, Feature, Lifetime, Ttl, TtlError};
pub use key::{App, AppError, Key};
pub use keyplane_deadline as deadline;
pub use probe::{Capabilities, Need};
pub use reach::Reach;
pub use script::Script;
pub use settings::{BreakerSettings, QUIET_LOGS, Settings, SettingsError};
pub use value::{Arg, StreamEntry, Value};
