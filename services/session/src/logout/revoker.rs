use std::time::Duration;

use keyplane_client::Channel;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::reasons::kit;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_contracts::rpc::v1::ItemError;
use keyplane_contracts::timestamp;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::Issued;
use crate::domain::BoundToken;
use crate::error::Error;

/// The most that the revocation service takes in one call.
const BATCH: usize = 1000;

/// How long a call may take where the caller sets no deadline.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may take, and how long a peer may be silent before it counts as gone.
const CONNECT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(5);

/// Revokes at the revocation service. Whatever it does may be done again without harm.
pub(crate) struct Revoker {
    client: RevocationServiceClient<Channel>,
}

// === impl Revoker ===

impl Revoker {
    /// At the service behind `endpoint`.
    pub(crate) fn new(endpoint: Endpoint) -> Revoker {
        Revoker { client: RevocationServiceClient::new(Channel::lazy(endpoint, CONNECT, SILENCE)) }
    }

    /// Revokes all of `issued`, or fails; then some of it may be revoked.
    ///
    /// # Errors
    ///
    /// [`Error::RevocationUnavailable`], [`Error::RevocationRejected`].
    pub(super) async fn revoke(&self, tenant: &TenantId, issued: &[Issued]) -> Result<(), Error> {
        for batch in issued.chunks(BATCH) {
            let requests = batch.iter().map(request).collect();
            let results = self.batch(tenant, requests).await?;
            let mut again = Vec::new();
            for (one, result) in batch.iter().zip(results) {
                let Some(ItemError { code, reason, .. }) = result.error else { continue };
                match (one, Code::from_i32(code)) {
                    // Expired by the service's clock, or of a longer life than it keeps revocations for. Without its expiry it
                    // is revoked for as long as any token may live.
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

    /// One call; as many results as there are requests.
    async fn batch(&self, tenant: &TenantId, requests: Vec<pb::RevokeRequest>) -> Result<Vec<pb::RevokeResult>, Error> {
        let count = requests.len();
        let mut request = Request::new(pb::BatchRevokeRequest { parent: format!("tenants/{tenant}"), requests });
        // Less than what remains, so that there is time left to say what became of it.
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

fn cause() -> pb::Cause {
    let (reason, initiator) = (pb::Reason::Logout.into(), crate::SERVICE.name.to_owned());
    pb::Cause { reason, initiator, description: String::new() }
}

fn refusal(status: &Status) -> Error {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    failure(status.code(), reason.unwrap_or_default())
}

/// What a caller can do about it: repeat the call, or nothing.
fn failure(code: Code, reason: String) -> Error {
    match code {
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable => Error::RevocationUnavailable,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => Error::RevocationRejected { code, reason },
    }
}
