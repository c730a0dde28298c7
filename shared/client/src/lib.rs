//! Clients of Keyplane's services: a channel whose failures are the statuses that gRPC promises, and the revocation replica
//! in this process.
//!
//! tonic's own channel answers CANCELLED, which nobody retries, in two cases: the connection closed before the request left
//! it (usual while a service restarts), and the deadline passed. [`Channel`] makes the first UNAVAILABLE and the second
//! DEADLINE_EXCEEDED, as other languages do. It also propagates the trace.
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
//! A [`RevocationReplica`] checks tokens without a network hop, and ends streams whose token is revoked:
//!
//! ```no_run
//! use keyplane_client::{Claims, Millis, ReplicaSettings, RevocationReplica};
//!
//! # async fn serve(claims: &Claims<'_>) {}
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = tonic::transport::Endpoint::from_static("http://127.0.0.1:50052");
//! let replica = RevocationReplica::connect(endpoint, ReplicaSettings::default());
//!
//! // Claims of a token whose signature was verified.
//! let claims = Claims {
//!     tenant: "acme",
//!     issuer: "https://idp.example",
//!     jti: "j-1",
//!     subject: "u-42",
//!     issued_at: Millis::from_seconds(1_900_000_000.25),
//!     expires: Millis::from_seconds(1_900_000_300.0),
//!     ..Claims::default()
//! };
//! // An error is an outage of the service: this caller rejects the token then.
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
