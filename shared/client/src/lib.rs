//! Clients of Keyplane's services: a channel whose failures are the statuses that gRPC promises.
//!
//! tonic's own channel answers CANCELLED, which nobody retries, where a connection closed before the request left it,
//! as happens to a caller while a service restarts, and where the deadline passed. Wrapped in [`Channel`], the first
//! is UNAVAILABLE and the second DEADLINE_EXCEEDED, as in other languages; and the call carries the trace.
//!
//! ```no_run
//! use keyplane_client::Channel;
//! use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
//!
//! # fn example() -> Result<(), tonic::transport::Error> {
//! let endpoint = tonic::transport::Endpoint::from_static("http://127.0.0.1:50051");
//! let client = SessionServiceClient::new(Channel::new(endpoint.connect_lazy()));
//! # Ok(())
//! # }
//! ```

mod channel;
mod failure;

pub use channel::Channel;
