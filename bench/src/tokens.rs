//! Claims of a run's tokens, and their revocation.

use std::time::{Duration, SystemTime};

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_contracts::revocation::v1::revoke_request::Target;
use tonic::client::GrpcService;
use tonic::codegen::{Body, Bytes, StdError};
use tonic::{Response, Status};

/// Parent of every call.
pub(crate) const PARENT: &str = "tenants/bench";
const ISSUER: &str = "https://idp.example";

/// Age of the tokens at the start of the run, and their life from then on by default.
const AGE: Duration = Duration::from_mins(1);
const LIFE: Duration = Duration::from_hours(1);

/// Target of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Token,
    Session,
    Subject,
}

/// Makes tokens; all of one mint have the same times.
#[derive(Clone, Debug)]
pub(crate) struct Mint {
    now: SystemTime,
    life: Duration,
}

// === impl Kind ===

impl Kind {
    /// A mix: of ten, six tokens, two sessions, two subjects.
    pub(crate) fn of(number: u64) -> Kind {
        match number % 5 {
            1 => Kind::Session,
            3 => Kind::Subject,
            _ => Kind::Token,
        }
    }
}

// === impl Mint ===

impl Mint {
    pub(crate) fn new() -> Mint {
        Mint::living(LIFE)
    }

    /// Tokens that expire `life` from now; at most a day, the longest that the service takes by default.
    pub(crate) fn living(life: Duration) -> Mint {
        Mint { now: SystemTime::now(), life }
    }

    /// Token that no other number of this `series` has: own jti, sid and subject; 16 clients and 4 keys.
    pub(crate) fn claims(&self, series: &str, number: u64) -> pb::Claims {
        pb::Claims {
            issuer: ISSUER.to_owned(),
            jti: format!("{series}-4fd8-9c3e-{number}"),
            sid: format!("{series}-s-{number}"),
            subject: format!("{series}-u-{number}"),
            client: format!("app-{}", number % 16),
            kid: format!("2026-{}", number % 4),
            issue_time: Some((self.now - AGE).into()),
            auth_time: Some((self.now - AGE).into()),
            expire_time: Some((self.now + self.life).into()),
        }
    }

    pub(crate) fn check(&self, series: &str, number: u64) -> pb::CheckRequest {
        let claims = Some(self.claims(series, number));
        pb::CheckRequest { parent: PARENT.to_owned(), claims, ..pb::CheckRequest::default() }
    }

    /// Revocations of the 16 clients and of the tenant, up to a moment before the tokens were issued, and of a key that
    /// signed none of them: each check looks at them, and none of them revokes what [`Mint::claims`] makes.
    pub(crate) fn revoke_earlier(&self) -> Vec<pb::RevokeRequest> {
        let (parent, cutoff_time) = (|| PARENT.to_owned(), Some((self.now - 2 * AGE).into()));
        let client = |number| pb::RevokeClientRequest {
            parent: parent(),
            client: format!("app-{number}"),
            cutoff_time,
            cause: None,
        };
        let key = pb::RevokeKeyRequest {
            parent: parent(),
            issuer: ISSUER.to_owned(),
            kid: "stolen".to_owned(),
            ..pb::RevokeKeyRequest::default()
        };
        let tenant = pb::RevokeTenantRequest { parent: parent(), cutoff_time, cause: None };
        let targets = (0..16).map(|number| Target::Client(client(number)));
        let targets = targets.chain([Target::Key(key), Target::Tenant(tenant)]);
        targets.map(|target| pb::RevokeRequest { target: Some(target) }).collect()
    }

    /// Revokes what [`Mint::claims`] makes.
    pub(crate) fn revoke(&self, kind: Kind, series: &str, number: u64) -> pb::RevokeRequest {
        let claims = self.claims(series, number);
        let parent = PARENT.to_owned();
        let target = match kind {
            Kind::Token => Target::Token(pb::RevokeTokenRequest {
                parent,
                issuer: claims.issuer,
                jti: claims.jti,
                expire_time: claims.expire_time,
                ..pb::RevokeTokenRequest::default()
            }),
            Kind::Session => Target::Session(pb::RevokeSessionRequest {
                parent,
                sid: claims.sid,
                expire_time: claims.expire_time,
                cause: None,
            }),
            Kind::Subject => Target::Subject(pb::RevokeSubjectRequest {
                parent,
                subject: claims.subject,
                ..pb::RevokeSubjectRequest::default()
            }),
        };
        pb::RevokeRequest { target: Some(target) }
    }
}

/// Makes the call of the request's target.
pub(crate) async fn revoke<T>(
    mut client: RevocationServiceClient<T>,
    request: pb::RevokeRequest,
) -> Result<Response<pb::Revocation>, Status>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    match request.target {
        Some(Target::Token(request)) => client.revoke_token(request).await,
        Some(Target::Session(request)) => client.revoke_session(request).await,
        Some(Target::Subject(request)) => client.revoke_subject(request).await,
        Some(Target::Client(request)) => client.revoke_client(request).await,
        Some(Target::Key(request)) => client.revoke_key(request).await,
        Some(Target::Tenant(request)) => client.revoke_tenant(request).await,
        None => Err(Status::invalid_argument("nothing to revoke")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_one_series_differ() {
        let mint = Mint::new();
        let (one, other) = (mint.claims("a", 1), mint.claims("a", 17));
        assert_eq!((&one.client, &one.kid), (&other.client, &other.kid));
        assert!(one.jti != other.jti && one.sid != other.sid && one.subject != other.subject);
        assert_ne!(one.jti, mint.claims("b", 1).jti);
    }
}
