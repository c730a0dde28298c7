//! Services of the mesh. A new one needs an entry here, and routes in `deploy/envoy/gateway.yaml`.

use std::path::Path;
use std::process::ExitCode;

use keyplane_server::ServiceInfo;

use crate::endpoints::Addresses;
use crate::{Issuer, Options, policies};

/// Service and its program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) info: &'static ServiceInfo,
    pub(crate) main: fn() -> ExitCode,
    /// Prefix of the service's own settings; other services reject them as unknown.
    pub(crate) prefix: &'static str,
    /// Whether the mesh also starts on an engine that lacks the service's commands; its calls then fail.
    pub(crate) optional: bool,
    /// Settings that follow from the mesh.
    pub(crate) settings: fn(&Surroundings<'_>) -> Vec<(&'static str, String)>,
}

/// Parts of the mesh that a service's settings refer to.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) services: &'a [Addresses],
    /// File of the issuer's public keys.
    pub(crate) keys: &'a Path,
    /// File of the rate limit policies.
    pub(crate) policies: &'a Path,
    /// Options of the mesh.
    pub(crate) options: &'a Options,
}

/// All services, in the order of their start.
pub(crate) const SERVICES: &[Service] = &[
    Service {
        info: &keyplane_auth_revocation::SERVICE,
        main: keyplane_auth_revocation::main,
        prefix: "KEYPLANE_REVOCATION_",
        optional: false,
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
        optional: false,
        settings: |mesh| {
            vec![
                (policies::SETTING, mesh.policies.display().to_string()),
                // A debug build on a busy machine needs more than production's 8 ms; the gateway waits longer than this.
                mesh.or_default("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "400ms"),
            ]
        },
    },
    Service {
        info: &keyplane_session::SERVICE,
        main: keyplane_session::main,
        prefix: "KEYPLANE_SESSION_",
        optional: false,
        settings: |mesh| vec![("KEYPLANE_SESSION_REVOCATION_URL", mesh.url(&keyplane_auth_revocation::SERVICE))],
    },
    Service {
        info: &keyplane_search::SERVICE,
        main: keyplane_search::main,
        prefix: "KEYPLANE_SEARCH_",
        // A Valkey of one's own needs no search module for the other services.
        optional: true,
        // A page token outlives a restart.
        settings: |mesh| vec![mesh.or_default("KEYPLANE_SEARCH_CURSOR_KEY", "for this machine alone")],
    },
];

/// Finds a service by name.
pub(crate) fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.info.name == name)
}

/// Names of all services, for people.
pub(crate) fn names() -> String {
    SERVICES.iter().map(|service| service.info.name).collect::<Vec<_>>().join(", ")
}

// === impl Service ===

impl Service {
    /// Returns whether a setting belongs to another service.
    pub(crate) fn is_foreign(&self, setting: &str) -> bool {
        SERVICES.iter().any(|other| other.prefix != self.prefix && setting.starts_with(other.prefix))
    }
}

// === impl Surroundings ===

impl Surroundings<'_> {
    /// Setting as given, or else `default`.
    fn or_default(&self, name: &'static str, default: &str) -> (&'static str, String) {
        let given = self.options.setting(name).map(|given| given.to_string_lossy().into_owned());
        (name, given.unwrap_or_else(|| default.to_owned()))
    }

    /// gRPC URL of a service; empty if the mesh lacks it.
    fn url(&self, info: &ServiceInfo) -> String {
        let service = self.services.iter().find(|at| at.info.name == info.name);
        service.map(|at| format!("http://{}", at.grpc)).unwrap_or_default()
    }
}
