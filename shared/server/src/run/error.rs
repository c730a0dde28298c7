//! Errors that keep a service from running.

use std::net::SocketAddr;

/// Error of a service that can't start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Port that is taken or not allowed.
    #[error("cannot listen on {addr} for {purpose} ({source}): choose another address with {setting}")]
    Bind {
        /// Purpose of the port.
        purpose: &'static str,
        /// Setting that names it.
        setting: &'static str,
        /// Address to bind.
        addr: SocketAddr,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Settings that the store can't be used with.
    #[error("the store's settings cannot be used: {0}")]
    Store(#[from] keyplane_valkey::SettingsError),
    /// Descriptor set in [`ServiceInfo::descriptors`](crate::ServiceInfo::descriptors) that doesn't decode.
    #[error("a descriptor set does not decode: {0}")]
    Descriptors(String),
    /// Store with data of another version of this service.
    #[error("the store cannot be used by this version of the service: {0}")]
    Layout(String),
    /// End of the gRPC server by itself.
    #[error("the gRPC server ended: {0}")]
    Ended(String),
    /// Second signal, which cut the drain short.
    #[error("stopped at once by a second signal")]
    Interrupted,
    /// Error of the service itself.
    #[error("{0}")]
    Service(#[source] Box<dyn std::error::Error + Send + Sync>),
}
