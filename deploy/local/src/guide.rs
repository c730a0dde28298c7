//! What `cargo up` prints when all is ready.

use std::fmt::Write;

use crate::Endpoints;

/// Endpoints, and lines to copy that work as they are.
pub(crate) fn text(endpoints: &Endpoints) -> String {
    let mut text = String::from("\nkeyplane is up\n\n");
    let mut line = |line: &str| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{line}");
    };
    let grpc = &endpoints.session.grpc;
    if let (Some(gateway), Some(openapi)) = (&endpoints.gateway, &endpoints.openapi) {
        line(&format!("  gateway   {gateway}   (OpenAPI: {openapi})"));
    }
    line(&format!("  session   {grpc}   (metrics, health: {})", endpoints.session.admin));
    line(&format!("  valkey    {}", endpoints.valkey));
    line(&format!("  logs      {}", endpoints.folder));
    if let (Some(gateway), Some(example)) = (&endpoints.gateway, &endpoints.example) {
        let session = format!("{gateway}/v1/{example}");
        line("\nover JSON: create a session, read one, change it, watch it (Ctrl-C ends the watch)\n");
        line(&format!(
            "  curl -s -X POST {gateway}/v1/tenants/demo/users/ada/sessions -H 'content-type: application/json' \
             -d '{{\"companyId\":\"c-7\",\"lastPath\":\"/tasks\"}}'"
        ));
        line(&format!("  curl -s {session}"));
        line(&format!(
            "  curl -s -X PATCH '{session}?updateMask=lastPath' -H 'content-type: application/json' \
             -d '{{\"lastPath\":\"/tasks/42\"}}'"
        ));
        line(&format!("  curl -sN {session}:watch"));
    }
    line("\nover gRPC\n");
    line(&format!("  grpcurl -plaintext {grpc} list"));
    line(&format!("  grpcurl -plaintext {grpc} describe keyplane.session.v1.SessionService"));
    line(&format!("  grpcurl -plaintext {grpc} grpc.health.v1.Health/Check"));
    match &endpoints.example {
        Some(example) => line(&format!(
            "  grpcurl -plaintext -d '{{\"name\":\"{example}\"}}' {grpc} keyplane.session.v1.SessionService/GetSession"
        )),
        None => line(&format!(
            "  grpcurl -plaintext -d '{{\"parent\":\"tenants/demo/users/ada\"}}' {grpc} \
             keyplane.session.v1.SessionService/CreateSession"
        )),
    }
    line("\nCtrl-C stops everything");
    text
}

/// The same for programs: one line of JSON.
pub(crate) fn json(endpoints: &Endpoints) -> String {
    let mut value = serde_json::to_value(endpoints).unwrap_or_default();
    value["pid"] = std::process::id().into();
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::{json, text};
    use crate::{Endpoints, ServiceEndpoints};

    fn endpoints() -> Endpoints {
        Endpoints {
            gateway: Some("http://127.0.0.1:8080".into()),
            openapi: Some("http://127.0.0.1:8080/openapi.json".into()),
            session: ServiceEndpoints {
                grpc: "127.0.0.1:50051".into(),
                admin: "http://127.0.0.1:51051".into(),
                pid: 7,
            },
            valkey: "valkey://127.0.0.1:6390".into(),
            folder: ".run".into(),
            example: Some("tenants/demo/users/ada/sessions/0123".into()),
        }
    }

    #[test]
    fn the_guide_has_whole_lines_to_copy() {
        let text = text(&endpoints());
        assert!(
            text.contains("  curl -sN http://127.0.0.1:8080/v1/tenants/demo/users/ada/sessions/0123:watch\n"),
            "{text}"
        );
        assert!(text.contains("  grpcurl -plaintext 127.0.0.1:50051 list\n"), "{text}");
    }

    #[test]
    fn json_is_one_line() {
        let line = json(&endpoints());
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["session"]["grpc"], "127.0.0.1:50051");
        assert_eq!(value["pid"], std::process::id());
    }
}
