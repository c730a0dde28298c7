//! Reasons of the revocation service, and of those that ask it.

use super::{Retry, after, register};

register! {
    REVOCATION_NOT_FOUND: NotFound, Retry::Never,
        "The revocation does not exist, or has expired: nothing is left to undo.";
    REVOCATION_UNAVAILABLE: Unavailable, after(500),
        "The revocation service cannot be reached. At the gateway the request was not forwarded; with `revoke_tokens` \
         no session was ended. Retry; nothing passes unchecked.";
    FRESHNESS_UNKNOWN: Unavailable, after(100),
        "Neither memory nor the store can tell whether the token is revoked, and the outage policy is `closed`. \
         Retry, or let the token pass by a policy of your own, but never with metadata `suspect: true`.";
    FEED_RESTARTED: Aborted, after(100),
        "The watched feed was interrupted: watch again with the last `resume_token`.";
    UNSUPPORTED_TOKEN_TYPE: InvalidArgument, Retry::Never,
        "Only JWTs with `iss` and `jti` can be revoked here: revoke a refresh token at its identity provider.";
    JWKS_NOT_CONFIGURED: FailedPrecondition, Retry::Never,
        "The service has no keys to verify tokens. Operator: set `KEYPLANE_REVOCATION_JWKS`.";
    ISSUER_WITHOUT_KID: FailedPrecondition, Retry::Never,
        "The issuer's tokens need no `kid`, so its keys cannot be revoked: remove the key from the issuer's key set, \
         and revoke the tenant's tokens.";
    ROUTE_POLICY_INVALID: Unavailable, Retry::Never,
        "A route of the gateway names an invalid outage policy. Operator: the message has the rule for \
         `keyplane.policy`.";
}
