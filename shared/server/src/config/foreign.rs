//! Variables that are meant for other programs.

/// Prefixes of the tools around the services: they may be set anywhere and mean nothing here.
const TOOLS: [&str; 9] = [
    "KEYPLANE_TOOLBOX",
    "KEYPLANE_VALKEY_SERVER",
    "KEYPLANE_VALKEY_MODULES",
    "KEYPLANE_ENVOY",
    "KEYPLANE_BUF",
    "KEYPLANE_CHROMIUM",
    "KEYPLANE_TEST_",
    "KEYPLANE_LOCAL_",
    "KEYPLANE_BENCH_",
];

/// Reports whether `name` is a setting that some service should read.
///
/// Kubernetes puts `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT=tcp://...` and the like into every pod, for each service
/// of the namespace. They would break all pods of a release called `keyplane`.
pub(crate) fn is_ours(name: &str, value: &str) -> bool {
    name.starts_with("KEYPLANE_") && !TOOLS.iter().any(|tool| name.starts_with(tool)) && !is_service_link(name, value)
}

fn is_service_link(name: &str, value: &str) -> bool {
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    let part_of_port = name.rsplit_once("_PORT_").is_some_and(|(_, rest)| {
        let (port, rest) = rest.split_once('_').unwrap_or((rest, ""));
        port.bytes().all(|byte| byte.is_ascii_digit()) && (rest.starts_with("TCP") || rest.starts_with("UDP"))
    });
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && address)
        || part_of_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_kubernetes_are_not_settings() {
        for (name, value) in [
            ("KEYPLANE_SESSION_SERVICE_HOST", "10.0.0.7"),
            ("KEYPLANE_SESSION_SERVICE_PORT", "50051"),
            ("KEYPLANE_SESSION_SERVICE_PORT_GRPC", "50051"),
            ("KEYPLANE_SESSION_PORT", "tcp://10.0.0.7:50051"),
            ("KEYPLANE_SESSION_PORT_50051_TCP", "tcp://10.0.0.7:50051"),
            ("KEYPLANE_SESSION_PORT_50051_TCP_ADDR", "10.0.0.7"),
            ("KEYPLANE_TOOLBOX", "/opt/toolbox"),
            ("PATH", "/bin"),
        ] {
            assert!(!is_ours(name, value), "{name}");
        }
        assert!(is_ours("KEYPLANE_GRPC_PORT", "50051"));
        assert!(is_ours("KEYPLANE_DRIAN_DELAY", "5s"));
    }
}
