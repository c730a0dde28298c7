//! The OpenAPI 3.0.3 document of the JSON routes, made from the descriptor set, the [rules](crate::rules) and the examples beside
//! the protos.
//!
//! Flat enough for low-code importers (OutSystems): every field is typed, nothing is composed (`oneOf`, `allOf`), enums and errors
//! are named schemas.

mod behavior;
mod comments;
mod error;
mod examples;
mod oauth;
mod operation;
mod parameters;
mod schema;
mod well_known;

use serde_json::{Map, Value, json};

use crate::http::bindings;
use comments::comment;
use schema::Schemas;

/// Message that a stream of events holds.
const EVENT: &str = "keyplane.session.v1.SessionEvent";

/// Builds the document. Equal protos and `servers` give equal documents.
///
/// `servers` are base URLs such as `http://localhost:8080`, the preferred one first; none means the address that
/// the document was read from.
#[must_use]
pub fn document(servers: &[String]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    let mut tags = Map::new();
    for binding in bindings() {
        let service = binding.method.parent_service();
        let tag = json!({"name": service.name(), "description": comment(&service.parent_file(), service.path())});
        tags.insert(service.name().to_owned(), tag);
        let path = paths.entry(binding.path.clone()).or_insert_with(|| json!({}));
        path[binding.verb.to_lowercase()] = operation::operation(&binding, &mut schemas);
    }
    let servers: Vec<_> = servers.iter().map(|url| json!({"url": url})).collect();
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Keyplane",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The JSON routes of a platform's in-memory data plane. Each is one RPC, served by the gateway. \
                Numbers of 64 bits are printed as strings, and taken as numbers or as strings; none that callers send is \
                above 2^53.",
            "contact": {"name": "Keyplane", "url": "https://keyplane.dev"},
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "servers": if servers.is_empty() { vec![json!({"url": "/"})] } else { servers },
        "tags": tags.into_iter().map(|(_, tag)| tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": {"schemas": schemas.into_map(), "securitySchemes": oauth::security_schemes()},
    })
}

#[cfg(test)]
mod tests;
