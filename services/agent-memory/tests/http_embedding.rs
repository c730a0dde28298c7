//! Embedder over HTTP, against a small server that speaks the embeddings API.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use keyplane_agent_memory::domain::{Space, SpaceId};
use keyplane_agent_memory::peers::embed::{Declaration, EmbedError, Embedder, Endpoint, Purpose, Source};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(20);

/// Requests that the server got: each with its key.
type Requests = Arc<Mutex<Vec<(Option<String>, Value)>>>;

/// Server that answers the request number `n`, from 0, with `answer(n, body)`.
struct Server {
    url: String,
    requests: Requests,
}

// === impl Server ===

impl Server {
    async fn start<F: Future<Output = Response> + Send>(
        answer: impl Fn(usize, Value) -> F + Clone + Send + Sync + 'static,
    ) -> Server {
        let requests = Requests::default();
        let seen = requests.clone();
        let handle = async move |headers: HeaderMap, body: String| {
            let body: Value = serde_json::from_str(&body).unwrap();
            let key = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push((key, body.clone()));
                seen.len() - 1
            };
            answer(number, body).await
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/embeddings", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/embeddings", post(handle));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { url, requests }
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Vectors of two dimensions: the length of the text, and 1.
fn vectors(body: &Value) -> Response {
    let row =
        |(index, text): (usize, &Value)| json!({ "index": index, "embedding": [text.as_str().unwrap().len(), 1] });
    let rows: Vec<Value> = body["input"].as_array().unwrap().iter().enumerate().map(row).rev().collect();
    json!({ "data": rows, "usage": { "prompt_tokens": rows.len() } }).to_string().into_response()
}

fn space() -> Space {
    let id = SpaceId::parse("remote").unwrap();
    Space { id, model: "model-2".to_owned(), dimension: 2, query_prefix: "query: ".to_owned(), ..Space::minilm() }
}

fn embedder(url: &str, key_file: Option<PathBuf>) -> Embedder {
    let endpoint = Endpoint { url: url.to_owned(), key_file, send_dimensions: true };
    Embedder::open(&[Declaration { space: space(), source: Source::Http(endpoint) }], 1, LIMIT).unwrap()
}

async fn embed(embedder: &Embedder, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let embeddings = embedder.embed(&space().id, Purpose::Passage, &texts).await?;
    assert!(embeddings.iter().all(|embedding| embedding.sketch.is_none()));
    Ok(embeddings.into_iter().map(|embedding| embedding.vector).collect())
}

#[tokio::test]
async fn request_has_model_key_and_prefix_and_vectors_keep_the_order() {
    let server = Server::start(async |_, body| vectors(&body)).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "secret\n").unwrap();
    let embedder = embedder(&server.url, Some(key.clone()));
    assert_eq!(embed(&embedder, &["", "a"]).await.unwrap(), [[0.0, 1.0], [0.5_f32.sqrt(), 0.5_f32.sqrt()]]);
    std::fs::write(&key, "newer").unwrap();
    embedder.embed(&space().id, Purpose::Query, &["a".to_owned()]).await.unwrap();
    let requests = server.requests.lock().unwrap();
    let body = json!({ "model": "model-2", "input": ["", "a"], "encoding_format": "float", "dimensions": 2 });
    assert_eq!(requests[0], (Some("Bearer secret".to_owned()), body));
    assert_eq!(requests[1].0.as_deref(), Some("Bearer newer"), "a new key needs no restart");
    assert_eq!(requests[1].1["input"], json!(["query: a"]));
}

#[tokio::test]
async fn many_texts_take_several_requests() {
    let server = Server::start(async |_, body| vectors(&body)).await;
    let texts: Vec<String> = (0..150).map(|length| "x".repeat(length)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = embed(&embedder(&server.url, None), &texts).await.unwrap();
    assert!(vectors.windows(2).all(|pair| pair[0][0] < pair[1][0]), "in the order of the texts");
    assert_eq!((vectors.len(), server.count()), (150, 3));
}

#[tokio::test]
async fn busy_endpoint_is_asked_again() {
    let busy = async |number, body: Value| match number {
        0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
        _ => vectors(&body),
    };
    let server = Server::start(busy).await;
    assert_eq!(embed(&embedder(&server.url, None), &[""]).await.unwrap(), [[0.0, 1.0]]);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn endpoint_that_stays_busy_fails_after_four_attempts() {
    let server = Server::start(async |_, _| StatusCode::BAD_GATEWAY.into_response()).await;
    let error = embed(&embedder(&server.url, None), &[""]).await.unwrap_err().to_string();
    assert!(error.contains("502"), "{error}");
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn refusal_is_final_and_names_the_mend() {
    for (status, part) in
        [(StatusCode::UNAUTHORIZED, "key file"), (StatusCode::NOT_FOUND, "URL"), (StatusCode::BAD_REQUEST, "model")]
    {
        let server = Server::start(move |_, _| async move { (status, "private text").into_response() }).await;
        let error = embed(&embedder(&server.url, None), &[""]).await.unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(status.as_str()) && !error.contains("private"), "{error}");
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn silent_endpoint_fails_within_the_callers_deadline() {
    let server = Server::start(async |_, _| std::future::pending().await).await;
    let embedder = embedder(&server.url, None);
    let deadline = tokio::time::Instant::now() + Duration::from_millis(300);
    let error = keyplane_deadline::scope(deadline, embed(&embedder, &[""])).await.unwrap_err();
    assert!(error.to_string().contains("did not answer"), "{error}");
    assert!(tokio::time::Instant::now() <= deadline + Duration::from_secs(1));
}

#[tokio::test]
async fn wrong_dimension_missing_server_and_missing_key_are_named() {
    let server =
        Server::start(async |_, _| json!({ "data": [{ "index": 0, "embedding": [1] }] }).to_string().into_response())
            .await;
    let error = embed(&embedder(&server.url, None), &[""]).await.unwrap_err().to_string();
    assert!(error.contains("1 dimensions") && error.contains('2'), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}/v1/embeddings", listener.local_addr().unwrap());
    drop(listener);
    let error = embed(&embedder(&gone, None), &[""]).await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("refused"), "{error}");

    let error = embed(&embedder(&server.url, Some("/nowhere/key".into())), &[""]).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/key"), "{error}");
}

#[test]
fn url_of_another_scheme_is_rejected_at_the_start() {
    for (url, part) in [("ftp://host/", "http://"), ("/v1/embeddings", "no host"), ("http://a b/", "not valid")] {
        let endpoint = Endpoint { url: url.to_owned(), key_file: None, send_dimensions: false };
        let declaration = Declaration { space: space(), source: Source::Http(endpoint) };
        let error = Embedder::open(&[declaration], 1, LIMIT).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("remote"), "{error}");
    }
}
