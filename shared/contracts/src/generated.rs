//! Code that build.rs generates from the protos.
#![allow(missing_docs, unreachable_pub, clippy::all)]

/// Contracts as an encoded `google.protobuf.FileDescriptorSet`: with imports, source info (comments) and the
/// `google.api.http` options. Server reflection, Envoy's transcoder and [`crate::openapi`] read it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyplane.binpb"));

/// Sessions: who is this, and where were they?
pub mod session {
    /// Package `keyplane.session.v1`.
    pub mod v1 {
        tonic::include_proto!("keyplane.session.v1");
    }
}

/// Revocation: is this token still good?
pub mod revocation {
    /// Package `keyplane.revocation.v1`.
    pub mod v1 {
        tonic::include_proto!("keyplane.revocation.v1");
    }
}

/// Rate limiting: may they do this now?
pub mod ratelimit {
    /// Package `keyplane.ratelimit.v1`.
    pub mod v1 {
        tonic::include_proto!("keyplane.ratelimit.v1");
    }
}

/// Search: where is the thing they look for?
pub mod search {
    /// Package `keyplane.search.v1`.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("keyplane.search.v1");
    }
}

/// Agent memory: what did the agent already learn?
pub mod memory {
    /// Package `keyplane.memory.v1`.
    pub mod v1 {
        tonic::include_proto!("keyplane.memory.v1");
    }
}

/// Audit records of all services.
pub mod audit {
    /// Package `keyplane.audit.v1`.
    pub mod v1 {
        tonic::include_proto!("keyplane.audit.v1");
    }
}

/// Shapes that all services share: the error of one item of a batch.
pub mod rpc {
    /// Package `keyplane.rpc.v1`.
    pub mod v1 {
        tonic::include_proto!("keyplane.rpc.v1");
    }
}

/// Google's common types, wire-compatible.
pub mod google {
    /// Package `google.api`.
    pub mod api {
        tonic::include_proto!("google.api");
    }

    /// Package `google.rpc`: the details that an error carries.
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

#[cfg(test)]
mod tests {
    use super::FILE_DESCRIPTOR_SET;
    use prost_reflect::{DescriptorPool, Value};

    fn pool() -> DescriptorPool {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set decodes")
    }

    #[test]
    fn http_options_survive() {
        let pool = pool();
        let http = pool.get_extension_by_name("google.api.http").expect("the extension is declared");
        let service = pool.get_service_by_name("keyplane.session.v1.SessionService").expect("the service");
        let method = service.methods().find(|method| method.name() == "GetSession").expect("the method");
        let options = method.options();
        let Value::Message(rule) = options.get_extension(&http).into_owned() else {
            panic!("a rule is a message");
        };
        let get = rule.get_field_by_name("get").expect("the field get");
        assert_eq!(get.as_str(), Some("/v1/{name=tenants/*/users/*/sessions/*}"));
    }

    #[test]
    fn comments_survive() {
        let pool = pool();
        let file = pool.get_file_by_name("keyplane/session/v1/session.proto").expect("the file");
        let info = file.file_descriptor_proto().source_code_info.as_ref().expect("source info");
        assert!(info.location.iter().any(|location| location.leading_comments().contains("at login")));
    }

    #[test]
    fn imports_and_error_details_are_part_of_the_set() {
        let pool = pool();
        // Without these the gateway prints errors without their details.
        for name in ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo", "google.rpc.QuotaFailure"]
        {
            assert!(pool.get_message_by_name(name).is_some(), "{name} is not in the descriptor set");
        }
        assert!(pool.get_file_by_name("google/protobuf/timestamp.proto").is_some());
    }
}
