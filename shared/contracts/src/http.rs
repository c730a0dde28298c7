//! The JSON routes: every `google.api.http` rule in the descriptor set, with additional bindings.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

use crate::FILE_DESCRIPTOR_SET;
use crate::google::api::HttpRule;
use crate::google::api::http_rule::Pattern;

/// One route to one RPC.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The RPC that the route serves.
    pub method: MethodDescriptor,
    /// The HTTP method, e.g. `PATCH`.
    pub verb: &'static str,
    /// Path template of the rule, e.g. `/v1/{session.name=tenants/*/users/*/sessions/*}:update`.
    pub template: String,
    /// The path in OpenAPI's spelling, e.g. `/v1/tenants/{tenant}/users/{user}/sessions:revokeAll`.
    pub path: String,
    /// Variables of the path, in order, e.g. `tenant`, `user`.
    pub variables: Vec<String>,
    /// Request fields that the path binds, in proto spelling, e.g. `session.name`.
    pub bound: Vec<String>,
    /// Request field that the HTTP body fills: empty for none, `*` for all that the path does not bind.
    pub body: String,
    /// 0 for the rule itself, from 1 for its additional bindings.
    pub index: usize,
}

/// Routes of all services, in the order of the protos.
///
/// # Panics
///
/// Panics if the protos hold a rule without a pattern; a test of this crate excludes it.
#[must_use]
pub fn bindings() -> Vec<Binding> {
    all().to_vec()
}

/// Routes, read once.
fn all() -> &'static [Binding] {
    static ALL: OnceLock<Vec<Binding>> = OnceLock::new();
    ALL.get_or_init(read_all)
}

fn read_all() -> Vec<Binding> {
    let pool = pool();
    let http = pool.get_extension_by_name("google.api.http").expect("the protos import google.api.http");
    let mut bindings = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        if !options.has_extension(&http) {
            continue;
        }
        let Value::Message(rule) = options.get_extension(&http).into_owned() else {
            unreachable!("google.api.http is a message");
        };
        let rule: HttpRule = rule.transcode_to().expect("both come from the same proto");
        let rules = std::iter::once(&rule).chain(&rule.additional_bindings);
        bindings.extend(rules.enumerate().map(|(index, rule)| Binding::new(&method, rule, index)));
    }
    bindings
}

/// Descriptor set, decoded once.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("build.rs encoded the set"))
}

// === impl Binding ===

impl Binding {
    fn new(method: &MethodDescriptor, rule: &HttpRule, index: usize) -> Binding {
        let (verb, template) = match rule.pattern.as_ref().expect("a rule has a pattern") {
            Pattern::Get(path) => ("GET", path),
            Pattern::Put(path) => ("PUT", path),
            Pattern::Post(path) => ("POST", path),
            Pattern::Delete(path) => ("DELETE", path),
            Pattern::Patch(path) => ("PATCH", path),
        };
        let mut binding = Binding {
            method: method.clone(),
            verb,
            template: template.clone(),
            path: String::new(),
            variables: Vec::new(),
            bound: Vec::new(),
            body: rule.body.clone(),
            index,
        };
        binding.read(template);
        binding
    }

    /// Reports whether the RPC streams Server-Sent Events.
    pub(crate) fn streams_events(&self) -> bool {
        self.method.is_server_streaming() && self.method.output().full_name() == "google.api.HttpBody"
    }

    /// The RPC's path on the wire, e.g. `/keyplane.session.v1.SessionService/GetSession`.
    #[must_use]
    pub fn grpc_path(&self) -> String {
        format!("/{}/{}", self.method.parent_service().full_name(), self.method.name())
    }

    /// Returns whether the gateway asks callers for a token: for all RPCs but RFC 7009's, whose token is in the body.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        self.grpc_path() != "/keyplane.revocation.v1.RevocationService/RevokeOAuthToken"
    }

    /// Field that the header If-Match stands for, `version` or `etag`; `None` if the RPC rejects the header.
    ///
    /// PATCH writes the resource with this field, and DELETE of the same URL removes it.
    #[must_use]
    pub fn if_match(&self) -> Option<&'static str> {
        let is_patch = |other: &&Binding| {
            let is_same = other.grpc_path() == self.grpc_path() || (self.verb == "DELETE" && other.path == self.path);
            other.verb == "PATCH" && is_same
        };
        let patch = all().iter().find(is_patch)?;
        let request = patch.method.input();
        let body = request.get_field_by_name(&patch.body).and_then(|field| field.kind().as_message().cloned());
        let messages: Vec<_> = std::iter::once(request).chain(body).collect();
        let has = |name: &&str| messages.iter().any(|message| message.get_field_by_name(name).is_some());
        ["version", "etag"].into_iter().find(has)
    }

    /// Reads a template such as `/v1/{session.name=tenants/*/users/*}:update`.
    fn read(&mut self, template: &str) {
        let mut rest = template;
        while let Some((literal, variable)) = rest.split_once('{') {
            self.path.push_str(literal);
            let (variable, after) = variable.split_once('}').expect("a brace that opens closes");
            let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
            self.bound.push(field.to_owned());
            let mut collection = None;
            for (place, segment) in pattern.split('/').enumerate() {
                if place > 0 {
                    self.path.push('/');
                }
                if segment.starts_with('*') {
                    let name = collection.map_or_else(|| field.to_owned(), singular);
                    self.path.push_str(&format!("{{{name}}}"));
                    self.variables.push(name);
                } else {
                    self.path.push_str(segment);
                }
                collection = Some(segment);
            }
            rest = after;
        }
        self.path.push_str(rest);
    }
}

/// `tenants` to `tenant`, `policies` to `policy`, `indexes` to `index`.
fn singular(collection: &str) -> String {
    if let Some(stem) = collection.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let ends_in_es = ["xes", "sses", "ches"].iter().any(|end| collection.ends_with(end));
    collection.strip_suffix(if ends_in_es { "es" } else { "s" }).unwrap_or(collection).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{bindings, singular};

    #[test]
    fn templates_become_paths() {
        let bindings = bindings();
        let routes: Vec<_> = bindings.iter().map(|binding| format!("{} {}", binding.verb, binding.path)).collect();
        for route in [
            "POST /v1/tenants/{tenant}/users/{user}/sessions",
            "PATCH /v1/tenants/{tenant}/users/{user}/sessions/{session}",
            "POST /v1/tenants/{tenant}/users/{user}/sessions/{session}:update",
            "POST /v1/tenants/{tenant}/users/{user}/sessions:revokeAll",
            "GET /v1/tenants/{tenant}/users/{user}/sessions:watch",
            "POST /v1/tenants/{tenant}:revokeSubject",
            "POST /v1/tenants/{tenant}/revocations/{revocation}:undo",
            "POST /v1/tenants/{tenant}/oauth2/revoke",
        ] {
            assert!(routes.iter().any(|found| found == route), "{route} is not among {routes:?}");
        }
    }

    #[test]
    fn no_two_routes_are_the_same() {
        let mut routes: Vec<_> = bindings().iter().map(|binding| (binding.verb, binding.path.clone())).collect();
        let all = routes.len();
        routes.sort();
        routes.dedup();
        assert_eq!(routes.len(), all);
    }

    #[test]
    fn collections_become_variables() {
        assert_eq!(singular("tenants"), "tenant");
        assert_eq!(singular("policies"), "policy");
        assert_eq!(singular("indexes"), "index");
    }
}
