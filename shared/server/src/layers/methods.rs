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
    /// The server answers with a stream.
    pub(crate) streams: bool,
    /// The stream is of `google.api.HttpBody`: bytes for browsers.
    pub(crate) streams_text: bool,
    /// The kit itself serves it.
    pub(crate) built_in: bool,
    /// Request fields that the path of its JSON routes binds.
    pub(crate) bound: Vec<BoundField>,
}

/// Request field, such as `tenant_plan.name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoundField {
    /// Path in JSON spelling: `tenantPlan.name`.
    pub(crate) json: String,
    /// Names along the path, in proto and in JSON spelling.
    pub(crate) names: Vec<[String; 2]>,
}

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
                        let bound = Vec::new();
                        by_path.insert(format!("/{name}"), Method { name, streams, streams_text, built_in, bound });
                    }
                }
            }
        }
        for binding in http::bindings() {
            let Some(method) = by_path.get_mut(&binding.grpc_path()) else { continue };
            for path in &binding.bound {
                let field = BoundField::new(&binding.method.input(), path);
                if !method.bound.contains(&field) {
                    method.bound.push(field);
                }
            }
        }
        let by_path = by_path.into_iter().map(|(path, method)| (path, Arc::new(method))).collect();
        let (name, bound) = (RPC_METHOD_OTHER.into(), Vec::new());
        let other = Method { name, streams: false, streams_text: false, built_in: false, bound }.into();
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
    fn new(request: &MessageDescriptor, path: &str) -> BoundField {
        let mut message = Some(request.clone());
        let mut names = Vec::new();
        for name in path.split('.') {
            let field = message.and_then(|message| message.get_field_by_name(name));
            let json = field.as_ref().map_or(name, |field| field.json_name());
            names.push([name.to_owned(), json.to_owned()]);
            message = field.and_then(|field| field.kind().as_message().cloned());
        }
        let json: Vec<&str> = names.iter().map(|[_, json]| json.as_str()).collect();
        BoundField { json: json.join("."), names }
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
        assert_eq!(plan.len(), 1, "{plan:?}");
        assert_eq!(plan[0].json, "tenantPlan.name");
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
