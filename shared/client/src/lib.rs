//! Clients of Keyplane's services: a channel whose failures are the statuses that gRPC promises, and the revocations in
//! this process's memory.
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
//!
//! A [`RevocationReplica`] tells whether a token is revoked without a network hop, and cuts what was opened with it:
//!
//! ```no_run
//! use keyplane_client::{Claims, Millis, ReplicaSettings, RevocationReplica};
//!
//! # async fn serve(claims: &Claims<'_>) {}
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = tonic::transport::Endpoint::from_static("http://127.0.0.1:50052");
//! let replica = RevocationReplica::connect(endpoint, ReplicaSettings::default());
//!
//! // Of a token whose signature was verified.
//! let claims = Claims {
//!     tenant: "acme",
//!     issuer: "https://idp.example",
//!     jti: "j-1",
//!     subject: "u-42",
//!     issued_at: Millis::from_seconds(1_900_000_000.25),
//!     expires: Millis::from_seconds(1_900_000_300.0),
//!     ..Claims::default()
//! };
//! // An error is an outage of the service: this caller refuses then.
//! if replica.is_revoked(&claims).await?.is_revoked() {
//!     return Err("the token was revoked".into());
//! }
//! tokio::select! {
//!     () = serve(&claims) => {}
//!     verdict = replica.revoked(&claims) => println!("the stream is cut: {verdict:?}"),
//! }
//! # Ok(())
//! # }
//! ```

mod channel;
mod failure;
mod revocation;

pub use channel::Channel;
pub use keyplane_revocation::{Claims, Millis, RevocationId, Rule};
pub use revocation::{ReplicaSettings, RevocationReplica, Verdict};
