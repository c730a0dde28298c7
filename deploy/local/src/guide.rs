//! Text that `cargo up` prints once the mesh is ready.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{Endpoints, Options};

const SESSION: &str = "keyplane.session.v1.SessionService";
const REVOCATION: &str = "keyplane.revocation.v1.RevocationService";
const LIMITS: &str = "keyplane.ratelimit.v1.RateLimitService";
const SEARCH: &str = "keyplane.search.v1.SearchService";
/// Collection of the examples.
const PARTNERS: &str = "tenants/demo/collections/partners";
/// Service of rate-limiting that Envoy calls.
const ENVOY_LIMITS: &str = "envoy.service.ratelimit.v3.RateLimitService";
/// Tenant of the examples.
const TENANT: &str = "tenants/demo";
/// User of the examples.
const USER: &str = "tenants/demo/users/ada";
/// Header option, in double quotes so that the shell expands the variable.
const TOKEN: &str = r#"-H "authorization: Bearer $TOKEN""#;
const JSON: &str = "-H 'content-type: application/json' -d";

// === impl Endpoints ===

impl Endpoints {
    /// Text for people: addresses, and commands to copy, which work unchanged in this order.
    ///
    /// Each command is one line, indented by two spaces, that starts with `TOKEN=`, `curl` or `grpcurl`.
    #[must_use]
    pub fn guide(&self) -> String {
        let mut text = String::from("\nkeyplane is up\n\n");
        let mut line = |line: &str| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{line}");
        };
        if let (Some(gateway), Some(openapi)) = (&self.gateway, &self.openapi) {
            line(&format!("  {:<15} {gateway}   (OpenAPI: {openapi})", "gateway"));
        }
        for (name, service) in &self.services {
            line(&format!("  {name:<15} {}   (metrics, health: {})", service.grpc, service.admin));
        }
        line(&format!("  {:<15} {}", "valkey", self.valkey));
        line(&format!("  {:<15} {}", "logs", self.folder));
        line(&format!("  {:<15} {}   (edit it; changes apply within two seconds)", "limits", self.policies));
        for (name, lack) in &self.unavailable {
            line(&format!("\n{name} is unavailable: {lack}; or start without --valkey-url"));
        }
        let searches = !self.unavailable.contains_key("search");
        let check = claims_to_check(&self.token);
        if let (Some(gateway), Some(example)) = (&self.gateway, &self.example) {
            line("\ntoken for the gateway; the second command mints one for any user (--help)\n");
            line(&format!("  TOKEN={}", self.token));
            line(&format!("  TOKEN=$(cargo up token --tenant demo --user ada --ttl 1h{})", self.run_dir_option()));
            line("\nJSON: create a session, read one, update it, watch it (Ctrl-C ends the watch)\n");
            json_lines(gateway, example).iter().for_each(|command| line(&format!("  {command}")));
            line("\nrate limit of 100000 tokens an hour: spend 60000 (the second run is denied), then explain it\n");
            limit_lines(gateway).iter().for_each(|command| line(&format!("  {command}")));
            if searches {
                line("\nsearch: create a collection, write two partners, find one in spite of typos, with facets\n");
                search_lines(gateway).iter().for_each(|command| line(&format!("  {command}")));
            }
            line("\nrevocation: check the printed token, revoke your own, then see it rejected\n");
            revocation_lines(gateway, example, &json!({"claims": check}).to_string())
                .iter()
                .for_each(|command| line(&format!("  {command}")));
        }
        line("\ngRPC: list services, describe one, check health, read or create a session, watch the user's\n");
        let commands = grpc_lines(&self.service("session").grpc, self.example.as_deref());
        commands.iter().for_each(|command| line(&format!("  {command}")));
        line("\nbetween services: check a token, charge a limit, and the gateway's own rate limit call\n");
        let revocation = &self.service("auth-revocation").grpc;
        line(&format!(
            "  {}",
            grpc_call(revocation, REVOCATION, "Check", &json!({"parent": TENANT, "claims": check}).to_string())
        ));
        let commands = grpc_limit_lines(&self.service("rate-limiting").grpc);
        commands.iter().for_each(|command| line(&format!("  {command}")));
        if searches {
            line("\nsearch over gRPC: describe the service, list the collections\n");
            let commands = grpc_search_lines(&self.service("search").grpc);
            commands.iter().for_each(|command| line(&format!("  {command}")));
        }
        line("\nCtrl-C stops everything");
        text
    }

    /// Text for programs: one line of JSON.
    pub(crate) fn json(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["pid"] = std::process::id().into();
        value.to_string()
    }

    /// Option that names the folder, unless it is the default.
    fn run_dir_option(&self) -> String {
        let is_default = Options::default_folder().display().to_string() == self.folder;
        if is_default { String::new() } else { format!(" --run-dir '{}'", self.folder) }
    }
}

