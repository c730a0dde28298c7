//! Bodies that the guard rejects, each with the caller's message, and bodies that it passes.

use std::sync::OnceLock;

use keyplane_gateway::guard::Guard;
use serde_json::Value;

const CREATE: &str = "/keyplane.session.v1.SessionService/CreateSession";
const UPDATE: &str = "/keyplane.session.v1.SessionService/UpdateSession";
const ACQUIRE: &str = "/keyplane.ratelimit.v1.RateLimitService/Acquire";
const POLICY: &str = "/keyplane.ratelimit.v1.RateLimitService/CreatePolicy";
const BATCH: &str = "/keyplane.revocation.v1.RevocationService/BatchRevoke";
const UPSERT: &str = "/keyplane.search.v1.SearchService/UpsertDocument";
const BATCH_UPSERT: &str = "/keyplane.search.v1.SearchService/BatchUpsertDocuments";
/// URL of a session of `bob@x.com`.
const URL: &str = "/v1/tenants/acme/users/bob%40x.com/sessions/0123?updateMask=lastPath";

fn guard() -> &'static Guard {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    GUARD.get_or_init(|| Guard::new().unwrap())
}

fn passed(path: &str, body: &str) -> String {
    let passed = guard().check(path, URL, body.as_bytes());
    String::from_utf8(passed.unwrap_or_else(|error| panic!("{body} is rejected: {error:?}"))).unwrap()
}

