//! Fields that the path binds, and calls that skip the guard.

use super::*;

/// Sends each bound field of each route in the query, in each spelling.
#[tokio::test]
async fn query_never_overrides_the_path() {
    let caller = Caller::of(mesh());
    for binding in bindings().into_iter().filter(|binding| binding.needs_token()) {
        for field in &binding.bound {
            let camel = field.replace("tenant_plan", "tenantPlan");
            let encoded = field.replacen('n', "%6e", 1);
            for name in [field, &camel, &encoded] {
                let path = format!("{}?{name}=tenants/other/users/x", path(&binding));
                let body = (!binding.body.is_empty()).then_some("{}");
                let verb = Method::from_bytes(binding.verb.as_bytes()).unwrap();
                let (status, error) = caller.call(verb, &path, body).await;
                let rule = "the path of the URL sets this field; remove it from the query";
                assert_eq!((status, violations(&error)), (400, vec![format!("{camel}: {rule}")]), "{path}");
            }
        }
    }
}

/// Sends a text field of each body in the query, in each spelling.
#[tokio::test]
async fn query_never_overrides_the_body() {
    let caller = Caller::of(mesh());
    let mut tried = 0;
    // Its fields come in the query of another route.
    let has_route_without_body = |binding: &Binding| {
        bindings().iter().any(|other| other.body.is_empty() && other.grpc_path() == binding.grpc_path())
    };
    for binding in bindings().into_iter().filter(|binding| binding.needs_token() && !binding.body.is_empty()) {
        if has_route_without_body(&binding) {
            continue;
        }
        let request = binding.method.input();
        let is_unbound_text = |field: &prost_reflect::FieldDescriptor| {
            field.kind() == prost_reflect::Kind::String
                && !field.is_list()
                && !binding.bound.contains(&field.name().to_owned())
        };
        let (field, top) = if binding.body == "*" {
            let Some(field) = request.fields().find(is_unbound_text) else { continue };
            (field.name().to_owned(), field.json_name().to_owned())
        } else {
            let body = request.get_field_by_name(&binding.body).unwrap();
            let kind = body.kind();
            let mut inner = kind.as_message().unwrap().fields();
            let field = inner.find(|field| field.name() != "name" && is_unbound_text(field)).unwrap();
            (format!("{}.{}", body.name(), field.name()), body.json_name().to_owned())
        };
        for name in [field.clone(), field.replacen('e', "%65", 1)] {
            let path = format!("{}?{name}=tenants", path(&binding));
            let verb = Method::from_bytes(binding.verb.as_bytes()).unwrap();
            let (status, error) = caller.call(verb, &path, Some("{}")).await;
            let rule = "this field belongs in the body; remove it from the query";
            assert_eq!((status, violations(&error)), (400, vec![format!("{top}: {rule}")]), "{path}");
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

/// If-Match reaches each method over JSON.
#[tokio::test]
async fn if_match_is_rejected_where_it_has_no_effect() {
    let caller = Caller::of(mesh());
    let session = "/v1/tenants/acme/users/u-42/sessions/0123456789abcdef0123456789abcdef";
    for (verb, path) in [
        (Method::POST, format!("{session}:touch")),
        (Method::POST, format!("{session}:rotate")),
        (Method::POST, "/v1/tenants/acme/users/u-42/sessions:revokeAll".to_owned()),
        (Method::GET, session.to_owned()),
        (Method::PATCH, "/v1/tenants/acme/plan".to_owned()),
    ] {
        let request = caller.client.request(verb.clone(), format!("{}{path}", caller.url)).header("if-match", "\"3\"");
        let response = request.send().await.unwrap();
        let (status, error) = (response.status().as_u16(), response.json().await.unwrap());
        let rule = "if-match: not supported: this method takes no version or etag";
        assert_eq!((status, violations(&error)), (400, vec![rule.to_owned()]), "{verb} {path}");
    }
}

/// Covers the body of a GET, which the transcoder would read.
#[tokio::test]
async fn body_never_overrides_the_path() {
    let caller = Caller::of(mesh());
    // The guard checks it as the body of the other route.
    let has_route_with_body = |binding: &Binding| {
        bindings().iter().any(|other| other.body == "*" && other.grpc_path() == binding.grpc_path())
    };
    for binding in bindings().into_iter().filter(|binding| binding.needs_token()) {
        let verb = Method::from_bytes(binding.verb.as_bytes()).unwrap();
        let inside = format!("{}.", binding.body);
        let (field, body) = match binding.body.as_str() {
            "" if has_route_with_body(&binding) => ("parent".to_owned(), json!({"parent": "tenants/other"})),
            "" => ("body".to_owned(), json!({"parent": "tenants/other", "name": "tenants/other"})),
            "*" => match binding.bound.first() {
                Some(field) => (field.clone(), json!({field: "tenants/other"})),
                None => continue,
            },
            _ => match binding.bound.iter().find_map(|field| field.strip_prefix(&inside)) {
                Some(field) => (format!("{}.{field}", binding.body), json!({field: "tenants/other"})),
                None => continue,
            },
        };
        let (status, error) = caller.call(verb, &path(&binding), Some(&body.to_string())).await;
        let violations = violations(&error);
        let field = field.replace("tenant_plan", "tenantPlan");
        assert_eq!((status, violations.len()), (400, 1), "{} {error}", binding.path);
        assert!(violations[0].starts_with(&format!("{field}: ")), "{}: {violations:?}", binding.path);
    }
}

/// Sends what a GET returned, name and output-only fields included.
#[tokio::test]
async fn answer_of_a_get_can_be_patched_back() {
    let caller = Caller::of(mesh());
    let policy = r#"{"entries":[{"key":"tenant"}],"limit":{"amount":5,"period":"60s"}}"#;
    let (status, policy) = caller.post("/v1/policies?policyId=round@trip", policy).await;
    assert_eq!(status, 200, "{policy}");
    let (status, session) = caller.post("/v1/tenants/acme/users/round@trip/sessions", r#"{"lastPath":"/"}"#).await;
    assert_eq!(status, 200, "{session}");
    let (status, plan) = caller.call(Method::PATCH, "/v1/tenants/round/plan", Some(r#"{"plan":"gold"}"#)).await;
    assert_eq!(status, 200, "{plan}");
    for made in [&session, &policy, &plan] {
        let path = format!("/v1/{}", made["name"].as_str().unwrap()).replace('@', "%40");
        for (verb, path) in [(Method::PATCH, path.clone()), (Method::POST, format!("{path}:update"))] {
            let (_, read) = caller.call(Method::GET, path.trim_end_matches(":update"), None).await;
            let (status, answer) = caller.call(verb.clone(), &path, Some(&read.to_string())).await;
            assert_eq!((status, &answer["name"]), (200, &made["name"]), "{verb} {path}: {answer}");
            let mut other = read.clone();
            other["name"] = json!(format!("{}x", read["name"].as_str().unwrap()));
            let (status, error) = caller.call(verb, &path, Some(&other.to_string())).await;
            assert_eq!((status, violations(&error).len()), (400, 1), "{path}: {error}");
        }
    }
}

/// Uses a stand-in for the services, to see their headers.
#[tokio::test]
async fn original_path_header_comes_from_the_transcoder_only() {
    let gate = Gate::start("guard-forged");
    let client = http(&gate.token());
    eventually("the gateway reaches the services", PATIENCE, async || {
        let sent =
            client.get(format!("{}{SESSIONS}", gate.url)).header("x-envoy-original-path", "/v1/forged").send().await;
        let paths: Vec<String> = gate
            .peer
            .take_others()
            .iter()
            .map(|(_, headers)| {
                assert_eq!(headers.get_all("x-envoy-original-path").iter().count(), 1);
                headers["x-envoy-original-path"].to_str().unwrap().to_owned()
            })
            .collect();
        if paths == [SESSIONS] { Ok(()) } else { Err(format!("{paths:?} {sent:?}")) }
    })
    .await;
    let mut call = tonic::client::Grpc::new(gate.channel());
    call.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    request.metadata_mut().insert("authorization", support::bearer(&gate.token()).parse().unwrap());
    request.metadata_mut().insert("x-envoy-original-path", "/v1/tenants/acme".parse().unwrap());
    let list = "/keyplane.session.v1.SessionService/ListSessions".parse().unwrap();
    let status =
        call.unary(request, list, tonic_prost::ProstCodec::<(), ()>::default()).await.map(|_: tonic::Response<()>| ());
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented, "the stand-in lacks the service");
    let seen = gate.peer.take_others();
    assert!(
        seen.iter().all(|(_, headers)| !headers.contains_key("x-envoy-original-path")) && !seen.is_empty(),
        "{seen:?}"
    );
}

#[tokio::test]
async fn grpc_on_a_json_route_is_rejected() {
    let gate = Gate::start("guard-grpc");
    let status = support::grpc(&gate.channel(), SESSIONS, Some(&gate.token())).await;
    assert!(status.is_err(), "a GET route");
    let request =
        http(&gate.token()).post(format!("{}{SESSIONS}", gate.url)).header("content-type", "application/grpc");
    let response = request.body("{}").send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["grpc-status"]), (200, &"12".parse().unwrap()));
    assert!(!gate.passed());
}

/// Callers without a token and requests without a body cost the guard nothing.
#[tokio::test]
async fn guard_checks_only_bodies_of_authenticated_callers() {
    let gate = Gate::start("guard-calls");
    let calls = || {
        let stats = gate.envoy.admin_get("/stats?filter=^cluster.guard.upstream_rq_total$").unwrap();
        stats.trim().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let url = format!("{}{SESSIONS}", gate.url);
    let client = http(&gate.token());
    let post = |client: &Client| client.post(&url).body(r#"{"x":1}"#).send();
    eventually("the guard answers", PATIENCE, async || {
        let status = post(&client).await.unwrap().status();
        if status == 400 { Ok(()) } else { Err(status) }
    })
    .await;
    let before = calls();
    assert_eq!(post(&Client::new()).await.unwrap().status(), 401);
    client.get(&url).send().await.unwrap();
    client.post(format!("{url}/0123456789abcdef0123456789abcdef:touch")).send().await.unwrap();
    assert_eq!(calls(), before);
    assert_eq!(post(&client).await.unwrap().status(), 400);
    assert_eq!(calls(), before + 1);
}
