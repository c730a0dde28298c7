//! Client of the revocation service.

use std::time::Duration;

use keyplane_client::Channel;
use keyplane_contracts::audit::v1::Cause;
use keyplane_contracts::audit::v1::cause::Reason;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::reasons::kit;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_contracts::rpc::v1::ItemError;
use keyplane_contracts::timestamp;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::domain::{BoundToken, Issued};
use crate::error::Error;

/// Maximum of revocations in one call.
const BATCH: usize = 1000;

/// Initiator in the audit of each revocation.
const INITIATOR: &str = "session";

/// Timeout of a call without a deadline of its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// Timeout of a connection attempt.
const CONNECT: Duration = Duration::from_secs(1);
/// Silence of the peer after which a ping checks the connection.
const SILENCE: Duration = Duration::from_secs(5);

/// Client of the revocation service. Its calls are idempotent.
pub(crate) struct Revoker {
    client: RevocationServiceClient<Channel>,
}

// === impl Revoker ===

impl Revoker {
    /// Client of the service at `endpoint`, which connects at the first call.
    pub(crate) fn new(endpoint: Endpoint) -> Revoker {
        Revoker { client: RevocationServiceClient::new(Channel::lazy(endpoint, CONNECT, SILENCE)) }
    }

    /// Revokes all of `issued`. After an error, some of it may be revoked. Cancel safe in the same sense.
    ///
    /// # Errors
    ///
    /// [`Error::RevocationUnavailable`], [`Error::RevocationRejected`].
    pub(crate) async fn revoke(&self, tenant: &TenantId, issued: &[Issued]) -> Result<(), Error> {
        for batch in issued.chunks(BATCH) {
            let requests = batch.iter().map(request).collect();
            let results = self.batch(tenant, requests).await?;
            let mut again = Vec::new();
            for (issued, result) in batch.iter().zip(results) {
                let Some(ItemError { code, reason, .. }) = result.error else { continue };
                match (issued, Code::from_i32(code)) {
                    // The token expired by the service's clock, or lives longer than the service keeps revocations. Without
                    // an expiry it is revoked for the longest life of a token.
                    (Issued::Token(token), Code::InvalidArgument) => again.push(token_request(token, None)),
                    (_, code) => return Err(failure(code, reason)),
                }
            }
            if !again.is_empty() {
                for result in self.batch(tenant, again).await? {
                    if let Some(ItemError { code, reason, .. }) = result.error {
                        return Err(failure(Code::from_i32(code), reason));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends one call; returns one result per request.
    async fn batch(&self, tenant: &TenantId, requests: Vec<pb::RevokeRequest>) -> Result<Vec<pb::RevokeResult>, Error> {
        let count = requests.len();
        let mut request = Request::new(pb::BatchRevokeRequest { parent: format!("tenants/{tenant}"), requests });
        // Less than the rest of the deadline, so that there is time left to report the result.
        let wait = keyplane_deadline::share().unwrap_or(PATIENCE);
        request.set_timeout(wait);
        let response = self.client.clone().batch_revoke(request).await;
        let results = response.map_err(|status| refusal(&status))?.into_inner().results;
        if results.len() == count { Ok(results) } else { Err(failure(Code::DataLoss, kit::INTERNAL.name.to_owned())) }
    }
}

fn request(issued: &Issued) -> pb::RevokeRequest {
    match issued {
        Issued::Session(id) => {
            let request = pb::RevokeSessionRequest { sid: id.to_string(), cause: Some(cause()), ..Default::default() };
            pb::RevokeRequest { target: Some(pb::revoke_request::Target::Session(request)) }
        }
        Issued::Token(token) => token_request(token, Some(timestamp::from_micros(token.expires.0))),
    }
}

fn token_request(token: &BoundToken, expire_time: Option<prost_types::Timestamp>) -> pb::RevokeRequest {
    let (issuer, jti) = (token.issuer.clone(), token.jti.clone());
    let request = pb::RevokeTokenRequest { issuer, jti, expire_time, cause: Some(cause()), ..Default::default() };
    pb::RevokeRequest { target: Some(pb::revoke_request::Target::Token(request)) }
}

fn cause() -> Cause {
    Cause { reason: Reason::Logout.into(), initiator: INITIATOR.to_owned(), description: String::new() }
}

fn refusal(status: &Status) -> Error {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    failure(status.code(), reason.unwrap_or_default())
}

/// Error by what the caller can do: repeat the call, or nothing.
fn failure(code: Code, reason: String) -> Error {
    use Code::{Aborted, Cancelled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown};
    let passing = [Code::Ok, Cancelled, Unknown, DeadlineExceeded, ResourceExhausted, Aborted, Internal, Unavailable];
    if passing.contains(&code) { Error::RevocationUnavailable } else { Error::RevocationRejected { code, reason } }
}
