//! OpenAPI document, held against the real gateway: each example, and values on both sides of each bound.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use keyplane_contracts::openapi;
use keyplane_local::{Grant, Mesh};
use keyplane_testkit::{OpenApi, eventually};
use reqwest::Client;
use serde_json::{Value, json};
use support::bearer::assert_oauth_error;
use support::calls::{Call, calls};
use support::variants::{Variant, variants};

const PATIENCE: Duration = Duration::from_secs(30);

/// Policies without limits, except for the calls of the examples.
const POLICIES: &str = "
policies:
  - {id: user-api, domain: keyplane, entries: [tenant, user], limit: unlimited}
  - {id: tenant-api, domain: keyplane, entries: [tenant], limit: unlimited}
  - {id: oauth2-revoke, domain: keyplane, entries: [{key: route, value: oauth2-revoke}, masked_remote_address], limit: unlimited}
  - {id: llm-tokens, entries: [tenant, user], limit: {amount: 1000000000000, per: 1h}}
";

/// Differences between document and service: a suffix of `operation field`, a part of the answer, and the reason.
const KNOWN: &[(&str, &str, &str)] = &[
    ("equence", "must be the sequence of a revocation", MADE_HERE),
    ("/reservation", "must be the reservation that Reserve returned", MADE_HERE),
    ("/charge", "must be the charge that Acquire returned", MADE_HERE),
    ("pageToken", "`nextPageToken` of a page", MADE_HERE),
    ("/token", "must be a JWT", MADE_HERE),
    ("path tenant", "returned for this tenant", OTHER_FIELD),
    ("requestId", "to be remembered under", OTHER_FIELD),
    ("/ttl", "to be remembered under", OTHER_FIELD),
    ("/user", "needs `user`, which is missing", OTHER_FIELD),
    ("/entries", "must not be given twice", OTHER_FIELD),
    ("/entries/key", "need an entry with the key tenant", OTHER_FIELD),
    ("Refund body /cost", "of this charge can still be refunded", OTHER_FIELD),
    ("/lease", "must be at most the smallest burst", OTHER_FIELD),
    ("/amount", "must be positive", OTHER_FIELD),
    ("/burst", "must leak away within", OTHER_FIELD),
    ("/mode", "takes no amount, period or burst", OTHER_FIELD),
    ("/period", "must be 1 second to 31 days", OTHER_FIELD),
    ("/tokens", "the same issuer and jti", OTHER_FIELD),
    ("path tenant", "must be a session of the same user", OTHER_FIELD),
    ("path user", "must be a session of the same user", OTHER_FIELD),
    ("/issuer", "must be set", OTHER_FIELD),
    ("/jti", "must be set", OTHER_FIELD),
    ("/attributes", "session: at most 8192 bytes", OTHER_FIELD),
    ("Timeout", "the tenant's", "the operator may set less for a tenant"),
    ("freshnessToken", "freshnessToken", MADE_HERE),
    ("pageToken", "pageToken", MADE_HERE),
    ("filter", "filter: position ", "the language of filters has no pattern"),
    ("/expireTime", "must be in the future", "OpenAPI has no bounds for times"),
    ("/documents/documentId", "must match [A-Za-z0-9._~@|:+-]{1,128}, and is empty", OTHER_FIELD),
    ("/fields", "collection partners does not exist", "an empty list is absent in an update"),
    ("/documentId", "must be empty, or the last segment of the name", OTHER_FIELD),
    ("/name", "must be a document of the collection in `parent`", OTHER_FIELD),
    ("/name", "must be empty, or the last segment of the name", OTHER_FIELD),
    ("path tenant", "must be a document of the collection in `parent`", OTHER_FIELD),
    ("path collection", "must be a document of the collection in `parent`", OTHER_FIELD),
    ("/fields", "must be unique", OTHER_FIELD),
    ("/fields", "rankBy.field", OTHER_FIELD),
    ("/fields/name", "must be unique", OTHER_FIELD),
    ("/fields/type", "must ", OTHER_FIELD),
    ("/fields/facet", "must be false", OTHER_FIELD),
    ("/rankBy/field", "must name", OTHER_FIELD),
    ("/rankBy/mode", "must ", OTHER_FIELD),
    ("/rankBy/halfLife", "must not be set", OTHER_FIELD),
    ("ields", " of the schema", SCHEMA),
    ("/facets/field", "facets[0].", SCHEMA),
    ("/facets/stats", "facets[0].", SCHEMA),
    ("/facets/ranges", "facets[0].", SCHEMA),
    ("/facets/interval", "facets[0].", SCHEMA),
    ("orderBy", "orderBy: ", SCHEMA),
];

