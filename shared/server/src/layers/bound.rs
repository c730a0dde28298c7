//! Check of a request's query and headers: nothing overrides the path or the body of a JSON route, and If-Match is never ignored.
//!
//! The gateway's transcoder would let `GET /v1/tenants/acme/plan?name=tenants/other/plan` name the other tenant. The gateway's
//! guard checks bodies.

use std::borrow::Cow;
use std::future::{Ready, ready};

use futures::future::Either;
use http::{HeaderMap, Response};
use keyplane_contracts::Violations;
use keyplane_contracts::reasons::kit;
use percent_encoding::percent_decode;
use tonic::body::Body;
use tower::Service;

use super::call::Call;
use super::methods::Method;
use super::middleware::Middleware;
use crate::errors::{self, Description, IF_MATCH, ServiceError};

/// Header with the path and query of a JSON request as sent. The gateway's transcoder sets it; gRPC requests lack it.
pub(super) const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// Rejects a query that names a field of the path or the body, and If-Match for a method without a version.
#[derive(Clone)]
pub(crate) struct Bound;

/// Violations in the query and the headers.
#[derive(Debug, thiserror::Error)]
#[error("the request is invalid: {0}")]
struct Misplaced(Violations);

// === impl Bound ===

impl<S, R> Middleware<S, Call<R>> for Bound
where
    S: Service<Call<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn handle(&mut self, inner: &mut S, call: Call<R>) -> Self::Future {
        let violations = violations(&call.method, call.request.headers());
        if violations.is_empty() {
            return Either::Left(inner.call(call));
        }
        Either::Right(ready(Ok(errors::status(Misplaced(violations)).into_http())))
    }
}

// === impl Misplaced ===

impl ServiceError for Misplaced {
    fn describe(&self) -> Description<'_> {
        Description::new(&kit::INVALID_REQUEST).violations(self.0.as_slice())
    }
}

fn violations(method: &Method, headers: &HeaderMap) -> Violations {
    let mut violations = query(headers).map(|query| overridden(method, query)).unwrap_or_default();
    if headers.contains_key(IF_MATCH) && !method.is_conditional {
        violations.add(IF_MATCH, "not supported: this method takes no version or etag");
    }
    violations
}

/// Query of the URL, as bytes: a path need not be text.
fn query(headers: &HeaderMap) -> Option<&[u8]> {
    let path = headers.get(ORIGINAL_PATH)?.as_bytes();
    let mark = path.iter().position(|byte| *byte == b'?')?;
    path.get(mark + 1..)
}

/// Bound fields that the query names, in either spelling, percent-encoded or not.
fn overridden(method: &Method, query: &[u8]) -> Violations {
    let pairs = query.split(|byte| *byte == b'&');
    let names = pairs.map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default());
    let names: Vec<Cow<'_, str>> = names.map(|name| percent_decode(name).decode_utf8_lossy()).collect();
    let mut violations = Violations::new();
    for field in &method.bound {
        let holder = |name: &str| method.bound.iter().find(|field| field.holds(name));
        if names.iter().any(|name| holder(name) == Some(field)) {
            violations.add(&*field.json, field.rule);
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::methods::Methods;
    use super::*;

    fn is_rejected(path: &'static [u8]) -> bool {
        let methods = Methods::declared(&["keyplane.ratelimit.v1.RateLimitService"]);
        let method = methods.find("/keyplane.ratelimit.v1.RateLimitService/UpdateTenantPlan");
        let headers =
            HeaderMap::from_iter([(ORIGINAL_PATH.parse().unwrap(), http::HeaderValue::from_bytes(path).unwrap())]);
        query(&headers).is_some_and(|query| !overridden(method, query).is_empty())
    }

    #[test]
    fn bound_field_in_the_query_is_found_in_any_spelling() {
        for query in [
            "tenantPlan.plan=x",
            "tenant_plan=x",
            "tenantPlan.name=x",
            "tenant_plan.name=x",
            "a=b&tenant%50lan%2Ename",
            "tenant_plan.n%61me=x&b",
        ] {
            assert!(is_rejected(format!("/v1/tenants/acme/plan?{query}").leak().as_bytes()), "{query}");
        }
        assert!(is_rejected(b"/v1/tenants/acme/plan?x=\xff&tenantPlan.name=x"), "invalid UTF-8 hides nothing");
    }

    #[test]
    fn if_match_is_rejected_unless_the_method_takes_a_version() {
        let methods =
            Methods::declared(&["keyplane.session.v1.SessionService", "keyplane.ratelimit.v1.RateLimitService"]);
        let headers = HeaderMap::from_iter([(IF_MATCH.parse().unwrap(), http::HeaderValue::from_static("\"3\""))]);
        for (path, rejected) in [
            ("/keyplane.session.v1.SessionService/UpdateSession", false),
            ("/keyplane.session.v1.SessionService/DeleteSession", false),
            ("/keyplane.ratelimit.v1.RateLimitService/UpdatePolicy", false),
            ("/keyplane.session.v1.SessionService/CreateSession", true),
            ("/keyplane.session.v1.SessionService/TouchSession", true),
            ("/keyplane.ratelimit.v1.RateLimitService/UpdateTenantPlan", true),
            ("/made.up/Method", false),
        ] {
            assert_eq!(!violations(methods.find(path), &headers).is_empty(), rejected, "{path}");
        }
    }

    #[test]
    fn other_fields_pass() {
        for path in
            ["/v1/tenants/acme/plan", "/v1/tenants/acme/plan?", "/v1/tenants/acme/plan?initiator=tenantPlan.name"]
        {
            assert!(!is_rejected(path.as_bytes()), "{path}");
        }
    }
}
