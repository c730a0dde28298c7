//! Settings, from environment variables only.
//!
//! Durations and sizes need a unit (`250ms`, `30s`, `4MiB`); a bare number is rejected. All wrong settings are reported
//! at once, each with its name and the rule. A `KEYPLANE_` variable that nothing reads is wrong too, since a typo must
//! not silently mean the default. An empty variable counts as unset.

mod env;
mod foreign;
mod parse;
mod problem;
mod server;
mod table;

pub use env::Env;
pub use parse::duration as parse_duration;
pub use problem::{ConfigErrors, Problem};
pub use server::{Deadlines, DrainTimes, Limits, ServerConfig, read};
pub use table::{Row, Table};
