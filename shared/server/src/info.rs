//! Description of a service, known before it reads a setting.

/// Description of a service, known before it reads a setting.
#[derive(Clone, Copy, Debug)]
pub struct ServiceInfo {
    /// Short name: `session`.
    pub name: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Full names of the gRPC services that this process serves: health reports each, reflection lists them.
    pub grpc_services: &'static [&'static str],
    /// Encoded `FileDescriptorSet`s that declare gRPC services from outside the platform's contracts.
    pub descriptors: &'static [&'static [u8]],
    /// Default port of gRPC; the admin port is 1000 above.
    pub default_port: u16,
}

// === impl ServiceInfo ===

impl ServiceInfo {
    /// Lists the descriptor sets of the service, the platform's contracts first.
    pub(crate) fn descriptor_sets(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        [keyplane_contracts::FILE_DESCRIPTOR_SET].into_iter().chain(self.descriptors.iter().copied())
    }
}