/// Violations as `field: description`.
fn violations(path: &str, body: impl AsRef<[u8]>) -> Vec<String> {
    let shown = String::from_utf8_lossy(body.as_ref()).into_owned();
    let error = guard().check(path, URL, body.as_ref()).map(|_| format!("{shown} passes"));
    let error: Value = serde_json::from_str(&error.unwrap_err().expect("a guarded RPC")).unwrap();
    assert_eq!((&error["code"], &error["details"][0]["reason"]), (&3.into(), &"INVALID_REQUEST".into()), "{error}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed = error["details"][1]["fieldViolations"].as_array().unwrap();
    let listed = listed.iter().map(|listed| format!("{}: {}", text(&listed["field"]), text(&listed["description"])));
    listed.collect()
}

#[track_caller]
fn rejects(path: &str, body: impl AsRef<[u8]>, violation: &str) {
    assert_eq!(violations(path, body), [violation]);
}

#[test]
fn unknown_field_is_rejected_with_the_nearest_name() {
    rejects(ACQUIRE, r#"{"costs":50000}"#, "costs: unknown field; did you mean cost?");
    rejects(POLICY, r#"{"domian":"x"}"#, "policy.domian: unknown field; did you mean domain?");
    rejects(CREATE, r#"{"lastpath":"/"}"#, "session.lastpath: unknown field; did you mean lastPath?");
    let known = "unknown field; known are user, apiKey, route, descriptors, limits, cost, requestId, ttl";
    rejects(ACQUIRE, r#"{"nonsense":{"a":[1]}}"#, &format!("nonsense: {known}"));
    rejects(ACQUIRE, r#"{"a b\"c":1}"#, &format!(r#"["a b\"c"]: {known}"#));
    rejects(POLICY, r#"{"entries":[{"kye":"a"}]}"#, "policy.entries[0].kye: unknown field; did you mean key?");
}

#[test]
fn bound_field_repeats_the_path_or_is_rejected() {
    let rule = "the path of the URL sets this field; leave it out of the body, or repeat the path's value";
    rejects(ACQUIRE, r#"{"parent":"tenants/other"}"#, &format!("parent: {rule}"));
    rejects(UPDATE, r#"{"name":"tenants/other"}"#, &format!("session.name: {rule}"));
    assert_eq!(passed(ACQUIRE, r#"{"parent":null}"#), "{}", "null is no value");
    let name = "tenants/acme/users/bob@x.com/sessions/0123";
    assert_eq!(passed(UPDATE, &format!(r#"{{"lastPath":"/","name":"{name}"}}"#)), r#"{"lastPath":"/"}"#);
    for name in ["tenants/acme/users/bob%40x.com/sessions/0123", "tenants/acme/users/bob@x.com", ""] {
        rejects(UPDATE, format!(r#"{{"name":"{name}"}}"#), &format!("session.name: {rule}"));
    }
    rejects(UPDATE, r#"{"name":{}}"#, &format!("session.name: {rule}"));
}

#[test]
fn duplicate_is_rejected_in_either_spelling() {
    let twice = "session.lastPath: appears twice; a field may appear once, as lastPath or as last_path";
    rejects(CREATE, r#"{"lastPath":"/a","last_path":"/b"}"#, twice);
    rejects(CREATE, r#"{"lastPath":"/a","lastPath":"/a"}"#, twice);
    rejects(
        CREATE,
        r#"{"device":{"ip":"a","\u0069p":"b"}}"#,
        "session.device.ip: appears twice; a field may appear once",
    );
    let key = r#"session.attributes["a"]: appears twice; a key may appear once"#;
    rejects(CREATE, r#"{"attributes":{"a":"1","a":"2"}}"#, key);
    let one = "only one of token, session, subject, client, key, tenant may be set; session is set already";
    rejects(BATCH, r#"{"requests":[{"session":{},"token":{}}]}"#, &format!("requests[0].token: {one}"));
    assert!(passed(BATCH, r#"{"requests":[{"session":null,"token":{}}]}"#).contains("token"));
}

#[test]
fn wrong_kind_is_rejected_with_the_expected_kind() {
    rejects(CREATE, r#"{"lastPath":1}"#, "session.lastPath: must be a string; got a number");
    rejects(CREATE, r#"{"device":"x"}"#, "session.device: must be an object; got a string");
    rejects(CREATE, r#"{"tokens":{}}"#, "session.tokens: must be a list; got an object");
    rejects(CREATE, r#"{"attributes":[]}"#, "session.attributes: must be an object, each value a string; got a list");
    rejects(CREATE, r#"{"attributes":{"a":null}}"#, r#"session.attributes["a"]: must be a string; got null"#);
    rejects(ACQUIRE, r#"{"limits":["a",null]}"#, "limits[1]: must be a string; got null");
    rejects(POLICY, r#"{"postCharge":"true"}"#, "policy.postCharge: must be true or false; got a string");
    rejects(POLICY, r#"{"tenantLimits":{"a":1}}"#, r#"policy.tenantLimits["a"]: must be an object; got a number"#);
    let path = r#"policy.tenantLimits["a"].amount"#;
    let whole = "must be a whole number from -9223372036854775808 to 9223372036854775807";
    let got = [
        ("true", "a boolean"),
        (r#""x""#, "a string that is not a whole number"),
        (r#""1.5""#, "a string that is not a whole number"),
        (r#""""#, "a string that is not a whole number"),
        ("1.5", "a number with a fraction"),
        ("9223372036854775808", "a number out of this range"),
        (r#""9223372036854775808""#, "a number out of this range"),
        ("1e300", "a number out of this range"),
    ];
    for (value, got) in got {
        let body = format!(r#"{{"tenantLimits":{{"a":{{"amount":{value}}}}}}}"#);
        rejects(POLICY, body, &format!("{path}: {whole}; got {got}"));
    }
    let version = "must be a whole number from -2147483648 to 2147483647; got a number out of this range";
    rejects(CREATE, r#"{"version":2147483648}"#, &format!("session.version: {version}"));
}

#[test]
fn invalid_enum_duration_and_time_are_rejected_with_an_example() {
    let modes = "must be one of MODE_UNSPECIFIED, MODE_ENFORCE, MODE_SHADOW, MODE_UNLIMITED, MODE_BLOCK";
    for (value, got) in
        [(r#""BLOCK""#, "another string; did you mean MODE_BLOCK?"), ("true", "a boolean"), ("1.5", "a number")]
    {
        rejects(
            POLICY,
            format!(r#"{{"limit":{{"mode":{value}}}}}"#),
            &format!("policy.limit.mode: {modes}; got {got}"),
        );
    }
    let duration = r#"session.idleTimeout: must be a duration in seconds, such as "90s" or "0.5s"; got"#;
    for (value, got) in [
        ("90", "a number"),
        (r#""90""#, "another string"),
        (r#""1m""#, "another string"),
        (r#""1.0000000001s""#, "another string"),
        (r#""315576000001s""#, "another string"),
        (r#""s""#, "another string"),
        (r#""1.s""#, "another string"),
    ] {
        rejects(CREATE, format!(r#"{{"idleTimeout":{value}}}"#), &format!("{duration} {got}"));
    }
    let time = r#"session.createTime: must be a time in RFC 3339, such as "2026-01-31T12:00:00Z"; got"#;
    for value in [
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-01-31 12:00:00Z",
        "now",
        "2026-01-31T12:00:00.Z",
        "0000-01-31T12:00:00Z",
    ] {
        rejects(CREATE, format!(r#"{{"createTime":"{value}"}}"#), &format!("{time} another string"));
    }
}

#[test]
fn malformed_json_is_rejected_with_its_position() {
    let at = |line: usize, column: usize, rule: &str| {
        format!("session: must be JSON; at line {line}, column {column}: {rule}")
    };
    rejects(CREATE, "{'lastPath':'/'}", &at(1, 2, "a name must be in double quotes"));
    rejects(CREATE, r#"{lastPath:"/"}"#, &at(1, 2, "a name must be in double quotes"));
    rejects(CREATE, "{\"lastPath\":\n'/'}", &at(2, 1, "expected a value (strings need double quotes)"));
    rejects(CREATE, r#"{"lastPath":"/",}"#, &at(1, 17, "a comma must not follow the last member"));
    rejects(CREATE, r#"{"tokens":[{},]}"#, &at(1, 15, "a comma must not follow the last member"));
    rejects(CREATE, "{} x", &at(1, 4, "unexpected text after the value"));
    rejects(CREATE, r#"{"lastPath":"/"#, &at(1, 14, "unexpected end"));
    rejects(CREATE, " ", &at(1, 1, "unexpected end"));
    rejects(CREATE, b"{\"lastPath\":\"\xff\"}", "session: must be UTF-8; byte 14 is invalid");
    let deep = |depth: usize| format!(r#"{{"lastPath":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    rejects(CREATE, deep(100), "session.lastPath: must be a string; got a list");
    assert_eq!(violations(CREATE, "[".repeat(100_000)).len(), 2, "no stack is exhausted");
    for (body, got) in
        [("null", "null"), ("[]", "a list"), ("1", "a number"), ("\"{}\"", "a string"), ("true", "a boolean")]
    {
        rejects(CREATE, body, &format!("session: must be an object; got {got}"));
        rejects(ACQUIRE, body, &format!("body: must be an object; got {got}"));
    }
    rejects("/keyplane.session.v1.SessionService/GetSession", "{}", "body: is not allowed on this route; leave it out");
}

#[test]
fn all_violations_are_reported_at_once_and_many_are_counted() {
    let body = r#"{"costs":1,"limits":{},"parent":"x","user":1,"user":"a"}"#;
    assert_eq!(violations(ACQUIRE, body).len(), 5);
    let many: String = (0..1000).map(|number| format!("{{\"x{number}\":1}},")).collect();
    let body = format!(r#"{{"entries":[{}]}}"#, many.trim_end_matches(','));
    let error = guard().check(POLICY, URL, body.as_bytes()).unwrap_err().unwrap();
    assert!(error.contains("; and 980 more\"") && error.len() < 8192, "{} bytes: {error}", error.len());
}

#[test]
fn proto_json_passes_in_canonical_form() {
    let cases = [
        (CREATE, "", ""),
        (CREATE, " {} ", "{}"),
        (CREATE, r#"{"last_path":"\u002fa","device":null}"#, r#"{"lastPath":"/a"}"#),
        (CREATE, r#"{"device":null,"lastPath":"/a"}"#, r#"{"lastPath":"/a"}"#),
        (CREATE, r#"{"attributes":{"a":"","b":"\u0000é😀"}}"#, r#"{"attributes":{"a":"","b":"\u0000é😀"}}"#),
        (CREATE, r#"{"version":"7"}"#, r#"{"version":7}"#),
        (CREATE, r#"{"idleTimeout":"1.50s"}"#, r#"{"idleTimeout":"1.500s"}"#),
        (CREATE, r#"{"createTime":"2026-01-31t13:00:00.5+01:00"}"#, r#"{"createTime":"2026-01-31T12:00:00.500Z"}"#),
        (ACQUIRE, r#"{"cost":60000,"limits":["a" , "b"]}"#, r#"{"cost":"60000","limits":["a","b"]}"#),
        (ACQUIRE, r#"{"cost":6e4}"#, r#"{"cost":"60000"}"#),
        (ACQUIRE, r#"{"cost":-0}"#, r#"{"cost":"0"}"#),
        (ACQUIRE, r#"{"cost":"-9223372036854775808"}"#, r#"{"cost":"-9223372036854775808"}"#),
        (POLICY, r#"{"limit":{"mode":4}}"#, r#"{"limit":{"mode":4}}"#),
        (POLICY, r#"{"tenantLimits":{"a":{}}}"#, r#"{"tenantLimits":{"a":{}}}"#),
    ];
    for (path, body, expected) in cases {
        assert_eq!(passed(path, body), expected, "{body}");
    }
}

#[test]
fn other_paths_are_not_guarded() {
    for path in ["/keyplane.revocation.v1.RevocationService/RevokeOAuthToken", "/v1/tenants/acme/users/u/sessions", ""]
    {
        assert_eq!(guard().check(path, URL, b"token=x"), Err(None), "{path}");
    }
}

#[test]
fn values_of_a_document_keep_their_form() {
    for body in [
        r#"{"fields":{}}"#,
        r#"{"fields":{"a":null,"b":[true,[],{}],"c":{"":"x","é":-1.5},"d":9007199254740991,"e":1e300}}"#,
        r#"{"documentId":"d-1","fields":{"a":0.1},"sourceVersion":7.0}"#,
    ] {
        assert_eq!(passed(UPSERT, body), body.replace("1e300", "1e+300"));
    }
}

#[test]
fn value_that_would_change_on_its_way_is_rejected() {
    let rule =
        "must be a whole number between -2^53 and 2^53, both excluded, since JSON rounds others; send it as a string";
    rejects(UPSERT, r#"{"fields":{"id":9007199254740992}}"#, &format!("document.fields.id: {rule}"));
    let body = r#"{"documents":[{},{"fields":{"a":[1,{"b c":-9223372036854775808}]}}]}"#;
    rejects(BATCH_UPSERT, body, &format!(r#"documents[1].fields.a[1]["b c"]: {rule}"#));
    let twice = "document.fields.a: appears twice; a field may appear once";
    rejects(UPSERT, r#"{"fields":{"a":1,"\u0061":2}}"#, twice);
    rejects(UPSERT, r#"{"fields":[1]}"#, "document.fields: must be an object; got a list");
    rejects(UPSERT, r#"{"fields":"a"}"#, "document.fields: must be an object; got a string");
}

#[test]
fn deep_value_is_rejected() {
    let nested = |levels: usize| format!(r#"{{"fields":{{"a":{}1{}}}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(passed(UPSERT, &nested(31)), nested(31));
    let at = format!("document.fields.a{}", "[0]".repeat(31));
    let rule = "must have at most 32 levels of lists and objects";
    for levels in [32, 1000] {
        rejects(UPSERT, nested(levels), &format!("{at}: {rule}"));
    }
}
