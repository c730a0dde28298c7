//! Checks by the service, for tokens that memory can't decide on.

use std::collections::HashMap;

use keyplane_contracts::reasons::DOMAIN;
use keyplane_contracts::reasons::revocation::FRESHNESS_UNKNOWN;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_revocation::{Claims, RevocationId, wire};
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{ReplicaSettings, Verdict};
use crate::Channel;

/// Checks one token at the service.
///
/// # Errors
///
/// Status of the service; UNAVAILABLE if it could not decide either, and only its outage policy lets the token pass.
pub(super) async fn check(
    mut client: RevocationServiceClient<Channel>,
    claims: &Claims<'_>,
    settings: &ReplicaSettings,
) -> Result<Verdict, Status> {
    let mut request = Request::new(pb::CheckRequest {
        parent: format!("tenants/{}", claims.tenant),
        claims: Some(message(claims)),
        min_sequence: String::new(),
        max_staleness: prost_types::Duration::try_from(settings.bound).ok(),
    });
    request.set_timeout(settings.check_timeout);
    let response = client.check(request).await?.into_inner();
    let guessed = response.freshness.as_ref().is_some_and(|freshness| freshness.source() == pb::Source::Outage);
    match response.verdict() {
        pb::Verdict::Active if guessed => Err(Status::unavailable("the service could not decide either")),
        pb::Verdict::Active => Ok(Verdict::Active),
        pb::Verdict::Revoked => {
            let revocation = response.revocation.rsplit('/').next().and_then(RevocationId::parse);
            Ok(Verdict::Revoked { rule: wire::rule_of(response.rule()), revocation })
        }
        pb::Verdict::KeyUnknown => Ok(Verdict::KeyUnknown),
        pb::Verdict::Unspecified | pb::Verdict::Unknown => {
            Err(Status::unavailable("the service answered what this release does not know"))
        }
    }
}

/// Status for the caller when the service failed with `status`.
pub(super) fn unknown(status: Status, suspect: bool) -> Status {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, Internal, ResourceExhausted, Unavailable, Unknown};
    let failed = [Cancelled, Unknown, DeadlineExceeded, ResourceExhausted, Aborted, Internal, Unavailable, DataLoss];
    // With any other code the call itself is wrong: a retry does not help, and no outage policy applies.
    if status.code() != Code::Ok && !failed.contains(&status.code()) {
        return status;
    }
    let metadata = suspect.then(|| ("suspect".to_owned(), "true".to_owned()));
    let metadata: HashMap<String, String> = metadata.into_iter().collect();
    let details = ErrorDetails::with_error_info(FRESHNESS_UNKNOWN.name, DOMAIN, metadata);
    let message = format!("the replica is too old, and the revocation service failed: {}", status.message());
    Status::with_error_details(FRESHNESS_UNKNOWN.code, message, details)
}

fn message(claims: &Claims<'_>) -> pb::Claims {
    pb::Claims {
        issuer: claims.issuer.to_owned(),
        jti: claims.jti.to_owned(),
        sid: claims.sid.to_owned(),
        subject: claims.subject.to_owned(),
        client: claims.client.to_owned(),
        kid: claims.kid.to_owned(),
        issue_time: claims.issued_at.map(wire::timestamp),
        auth_time: claims.auth_time.map(wire::timestamp),
        expire_time: claims.expires.map(wire::timestamp),
    }
}
