//! Requests for every RPC, and the matching routes of the gateway.

use keyplane_contracts::http::{Binding, bindings};
use regex::Regex;
use serde_json::Value;

/// Paths of every RPC of the services behind the gateway.
pub fn rpcs() -> Vec<String> {
    let services = bindings().into_iter().map(|binding| binding.method.parent_service().clone());
    let methods = services.flat_map(|service| service.methods().collect::<Vec<_>>());
    let paths = methods.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()));
    paths.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Example path of a binding.
pub fn path(binding: &Binding) -> String {
    binding.variables.iter().fold(binding.path.clone(), |path, name| {
        let value = match name.as_str() {
            "tenant" => "acme",
            "user" => "urn:bob%40x.com",
            "session" => "0123456789abcdef0123456789abcdef",
            "revocation" => "t0123456789abcdef0123456789abcdef",
            "policy" => "urn:chat",
            "collection" => "companies",
            "document" => "urn:c-7",
            _ => "any",
        };
        path.replace(&format!("{{{name}}}"), value)
    })
}

// === routes as Envoy parsed them ===

/// Matching routes in order, without direct responses.
pub fn matching<'a>(routes: &'a [Value], path: &str, headers: &[(&str, &str)]) -> Vec<&'a Value> {
    let leads = |route: &&Value| !route["direct_response"].is_object() && matches(&route["match"], path, headers);
    routes.iter().filter(leads).collect()
}

fn matches(rule: &Value, path: &str, headers: &[(&str, &str)]) -> bool {
    let path_matches = if let Some(prefix) = rule["prefix"].as_str() {
        path.starts_with(prefix)
    } else if let Some(exact) = rule["path"].as_str() {
        path == exact
    } else {
        full_match(rule["safe_regex"]["regex"].as_str().unwrap(), path)
    };
    let rules = rule["headers"].as_array().cloned().unwrap_or_default();
    path_matches && rules.iter().all(|rule| header_matches(rule, headers))
}

fn header_matches(rule: &Value, headers: &[(&str, &str)]) -> bool {
    let Some((_, value)) = headers.iter().find(|(name, _)| rule["name"] == *name) else { return false };
    let text = &rule["string_match"];
    let exact = text["exact"].as_str().is_none_or(|exact| exact == *value);
    let prefix = text["prefix"].as_str().is_none_or(|prefix| value.starts_with(prefix));
    let regex = text["safe_regex"]["regex"].as_str().is_none_or(|regex| full_match(regex, value));
    exact && prefix && regex
}

fn full_match(regex: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(text)
}

/// Cluster of a binding: `session` for `keyplane.session.v1.SessionService`.
pub fn cluster(binding: &Binding) -> String {
    binding.method.parent_service().full_name().split('.').nth(1).unwrap().to_owned()
}