/// Reasons why OpenAPI 3.0 can't state a rule.
const MADE_HERE: &str = "only the service can make one";
const SCHEMA: &str = "the schema of the collection decides";
const OTHER_FIELD: &str = "the rule is about another field as well";

async fn mesh(folder: &str) -> Mesh {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    Mesh::start(support::with_policies(support::options(folder), POLICIES)).await.unwrap()
}

/// Client with a token of a tenant that no example revokes.
fn client(mesh: &Mesh) -> Client {
    support::http(&mesh.issuer().mint(&Grant::new("bearer", "ada")).unwrap())
}

/// Sends `call`, and retries a 503; returns status and answer.
async fn send(mesh: &Mesh, http: &Client, call: &Call) -> (u16, String) {
    let base = mesh.endpoints().gateway.as_deref().unwrap();
    eventually("the gateway answers", PATIENCE, async || {
        let response = call.request(http, base).send().await.unwrap();
        let status = response.status().as_u16();
        let is_stream = response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let text = if is_stream { String::new() } else { response.text().await.unwrap() };
        if status == 503 { Err(text) } else { Ok((status, text)) }
    })
    .await
}

/// Calls of the examples, with handles that the service has just made.
async fn live_calls(mesh: &Mesh, http: &Client, document: &Value) -> Vec<Call> {
    let mut live = calls(document);
    // Other calls of search need the collection of the examples.
    let collection = live.iter().find(|call| call.id == "CreateCollection").expect("an example").clone();
    let (status, text) = send(mesh, http, &collection).await;
    assert_eq!(status, 200, "{text}");
    for (user, field, maker, made) in [
        ("Refund", "charge", "Acquire", "charge"),
        ("Commit", "reservation", "Reserve", "reservation"),
        ("Cancel", "reservation", "Reserve", "reservation"),
        ("WaitForPropagation", "sequence", "RevokeSession", "sequence"),
    ] {
        let mut call = live.iter().find(|call| call.id == maker).unwrap_or_else(|| panic!("no {maker}")).clone();
        if call.body.get("requestId").is_some() {
            call.body["requestId"] = json!(format!("for-{user}"));
        }
        let (status, text) = send(mesh, http, &call).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(status == 200 && answer[made].is_string(), "{maker}: {status} {text}");
        live.iter_mut().filter(|call| call.id == user).for_each(|call| call.body[field] = answer[made].clone());
    }
    live
}

/// Returns whether the request itself, or an item of it, is invalid, whatever the state of its resource.
fn is_invalid(status: u16, text: &str) -> bool {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let mut results = answer["results"].as_array().into_iter().flatten();
    let rejected = status == 400 && (answer["code"] == 3 || answer["error"] == "invalid_request");
    // The id is valid; another variant used it.
    !text.contains("REQUEST_ID_REUSED") && (rejected || results.any(|result| result["error"]["code"] == 3))
}

