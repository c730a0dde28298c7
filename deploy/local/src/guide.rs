//! What `cargo up` prints when all is ready.

use std::fmt::Write;

use crate::Endpoints;

const SERVICE: &str = "keyplane.session.v1.SessionService";
/// The user of the examples.
const USER: &str = "tenants/demo/users/ada";

// === impl Endpoints ===

impl Endpoints {
    /// What `cargo up` prints: where everything is, and command lines to copy that work as they are. Each of these is
    /// one line, indented by two spaces, that starts with `curl` or `grpcurl`.
    #[must_use]
    pub fn guide(&self) -> String {
        let mut text = String::from("\nkeyplane is up\n\n");
        let mut line = |line: &str| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{line}");
        };
        if let (Some(gateway), Some(openapi)) = (&self.gateway, &self.openapi) {
            line(&format!("  gateway   {gateway}   (OpenAPI: {openapi})"));
        }
        for (name, service) in &self.services {
            line(&format!("  {name:<9} {}   (metrics, health: {})", service.grpc, service.admin));
        }
        line(&format!("  valkey    {}", self.valkey));
        line(&format!("  logs      {}", self.folder));
        if let (Some(gateway), Some(example)) = (&self.gateway, &self.example) {
            line("\nover JSON: create a session, read one, change it, watch it (Ctrl-C ends the watch)\n");
            json_lines(gateway, example).iter().for_each(|command| line(&format!("  {command}")));
        }
        line("\nover gRPC: what there is, is it well, then create or read a session, and watch the user's\n");
        let commands = grpc_lines(&self.service("session").grpc, self.example.as_deref());
        commands.iter().for_each(|command| line(&format!("  {command}")));
        line("\nCtrl-C stops everything");
        text
    }

    /// The same for programs: one line of JSON.
    pub(crate) fn json(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["pid"] = std::process::id().into();
        value.to_string()
    }
}

fn json_lines(gateway: &str, example: &str) -> [String; 4] {
    let json = "-H 'content-type: application/json' -d";
    let session = format!("{gateway}/v1/{example}");
    [
        format!(r#"curl -s -X POST {gateway}/v1/{USER}/sessions {json} '{{"companyId":"c-7","lastPath":"/tasks"}}'"#),
        format!("curl -s {session}"),
        format!(r#"curl -s -X PATCH '{session}?updateMask=lastPath' {json} '{{"lastPath":"/tasks/42"}}'"#),
        format!("curl -sN {session}:watch"),
    ]
}

fn grpc_lines(grpc: &str, example: Option<&str>) -> [String; 5] {
    let call = |body: &str, method: &str| format!("grpcurl -plaintext -d '{body}' {grpc} {SERVICE}/{method}");
    [
        format!("grpcurl -plaintext {grpc} list"),
        format!("grpcurl -plaintext {grpc} describe {SERVICE}"),
        format!("grpcurl -plaintext {grpc} grpc.health.v1.Health/Check"),
        match example {
            Some(example) => call(&format!(r#"{{"name":"{example}"}}"#), "GetSession"),
            None => call(&format!(r#"{{"parent":"{USER}"}}"#), "CreateSession"),
        },
        call(&format!(r#"{{"name":"{USER}"}}"#), "WatchSessions"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{Endpoints, ServiceEndpoints};

    fn endpoints() -> Endpoints {
        let admin = "http://127.0.0.1:51051".to_owned();
        let session = ServiceEndpoints { grpc: "127.0.0.1:50051".to_owned(), admin, pid: 7 };
        Endpoints {
            gateway: Some("http://127.0.0.1:8080".into()),
            openapi: Some("http://127.0.0.1:8080/openapi.json".into()),
            services: [("session", session)].into(),
            valkey: "valkey://127.0.0.1:6390".into(),
            folder: ".run".into(),
            example: Some("tenants/demo/users/ada/sessions/0123".into()),
        }
    }

    #[test]
    fn the_guide_has_whole_lines_to_copy() {
        let text = endpoints().guide();
        assert!(
            text.contains("  curl -sN http://127.0.0.1:8080/v1/tenants/demo/users/ada/sessions/0123:watch\n"),
            "{text}"
        );
        assert!(text.contains("  grpcurl -plaintext 127.0.0.1:50051 list\n"), "{text}");
    }

    #[test]
    fn json_is_one_line() {
        let line = endpoints().json();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["services"]["session"]["grpc"], "127.0.0.1:50051");
        assert_eq!(value["pid"], std::process::id());
    }
}
