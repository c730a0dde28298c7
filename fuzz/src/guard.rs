//! JSON bodies at the gateway's guard.

use std::sync::LazyLock;

use keyplane_gateway::guard::Guard;
use serde_json::Value;

/// RPCs whose bodies have every shape that the guard knows, with a URL.
const ROUTES: [(&str, &str); 8] = [
    ("/keyplane.session.v1.SessionService/CreateSession", "/v1/tenants/acme/users/bob%40x.com/sessions"),
    (
        "/keyplane.session.v1.SessionService/UpdateSession",
        "/v1/tenants/acme/users/bob%40x.com/sessions/0123?updateMask=lastPath",
    ),
    ("/keyplane.ratelimit.v1.RateLimitService/Acquire", "/v1/tenants/acme/rateLimits:acquire"),
    ("/keyplane.ratelimit.v1.RateLimitService/CreatePolicy", "/v1/rateLimitPolicies?policyId=a"),
    ("/keyplane.revocation.v1.RevocationService/BatchRevoke", "/v1/tenants/acme:batchRevoke"),
    ("/keyplane.search.v1.SearchService/UpsertDocument", "/v1/tenants/acme/collections/c/documents/a%3Ab"),
    ("/keyplane.search.v1.SearchService/BatchUpsertDocuments", "/v1/tenants/acme/collections/c/documents:batchUpsert"),
    ("/keyplane.search.v1.SearchService/SearchDocuments", "/v1/tenants/acme/collections/c/documents:search"),
];

static GUARD: LazyLock<Guard> = LazyLock::new(|| Guard::new().expect("the contracts"));

/// Checks any body behind a byte that picks the route.
pub(crate) fn run(data: &[u8]) {
    let Some((route, body)) = data.split_first() else { return };
    let (rpc, url) = ROUTES[usize::from(*route) % ROUTES.len()];
    match GUARD.check(rpc, url, body) {
        Ok(passed) => {
            let again = GUARD.check(rpc, url, &passed);
            assert_eq!(again.as_deref(), Ok(passed.as_slice()), "canonical JSON is its own canonical form");
            assert!(passed.is_empty() || serde_json::from_slice::<Value>(&passed).is_ok(), "no JSON is passed on");
        }
        Err(error) => {
            let error: Value = serde_json::from_str(&error.expect("a guarded RPC")).expect("an error in JSON");
            assert_eq!((&error["code"], &error["details"][0]["reason"]), (&3.into(), &"INVALID_REQUEST".into()));
        }
    }
}
