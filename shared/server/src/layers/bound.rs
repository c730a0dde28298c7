//! Bound fields: rejects a request field in the query that the path of the JSON route binds.
//!
//! The gateway's transcoder would let `GET /v1/tenants/acme/plan?name=tenants/other/plan` name the other tenant. The
//! gateway's guard checks bodies.

use std::borrow::Cow;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::Either;
use http::{HeaderMap, Response};
use keyplane_contracts::Violations;
use keyplane_contracts::reasons::kit;
use percent_encoding::percent_decode;
use tonic::body::Body;
use tower::Service;

use super::call::Call;
use super::methods::Method;
use crate::errors::{self, Description, ServiceError};

/// Path of a JSON request, with its query, as the caller sent it. The gateway's transcoder sets it; gRPC requests have none.
pub(super) const ORIGINAL_PATH: &str = "x-envoy-original-path";

/// Rejects JSON requests whose query names a field that the path binds.
#[derive(Clone)]
pub(crate) struct Bound<S> {
    inner: S,
}

/// Fields that the query names besides the path.
#[derive(Debug, thiserror::Error)]
#[error("the request is invalid: {0}")]
struct Overridden(Violations);

// === impl Bound ===

impl<S> Bound<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, R> Service<Call<R>> for Bound<S>
where
    S: Service<Call<R>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call<R>) -> Self::Future {
        match query(call.request.headers()).map(|query| overridden(&call.method, query)) {
            Some(fields) if !fields.is_empty() => {
                Either::Right(ready(Ok(errors::status(Overridden(fields)).into_http())))
            }
            Some(_) | None => Either::Left(self.inner.call(call)),
        }
    }
}

// === impl Overridden ===

impl ServiceError for Overridden {
    fn describe(&self) -> Description<'_> {
        Description::new(&kit::INVALID_REQUEST).violations(self.0.as_slice())
    }
}

/// Query in bytes, since a path may hold some that are no text.
fn query(headers: &HeaderMap) -> Option<&[u8]> {
    let path = headers.get(ORIGINAL_PATH)?.as_bytes();
    let mark = path.iter().position(|byte| *byte == b'?')?;
    path.get(mark + 1..)
}

/// Finds the bound fields that the query names, in either spelling, percent-encoded or not.
fn overridden(method: &Method, query: &[u8]) -> Violations {
    let pairs = query.split(|byte| *byte == b'&');
    let names = pairs.map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or_default());
    let names: Vec<Cow<'_, str>> = names.map(|name| percent_decode(name).decode_utf8_lossy()).collect();
    let mut violations = Violations::new();
    for field in &method.bound {
        if names.iter().any(|name| field.holds(name)) {
            let rule = "comes from the path of the URL and may stand nowhere else; leave it out of the query";
            violations.add(&*field.json, rule);
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::methods::Methods;
    use super::*;

    fn rejects(path: &'static [u8]) -> bool {
        let methods = Methods::declared(&["keyplane.ratelimit.v1.RateLimitService"]);
        let method = methods.find("/keyplane.ratelimit.v1.RateLimitService/UpdateTenantPlan");
        let headers =
            HeaderMap::from_iter([(ORIGINAL_PATH.parse().unwrap(), http::HeaderValue::from_bytes(path).unwrap())]);
        query(&headers).is_some_and(|query| !overridden(method, query).is_empty())
    }

    #[test]
    fn bound_field_in_the_query_is_rejected_in_any_spelling() {
        for query in ["tenantPlan.name=x", "tenant_plan.name=x", "a=b&tenant%50lan%2Ename", "tenant_plan.n%61me=x&b"] {
            assert!(rejects(format!("/v1/tenants/acme/plan?{query}").leak().as_bytes()), "{query}");
        }
        assert!(rejects(b"/v1/tenants/acme/plan?x=\xff&tenantPlan.name=x"), "bytes that are no text hide nothing");
    }

    #[test]
    fn other_fields_pass() {
        for path in
            ["/v1/tenants/acme/plan", "/v1/tenants/acme/plan?", "/v1/tenants/acme/plan?initiator=tenantPlan.name"]
        {
            assert!(!rejects(path.as_bytes()), "{path}");
        }
    }
}