/// Gives each variant its own request id.
fn with_own_id(index: usize, mut variant: Variant) -> Variant {
    let id = json!(format!("v-{index}"));
    if variant.call.body.get("requestId").is_some() && !variant.field.ends_with("requestId") {
        variant.call.body["requestId"] = id;
    } else if variant.call.query.contains_key("requestId") && !variant.field.ends_with("requestId") {
        variant.call.query.insert("requestId".to_owned(), id);
    }
    variant
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_request_is_the_callers_error() {
    let mesh = mesh("document-malformed").await;
    let http = client(&mesh);
    let base = mesh.endpoints().gateway.clone().unwrap();
    let acquire = http.post(format!("{base}/v1/tenants/acme/rateLimits:acquire"));
    let requests = [
        // Invalid UTF-8, percent-encoded.
        (http.get(format!("{base}/v1/tenants/%ff/plan")), "name"),
        // The transcoder makes a map entry that no protobuf decoder accepts.
        (acquire.header("content-type", "application/json").body(r#"{"descriptors":{"a":{}}}"#), "descriptors"),
    ];
    for (request, field) in requests {
        let response = request.send().await.unwrap();
        let status = response.status();
        let error: Value = response.json().await.unwrap();
        assert_eq!((status.as_u16(), support::reason(&error).0), (400, 3), "{error}");
        let violations = &error["details"].as_array().unwrap().iter().find(|one| one["fieldViolations"].is_array());
        let violation = &violations.unwrap_or_else(|| panic!("no field is named: {error}"))["fieldViolations"][0];
        assert!(violation["field"].as_str().unwrap().starts_with(field), "{error}");
    }
    let revoke = http
        .post(format!("{base}/v1/tenants/%ff/oauth2/revoke"))
        .body("token=a")
        .header("content-type", "application/x-www-form-urlencoded");
    let response = revoke.send().await.unwrap();
    let status = response.status().as_u16();
    let error: Value = response.json().await.unwrap();
    assert_oauth_error(status, &error, 400, "invalid_request", "UTF-8");
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_accepted() {
    let (mesh, document) = (mesh("document-examples").await, openapi::document(&[]));
    let http = client(&mesh);
    for call in live_calls(&mesh, &http, &document).await {
        let (status, text) = send(&mesh, &http, &call).await;
        // The example's resource may not exist.
        assert!([200, 404, 409].contains(&status), "{}: {status} {text}", call.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn document_states_each_rule_of_the_services() {
    let (mesh, document) = (mesh("document-rules").await, openapi::document(&[]));
    let (http, api) = (client(&mesh), OpenApi::new(&document));
    let calls = live_calls(&mesh, &http, &document).await;
    let mut varied = BTreeSet::new();
    let tried = calls.iter().flat_map(|call| variants(&api, call, &mut varied)).enumerate();
    let tried: Vec<_> = tried.map(|(index, variant)| with_own_id(index, variant)).collect();
    println!("{} variants", tried.len());
    assert!(tried.len() > 1000, "only {} variants", tried.len());
    let answers = futures::stream::iter(&tried).map(async |variant| {
        let (status, text) = send(&mesh, &http, &variant.call).await;
        let at = (&variant.call.id, &variant.field, &variant.value);
        assert!(status < 500 && status != 401 && status != 429, "{at:?}: {status} {text}");
        let stated = !variant.broken.is_empty();
        (is_invalid(status, &text) != stated).then(|| {
            let (field, value, broken) = (&variant.field, &variant.value, &variant.broken);
            let kind =
                if stated { "the document forbids, and the service accepts" } else { "only the service rejects" };
            (format!("{} {field}", variant.call.id), format!("{kind}: {value} {broken:?}: {status} {text}"))
        })
    });
    let differing: Vec<_> = answers.buffer_unordered(8).filter_map(async |found| found).collect().await;
    let known = |(field, how): &(String, String)| {
        KNOWN.iter().find(|(suffix, answer, _)| field.ends_with(suffix) && how.contains(answer))
    };
    let new: Vec<_> = differing.iter().filter(|one| known(one).is_none()).collect();
    let lines: Vec<_> = new.iter().map(|(field, how)| format!("{field}: {how}")).collect();
    assert!(
        new.is_empty(),
        "{} of {}; mend the rule in shared/contracts/src/rules, or the service, or list it in KNOWN with the reason:\n{}",
        new.len(),
        tried.len(),
        lines.join("\n")
    );
    let met: BTreeSet<_> = differing.iter().filter_map(known).collect();
    let unmet: Vec<_> = KNOWN.iter().filter(|entry| !met.contains(entry)).collect();
    println!("no longer met, to be taken off the list: {unmet:?}");
}
