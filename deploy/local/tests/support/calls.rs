//! Calls from the examples of the OpenAPI document.

use std::sync::Arc;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value};

/// Request to one operation.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub method: String,
    /// Path template, with variables in braces.
    pub path: String,
    pub variables: Map<String, Value>,
    pub query: Map<String, Value>,
    /// JSON body; null for none.
    pub body: Value,
    pub operation: Arc<Value>,
}

/// Examples of all operations; deletions come last.
pub fn calls(document: &Value) -> Vec<Call> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |one| (path, one)));
    let mut calls: Vec<_> = operations
        .map(|(path, (verb, operation))| {
            let examples = |place: &str| {
                let parameters = operation["parameters"].as_array().unwrap().iter();
                let here = parameters.filter(|one| one["in"] == *place && one.get("example").is_some());
                here.map(|one| (one["name"].as_str().unwrap().to_owned(), one["example"].clone())).collect()
            };
            Call {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: verb.to_uppercase(),
                path: path.clone(),
                variables: examples("path"),
                query: examples("query"),
                body: operation["requestBody"]["content"]["application/json"]["example"].clone(),
                operation: Arc::new(operation.clone()),
            }
        })
        .collect();
    calls.sort_by_key(|call| (call.id.starts_with("Delete"), call.id.clone()));
    calls
}

// === impl Call ===

impl Call {
    pub fn request(&self, http: &Client, base: &str) -> RequestBuilder {
        let mut path = self.path.clone();
        for (name, value) in &self.variables {
            path = path.replace(&format!("{{{name}}}"), &encode(&text(value)));
        }
        let pairs = self.query.iter().flat_map(|(name, value)| {
            let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
            values.iter().map(move |value| (name, text(value)))
        });
        let query: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", encode(&value))).collect();
        let url = format!("{base}{path}?{}", query.join("&"));
        let request = http.request(Method::from_bytes(self.method.as_bytes()).unwrap(), url);
        if self.body.is_null() { request } else { request.json(&self.body) }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
