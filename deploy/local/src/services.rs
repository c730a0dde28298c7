//! The services of the mesh. A new one is a line here; its routes are in `deploy/envoy/gateway.yaml`.

use std::path::Path;
use std::process::ExitCode;

use keyplane_server::ServiceInfo;

use crate::endpoints::Addresses;
use crate::{Issuer, Options, policies};

/// A service, and the program that it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) info: &'static ServiceInfo,
    pub(crate) main: fn() -> ExitCode,
    /// What the names of its own settings start with: the others would refuse them as unknown.
    pub(crate) prefix: &'static str,
    /// Settings that follow from the mesh.
    pub(crate) settings: fn(&Surroundings<'_>) -> Vec<(&'static str, String)>,
}

/// What a service of the mesh may have to know of the rest.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) services: &'a [Addresses],
    /// The issuer's public keys.
    pub(crate) keys: &'a Path,
    /// What the limits are.
    pub(crate) policies: &'a Path,
    /// What a person has asked for.
    pub(crate) options: &'a Options,
}

/// All of them, in the order in which they are started.
pub(crate) const SERVICES: &[Service] = &[
    Service {
        info: &keyplane_auth_revocation::SERVICE,
        main: keyplane_auth_revocation::main,
        prefix: "KEYPLANE_REVOCATION_",
        settings: |mesh| {
            vec![
                ("KEYPLANE_REVOCATION_JWKS", mesh.keys.display().to_string()),
                ("KEYPLANE_REVOCATION_ISSUERS", Issuer::NAME.to_owned()),
            ]
        },
    },
    Service {
        info: &keyplane_rate_limiting::SERVICE,
        main: keyplane_rate_limiting::main,
        prefix: "KEYPLANE_RATELIMIT_",
        settings: |mesh| {
            vec![
                (policies::SETTING, mesh.policies.display().to_string()),
                // A debug build on a busy machine is not done within production's 8 ms, and would then count by itself or refuse.
                // Less than the gateway waits.
                mesh.or_else("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "400ms"),
            ]
        },
    },
    Service {
        info: &keyplane_session::SERVICE,
        main: keyplane_session::main,
        prefix: "KEYPLANE_SESSION_",
        settings: |mesh| vec![("KEYPLANE_SESSION_REVOCATION_URL", mesh.url(&keyplane_auth_revocation::SERVICE))],
    },
];

/// The service called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.info.name == name)
}

/// Their names, for people.
pub(crate) fn names() -> String {
    SERVICES.iter().map(|service| service.info.name).collect::<Vec<_>>().join(", ")
}

// === impl Service ===

impl Service {
    /// Whether a setting is another service's.
    pub(crate) fn is_foreign(&self, setting: &str) -> bool {
        SERVICES.iter().any(|other| other.prefix != self.prefix && setting.starts_with(other.prefix))
    }
}

// === impl Surroundings ===

impl Surroundings<'_> {
    /// A setting as it was given, or else as it is usual here.
    fn or_else(&self, name: &'static str, usual: &str) -> (&'static str, String) {
        let given = self.options.setting(name).map(|given| given.to_string_lossy().into_owned());
        (name, given.unwrap_or_else(|| usual.to_owned()))
    }

    /// Where a service takes calls; empty if the mesh does not have it.
    fn url(&self, info: &ServiceInfo) -> String {
        let found = self.services.iter().find(|at| at.info.name == info.name);
        found.map(|at| format!("http://{}", at.grpc)).unwrap_or_default()
    }
}
