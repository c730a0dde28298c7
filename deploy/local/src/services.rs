//! The services of the mesh. A new one is a line here; its routes are in `deploy/envoy/gateway.yaml`.

use std::process::ExitCode;

use keyplane_server::ServiceInfo;

/// A service, and the program that it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) info: &'static ServiceInfo,
    pub(crate) main: fn() -> ExitCode,
}

/// All of them, in the order in which they are started.
pub(crate) const SERVICES: &[Service] = &[Service { info: &keyplane_session::SERVICE, main: keyplane_session::main }];

/// The service called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.info.name == name)
}

/// Their names, for people.
pub(crate) fn names() -> String {
    SERVICES.iter().map(|service| service.info.name).collect::<Vec<_>>().join(", ")
}
