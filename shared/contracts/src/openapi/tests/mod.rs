use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::document;

mod rules;

const SESSION: &str = "/v1/tenants/{tenant}/users/{user}/sessions/{session}";
const SESSIONS: &str = "/v1/tenants/{tenant}/users/{user}/sessions";

fn parameters(operation: &Value) -> Vec<(&str, &str)> {
    let parameters = operation["parameters"].as_array().expect("parameters");
    parameters.iter().map(|item| (item["in"].as_str().unwrap(), item["name"].as_str().unwrap())).collect()
}

/// Calls `visit` with every object in the document.
fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(path, map);
            map.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), visit));
        }
        Value::Array(items) => items.iter().for_each(|value| walk(value, path, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn update_binds_path_query_and_body() {
    let document = document(&[]);
    let update = &document["paths"][SESSION]["patch"];
    let expected = [
        ("path", "tenant"),
        ("path", "user"),
        ("path", "session"),
        ("query", "updateMask"),
        ("query", "version"),
        ("query", "removeAttributes"),
        ("header", "If-Match"),
    ];
    assert_eq!(parameters(update), expected);
    assert_eq!(update["parameters"][6]["schema"]["pattern"], r#"^("[0-9]{1,9}"|\*)$"#);
    assert_eq!(update["parameters"][3]["schema"]["type"], "string");
    let version = json!({"type": "integer", "format": "int32", "minimum": 0, "maximum": i32::MAX});
    assert_eq!(update["parameters"][4]["schema"], version);
    let key = json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"});
    assert_eq!(update["parameters"][5]["schema"], json!({"type": "array", "items": key, "maxItems": 64}));
    let schema = &update["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/SessionPatch");
}

#[test]
fn bodies_of_a_whole_request_leave_out_what_the_path_binds() {
    let document = document(&[]);
    let revoke = &document["paths"][format!("{SESSIONS}:revokeAll")]["post"];
    let schema = &revoke["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/RevokeAllSessionsBody");
    let body = &document["components"]["schemas"]["RevokeAllSessionsBody"];
    assert_eq!(body["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["keepSession", "revokeTokens"]);
    assert_eq!(document["paths"][format!("{SESSION}:touch")]["post"].get("requestBody"), None);
}

#[test]
fn fields_are_described_and_typed() {
    let document = document(&[]);
    let session = &document["components"]["schemas"]["Session"]["properties"];
    assert_eq!(session["createTime"]["format"], "date-time");
    assert_eq!(session["attributes"]["additionalProperties"], json!({"type": "string"}));
    assert_eq!(session["idleTimeout"]["type"], "string");
    assert_eq!(session["tokens"]["items"]["$ref"], "#/components/schemas/BoundToken");
    assert!(session["lastPath"]["description"].as_str().unwrap().starts_with("Path that the user visited last."));
    assert_eq!(document["components"]["schemas"]["BoundToken"]["required"], json!(["jti", "issuer", "expireTime"]));
}

#[test]
fn what_callers_send_and_what_they_get_have_schemas_of_their_own() {
    let document = document(&[]);
    let properties = |name: &str| &document["components"]["schemas"][name]["properties"];
    assert!(properties("Session")["createTime"].is_object() && properties("SessionInput")["createTime"].is_null());
    assert!(
        properties("SessionInput")["idleTimeout"].is_object() && properties("SessionPatch")["idleTimeout"].is_null()
    );
    assert!(properties("PolicyPatch")["entries"].is_null() && properties("PolicyPatch")["limit"].is_object());
    assert_eq!(properties("Limit")["amount"]["type"], "string");
    assert_eq!(properties("LimitInput")["amount"]["type"], "integer");
    let required = |name: &str| document["components"]["schemas"][name]["required"].clone();
    assert_eq!(required("PolicyInput"), json!(["entries", "limit"]));
    assert_eq!(required("PolicyPatch"), Value::Null);
    assert!(required("Session").as_array().unwrap().contains(&json!("createTime")));
    assert!(!required("Session").as_array().unwrap().contains(&json!("device")));
}

#[test]
fn a_body_is_required_where_the_service_asks_for_one() {
    let document = document(&[]);
    let required = |path: &str, verb: &str| document["paths"][path][verb]["requestBody"]["required"].clone();
    assert_eq!(required("/v1/policies", "post"), true);
    assert_eq!(required(SESSIONS, "post"), false);
    assert_eq!(required("/v1/tenants/{tenant}:check", "post"), true);
    assert_eq!(required("/v1/tenants/{tenant}/oauth2/revoke", "post"), true);
}

#[test]
fn each_operation_says_what_token_it_takes() {
    let document = document(&[]);
    let security = |path: &str, verb: &str| document["paths"][path][verb]["security"].clone();
    assert_eq!(security(SESSION, "patch"), json!([{"bearer": []}]));
    assert_eq!(security(SESSION, "get"), json!([{"bearer": []}, {"cookie": []}]));
    assert_eq!(security("/v1/tenants/{tenant}:check", "post"), json!([{"bearer": []}]));
    assert_eq!(security("/v1/tenants/{tenant}/oauth2/revoke", "post"), json!([]));
    for name in ["bearer", "cookie"] {
        assert!(document["components"]["securitySchemes"][name].is_object(), "{name}");
    }
}

#[test]
fn a_token_is_revoked_by_form_or_json() {
    let document = document(&[]);
    let revoke = &document["paths"]["/v1/tenants/{tenant}/oauth2/revoke"]["post"];
    assert_eq!(parameters(revoke), [("path", "tenant")]);
    let content = revoke["requestBody"]["content"].as_object().unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), ["application/json", "application/x-www-form-urlencoded"]);
    for body in content.values() {
        assert_eq!(body["schema"]["required"], json!(["token"]));
        assert_eq!(body["schema"]["properties"]["token"]["type"], "string");
    }
    assert!(document["components"]["schemas"].get("HttpBody").is_none(), "nobody sends one");
}

#[test]
fn event_streams_are_text() {
    let document = document(&[]);
    let watch = &document["paths"][format!("{SESSIONS}:watch")]["get"];
    assert!(watch["responses"]["200"]["content"]["text/event-stream"].is_object());
    assert!(parameters(watch).contains(&("header", "Last-Event-ID")));
    assert!(parameters(watch).contains(&("query", "after")));
    let event = &document["components"]["schemas"]["SessionEvent"];
    assert_eq!(event["required"], json!(["id", "type", "time"]));
    assert_eq!(event["properties"]["session"]["$ref"], "#/components/schemas/PartialSession");
    assert!(document["components"]["schemas"]["StreamError"].is_object());
}

#[test]
fn deleting_answers_an_empty_object() {
    let document = document(&[]);
    let schema = &document["paths"][SESSION]["delete"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(schema, &json!({"type": "object"}));
}

#[test]
fn every_operation_has_one_name_and_the_error_shape() {
    let document = document(&[]);
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{verb} {path}: not unique");
            assert!(!operation["description"].as_str().unwrap().is_empty(), "{verb} {path}: no description");
            let oauth = path.ends_with("/oauth2/revoke");
            let error = if oauth { "#/components/schemas/OAuthError" } else { "#/components/schemas/ApiError" };
            for (status, response) in operation["responses"].as_object().unwrap() {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                assert!(status == "200" || schema == error, "{verb} {path} {status}: {schema}");
            }
        }
    }
    assert!(ids.iter().all(|id| !id.contains(|letter: char| letter.is_ascii_digit())), "{ids:?}");
    for id in [
        "CreateSession",
        "UpdateSession",
        "UpdateSessionByPost",
        "StreamSessionEvents",
        "StreamSessionEventsOfUser",
        "ListRateLimitAuditEntries",
        "ListRevocationAuditEntries",
    ] {
        assert!(ids.contains(id), "{id} is not among {ids:?}");
    }
}

#[test]
fn nothing_is_composed_and_every_reference_resolves() {
    let document = document(&[]);
    walk(&document, "", &mut |path, map| {
        for word in ["oneOf", "anyOf", "allOf"] {
            assert!(!map.contains_key(word), "{path} is composed");
        }
        if let Some(name) = map.get("$ref").and_then(Value::as_str) {
            assert_eq!(map.len(), 1, "{path}: what stands beside $ref is ignored");
            assert!(document.pointer(&name[1..]).is_some(), "{path}: {name} is missing");
        }
        if let Some(properties) = map.get("properties").and_then(Value::as_object)
            && map.get("type").is_some_and(|kind| kind == "object")
        {
            for (name, schema) in properties {
                assert!(schema.get("type").is_some() || schema.get("$ref").is_some(), "{path}/{name} has no type");
            }
        }
    });
}

#[test]
fn the_document_is_deterministic_and_names_the_servers() {
    let servers = ["http://localhost:8080".to_owned()];
    assert_eq!(document(&servers).to_string(), document(&servers).to_string());
    assert_eq!(document(&servers)["servers"], json!([{"url": "http://localhost:8080"}]));
    assert_eq!(document(&[])["servers"], json!([{"url": "/"}]));
}
