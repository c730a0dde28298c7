//! Service under test: settings for free ports, a connection, readiness, and the errors that callers get.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::eventually;

/// Time within which a service becomes ready on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of a service on free ports that drains without delay: app prefix, store, then `own`. The last value of a name
/// counts.
#[must_use]
pub fn settings<'a>(app: &'a str, store: &'a str, own: &[(&'a str, &'a str)]) -> BTreeMap<&'a str, &'a str> {
    let base = [
        ("KEYPLANE_APP", app),
        ("KEYPLANE_KV_URL", store),
        ("KEYPLANE_GRPC_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_ADMIN_ADDR", "127.0.0.1:0"),
        ("KEYPLANE_DRAIN_DELAY", "0s"),
    ];
    base.iter().chain(own).copied().collect()
}

/// Connection to a gRPC server, made at the first call.
///
/// # Panics
///
/// Outside of a tokio runtime.
#[must_use]
pub fn channel(addr: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{addr}")).expect("an address is a URL's authority").connect_lazy()
}

/// Waits until the service whose admin port is at `admin` is ready.
///
/// # Panics
///
/// After 20 s, with the reason that `/readyz` gives.
#[track_caller]
pub fn ready(admin: SocketAddr) -> impl Future<Output = ()> {
    let url = format!("http://{admin}/readyz");
    eventually("the service is ready", PATIENCE, async move || {
        let response = reqwest::get(&url).await.map_err(|error| error.to_string())?;
        if response.status().is_success() { Ok(()) } else { Err(response.text().await.unwrap_or_default()) }
    })
}

/// Checks the code, reason and domain of a status, and returns its details.
///
/// # Panics
///
/// One of them differs from the expected.
#[track_caller]
pub fn details(status: &Status, code: Code, reason: &str) -> ErrorDetails {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "keyplane.dev"));
    details
}

/// Fields that an INVALID_ARGUMENT names, in its order.
///
/// # Panics
///
/// The status is another one, or has no field.
#[track_caller]
#[must_use]
pub fn violated(status: &Status) -> Vec<String> {
    let details = details(status, Code::InvalidArgument, "INVALID_REQUEST");
    let violations = &details.bad_request().expect("a BadRequest").field_violations;
    violations.iter().map(|violation| violation.field.clone()).collect()
}