fn json_lines(gateway: &str, example: &str) -> [String; 4] {
    let session = format!("{gateway}/v1/{example}");
    let new = r#"{"companyId":"c-7","lastPath":"/tasks"}"#;
    [
        format!("curl -s -X POST {gateway}/v1/{USER}/sessions {TOKEN} {JSON} '{new}'"),
        format!("curl -s {session} {TOKEN}"),
        format!(r#"curl -s -X PATCH '{session}?updateMask=lastPath' {TOKEN} {JSON} '{{"lastPath":"/tasks/42"}}'"#),
        format!("curl -sN {session}:watch {TOKEN}"),
    ]
}

fn limit_lines(gateway: &str) -> [String; 2] {
    let call = |verb: &str, body: &str| {
        format!("curl -s -X POST {gateway}/v1/{TENANT}/rateLimits:{verb} {TOKEN} {JSON} '{body}'")
    };
    [
        call("acquire", r#"{"user":"ada","limits":["llm-tokens"],"cost":60000}"#),
        call("explain", r#"{"user":"ada","limits":["llm-tokens"]}"#),
    ]
}

fn search_lines(gateway: &str) -> [String; 4] {
    let fields = json!([
        {"name": "name", "type": "TYPE_TEXT", "weight": 2},
        {"name": "country", "type": "TYPE_TAG", "facet": true},
        {"name": "employees", "type": "TYPE_INTEGER", "sortable": true},
    ]);
    let document = |id: &str, name: &str, country: &str, employees: u32| json!({"documentId": id, "fields": {"name": name, "country": country, "employees": employees}});
    let documents = [document("c-1", "Cloud Services AG", "DE", 420), document("c-2", "Cloudberry Farm", "SE", 12)];
    let search = json!({
        "query": "clould servises", "filter": "employees >= 100", "highlight": {}, "facets": [{"field": "country"}],
    });
    let post = |path: &str, body: &Value| format!("curl -s -X POST '{gateway}/v1/{path}' {TOKEN} {JSON} '{body}'");
    [
        post(&format!("{TENANT}/collections?collectionId=partners"), &json!({ "fields": fields })),
        post(&format!("{PARTNERS}/documents:batchUpsert"), &json!({ "documents": documents })),
        post(&format!("{PARTNERS}/documents:search"), &search),
        format!("curl -s '{gateway}/v1/{PARTNERS}/documents:search?query=cloud&orderBy=employees%20desc' {TOKEN}"),
    ]
}

fn grpc_search_lines(grpc: &str) -> [String; 2] {
    [
        format!("grpcurl -plaintext {grpc} describe {SEARCH}"),
        grpc_call(grpc, SEARCH, "ListCollections", &json!({ "parent": TENANT }).to_string()),
    ]
}

fn revocation_lines(gateway: &str, example: &str, check: &str) -> [String; 3] {
    [
        format!("curl -s -X POST {gateway}/v1/{TENANT}:check {TOKEN} {JSON} '{check}'"),
        format!(r#"curl -s -X POST {gateway}/v1/{TENANT}/oauth2/revoke -d "token=$TOKEN""#),
        format!("curl -s {gateway}/v1/{example} {TOKEN}"),
    ]
}

fn grpc_lines(grpc: &str, example: Option<&str>) -> [String; 5] {
    let call = |body: &str, method: &str| grpc_call(grpc, SESSION, method, body);
    [
        format!("grpcurl -plaintext {grpc} list"),
        format!("grpcurl -plaintext {grpc} describe {SESSION}"),
        format!("grpcurl -plaintext {grpc} grpc.health.v1.Health/Check"),
        match example {
            Some(example) => call(&format!(r#"{{"name":"{example}"}}"#), "GetSession"),
            None => call(&format!(r#"{{"parent":"{USER}"}}"#), "CreateSession"),
        },
        call(&format!(r#"{{"name":"{USER}"}}"#), "WatchSessions"),
    ]
}

fn grpc_limit_lines(grpc: &str) -> [String; 2] {
    let acquire = json!({"parent": TENANT, "user": "ada", "limits": ["llm-tokens"], "cost": 1200});
    let entries = json!([{"key": "tenant", "value": "demo"}, {"key": "user", "value": "ada"}]);
    let request = json!({"domain": "keyplane", "descriptors": [{"entries": entries}]});
    [
        grpc_call(grpc, LIMITS, "Acquire", &acquire.to_string()),
        grpc_call(grpc, ENVOY_LIMITS, "ShouldRateLimit", &request.to_string()),
    ]
}

fn grpc_call(grpc: &str, service: &str, method: &str, body: &str) -> String {
    format!("grpcurl -plaintext -d '{body}' {grpc} {service}/{method}")
}

/// Claims of `token` for a `Check`; nulls if it is not a token.
fn claims_to_check(token: &str) -> Value {
    let mut parts = token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
    let mut part = || parts.next().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or(Value::Null);
    let (header, claims) = (part(), part());
    let time = |millis: u64| humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string();
    json!({
        "issuer": claims["iss"], "jti": claims["jti"], "sid": claims["sid"], "subject": claims["sub"],
        "kid": header["kid"],
        "issueTime": time(claims["iat_ms"].as_u64().unwrap_or_default()),
        "expireTime": time(claims["exp"].as_u64().unwrap_or_default().saturating_mul(1000)),
    })
}

#[cfg(test)]
mod tests {
    use super::{JSON, PARTNERS, TOKEN};
    use crate::{Endpoints, Grant, Issuer, ServiceEndpoints};

    fn endpoints() -> Endpoints {
        let admin = "http://127.0.0.1:51051".to_owned();
        let at = |grpc: &str| ServiceEndpoints { grpc: grpc.to_owned(), admin: admin.clone(), pid: 7 };
        let folder = tempfile::tempdir().unwrap();
        let grant = Grant { jti: Some("j-1".into()), ..Grant::new("demo", "ada") };
        Endpoints {
            gateway: Some("http://127.0.0.1:8080".into()),
            openapi: Some("http://127.0.0.1:8080/openapi.json".into()),
            services: [("auth-revocation", 50052), ("rate-limiting", 50053), ("search", 50055), ("session", 50051)]
                .map(|(name, port)| (name, at(&format!("127.0.0.1:{port}"))))
                .into(),
            unavailable: [].into(),
            valkey: "valkey://127.0.0.1:6390".into(),
            folder: ".run".into(),
            policies: ".run/policies.yaml".into(),
            example: Some("tenants/demo/users/ada/sessions/0123".into()),
            token: Issuer::create(folder.path()).unwrap().mint(&grant).unwrap(),
        }
    }

    #[test]
    fn guide_has_whole_commands_to_copy() {
        let endpoints = endpoints();
        let text = endpoints.guide();
        let session = "http://127.0.0.1:8080/v1/tenants/demo/users/ada/sessions/0123";
        for line in [
            format!("TOKEN={}", endpoints.token),
            "TOKEN=$(cargo up token --tenant demo --user ada --ttl 1h --run-dir '.run')".to_owned(),
            format!(r#"curl -sN {session}:watch -H "authorization: Bearer $TOKEN""#),
            r#"curl -s -X POST http://127.0.0.1:8080/v1/tenants/demo/oauth2/revoke -d "token=$TOKEN""#.to_owned(),
            "grpcurl -plaintext 127.0.0.1:50051 list".to_owned(),
            format!(
                "curl -s 'http://127.0.0.1:8080/v1/{PARTNERS}/documents:search?query=cloud&orderBy=employees%20desc' {TOKEN}"
            ),
            format!(
                "curl -s -X POST http://127.0.0.1:8080/v1/tenants/demo/rateLimits:explain {TOKEN} {JSON} '{}'",
                r#"{"user":"ada","limits":["llm-tokens"]}"#
            ),
        ] {
            assert!(text.contains(&format!("\n  {line}\n")), "{line} is not in {text}");
        }
        assert!(text.contains("\n  limits          .run/policies.yaml "), "{text}");
        // The command that revokes the token comes after all that need it.
        let last = text.rfind("rateLimits:").unwrap();
        assert!(last < text.find("oauth2/revoke").unwrap(), "{text}");
        let asks = text.lines().find(|line| line.ends_with("v3.RateLimitService/ShouldRateLimit")).unwrap();
        assert!(asks.starts_with("  grpcurl -plaintext -d '{") && asks.contains(" 127.0.0.1:50053 "), "{asks}");
        let check = text.lines().find(|line| line.ends_with("RevocationService/Check")).unwrap();
        assert!(check.contains(r#""jti":"j-1""#) && check.contains(r#""subject":"ada""#), "{check}");
        // A revoked key shows in these checks only if they name the key.
        let kids = text.matches(&format!(r#""kid":"{}""#, kid(&endpoints.token))).count();
        assert_eq!(kids, 2, "{text}");
    }

    #[test]
    fn unavailable_service_is_named_and_has_no_commands() {
        let lack = "the store's engine lacks FT.CREATE".to_owned();
        let text = Endpoints { unavailable: [("search", lack)].into(), ..endpoints() }.guide();
        let note = "\nsearch is unavailable: the store's engine lacks FT.CREATE; or start without --valkey-url\n";
        assert!(text.contains(note), "{text}");
        assert!(!text.contains("SearchService") && !text.contains("documents:search"), "{text}");
        assert!(text.contains("rateLimits:explain"), "{text}");
    }

    fn kid(token: &str) -> String {
        jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
    }

    #[test]
    fn json_is_one_line() {
        let line = endpoints().json();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["services"]["session"]["grpc"], "127.0.0.1:50051");
        assert_eq!(value["pid"], std::process::id());
        assert_eq!(value["token"].as_str().unwrap().split('.').count(), 3);
    }
}
