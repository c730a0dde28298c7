//! Methods that this process serves, with their kinds. They bound every label and span name.

use std::collections::HashMap;
use std::sync::Arc;

use keyplane_contracts::http;
use keyplane_telemetry::semconv::RPC_METHOD_OTHER;
use prost::Message as _;
use prost_reflect::MessageDescriptor;
use prost_types::FileDescriptorSet;

use crate::ServiceInfo;

/// Services that come with the kit: exempt from load shedding and deadlines, and not traced.
const BUILT_IN: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// Method, as the layers see it.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    /// Full name without the leading slash; `_OTHER` for unknown methods.
    pub(crate) name: Arc<str>,
    /// Kind of answer: a stream.
    pub(crate) streams: bool,
    /// Kind of stream: `google.api.HttpBody`, bytes for browsers.
    pub(crate) streams_text: bool,
    /// Origin: the kit itself.
    pub(crate) built_in: bool,
    /// Request fields that the path or the body of its JSON routes sets; those of the path come first.
    pub(crate) bound: Vec<BoundField>,
    /// True if If-Match has a meaning. True for methods that this process doesn't serve.
    pub(crate) is_conditional: bool,
}

/// Request field, such as `tenant_plan.name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundField {
    /// Path in JSON spelling: `tenantPlan.name`.
    pub(crate) json: String,
    /// Names along the path, in proto and in JSON spelling.
    pub(crate) names: Vec<[String; 2]>,
    /// Rule that the field breaks in a query.
    pub(crate) rule: &'static str,
}

const PATH_RULE: &str = "the path of the URL sets this field; remove it from the query";
const BODY_RULE: &str = "this field belongs in the body; remove it from the query";

/// Methods by path.
#[derive(Debug)]
pub(crate) struct Methods {
    by_path: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

// === impl Methods ===

impl Methods {
    /// Methods of the service and of the kit, as their descriptor sets declare them.
    pub(crate) fn read(info: &ServiceInfo) -> Result<Self, prost::DecodeError> {
        let kit = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut by_path: HashMap<String, Method> = HashMap::new();
        for encoded in info.descriptor_sets().chain(kit) {
            for file in FileDescriptorSet::decode(encoded)?.file {
                for service in &file.service {
                    let full = format!("{}.{}", file.package(), service.name());
                    let built_in = BUILT_IN.contains(&full.as_str());
                    if !built_in && !info.grpc_services.contains(&full.as_str()) {
                        continue;
                    }
                    for method in &service.method {
                        let name: Arc<str> = format!("{full}/{}", method.name()).into();
                        let streams = method.server_streaming();
                        let streams_text = streams && method.output_type() == ".google.api.HttpBody";
                        let (bound, is_conditional) = (Vec::new(), built_in);
                        let method = Method { name, streams, streams_text, built_in, bound, is_conditional };
                        by_path.insert(format!("/{}", method.name), method);
                    }
                }
            }
        }
        let bindings = http::bindings();
        // The same fields come in the query of another route: SearchDocuments by GET.
        let has_route_without_body =
            |path: &str| bindings.iter().any(|binding| binding.body.is_empty() && binding.grpc_path() == path);
        for binding in &bindings {
            let Some(method) = by_path.get_mut(&binding.grpc_path()) else { continue };
            let request = binding.method.input();
            let in_body: Vec<String> = match binding.body.as_str() {
                "" => Vec::new(),
                "*" if has_route_without_body(&binding.grpc_path()) => Vec::new(),
                "*" => request.fields().map(|field| field.name().to_owned()).collect(),
                field => vec![field.to_owned()],
            };
            let in_path = binding.bound.iter().map(|path| (path, PATH_RULE));
            for (path, rule) in in_path.chain(in_body.iter().map(|path| (path, BODY_RULE))) {
                let field = BoundField::new(&request, path, rule);
                if !method.bound.contains(&field) {
                    method.bound.push(field);
                }
            }
            method.is_conditional |= binding.if_match().is_some();
        }
        let by_path = by_path.into_iter().map(|(path, method)| (path, Arc::new(method))).collect();
        let other = Method {
            name: RPC_METHOD_OTHER.into(),
            streams: false,
            streams_text: false,
            built_in: false,
            bound: Vec::new(),
            is_conditional: true,
        }
        .into();
        Ok(Self { by_path, other })
    }

    /// Methods of some services of the platform's contracts.
    #[cfg(test)]
    pub(super) fn declared(grpc_services: &'static [&'static str]) -> Self {
        let info = ServiceInfo { name: "test", version: "0", grpc_services, descriptors: &[], default_port: 0 };
        Self::read(&info).unwrap()
    }

    /// Finds the method of an HTTP path.
    pub(crate) fn find(&self, path: &str) -> &Arc<Method> {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

// === impl BoundField ===

impl BoundField {
    fn new(request: &MessageDescriptor, path: &str, rule: &'static str) -> BoundField {
        let mut message = Some(request.clone());
        let mut names = Vec::new();
        for name in path.split('.') {
            let field = message.and_then(|message| message.get_field_by_name(name));
            let json = field.as_ref().map_or(name, |field| field.json_name());
            names.push([name.to_owned(), json.to_owned()]);
            message = field.and_then(|field| field.kind().as_message().cloned());
        }
        let json: Vec<&str> = names.iter().map(|[_, json]| json.as_str()).collect();
        BoundField { json: json.join("."), names, rule }
    }

    /// Reports whether `name`, such as `tenantPlan.name`, is this field or inside it, in either spelling.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let mut parts = name.split('.');
        self.names.iter().all(|names| parts.next().is_some_and(|part| names.iter().any(|name| name == part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_fields_come_from_the_http_rules() {
        let methods =
            Methods::declared(&["keyplane.ratelimit.v1.RateLimitService", "keyplane.session.v1.SessionService"]);
        let plan = &methods.find("/keyplane.ratelimit.v1.RateLimitService/UpdateTenantPlan").bound;
        let fields: Vec<_> = plan.iter().map(|field| (field.json.as_str(), field.rule)).collect();
        assert_eq!(fields, [("tenantPlan.name", PATH_RULE), ("tenantPlan", BODY_RULE)]);
        for name in ["tenantPlan.name", "tenant_plan.name", "tenantPlan.name.x"] {
            assert!(plan[0].holds(name), "{name}");
        }
        for name in ["tenantPlan", "tenantPlan.plan", "name", "tenantplan.name", ""] {
            assert!(!plan[0].holds(name), "{name}");
        }
        assert!(methods.find("/keyplane.session.v1.SessionService/WatchSessions").bound.is_empty(), "no JSON route");
    }

    #[test]
    fn unknown_method_has_no_name() {
        let methods = Methods::declared(&["keyplane.session.v1.SessionService"]);
        let get = methods.find("/keyplane.session.v1.SessionService/GetSession");
        assert_eq!(&*get.name, "keyplane.session.v1.SessionService/GetSession");
        assert!(!get.streams && !get.built_in);
        assert!(methods.find("/keyplane.session.v1.SessionService/StreamSessionEvents").streams_text);
        assert!(methods.find("/grpc.health.v1.Health/Watch").streams);
        assert!(methods.find("/grpc.health.v1.Health/Check").built_in);
        assert_eq!(&*methods.find("/made.up/Name").name, "_OTHER");

        let none = Methods::declared(&[]);
        assert_eq!(&*none.find("/keyplane.session.v1.SessionService/GetSession").name, "_OTHER");
    }
}
