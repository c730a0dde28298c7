//! RevokeOAuthToken: the bearer of a token revokes it (RFC 7009).

mod body;

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::{Violation, Violations};

use super::{Service, convert};
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn revoke_oauth(&self, request: &pb::RevokeOAuthTokenRequest) -> Result<(), Error> {
        let mut violations = Violations::new();
        let tenant = violations.keep(convert::tenant(&request.parent, "parent"));
        let body = request.body.as_ref().ok_or_else(|| Violation::new("body", "must be set"));
        let parameters = violations.keep(body.and_then(body::read));
        let (Some(tenant), Some(parameters)) = (tenant, parameters) else {
            return Err(Error::Invalid(violations.into_iter().collect()));
        };
        self.revoker.revoke_for_bearer(tenant, &parameters.token, &parameters.token_type_hint).await
    }
}
