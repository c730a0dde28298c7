//! What the kit must know about a service before it reads a setting.

/// What the kit must know about a service before it reads a setting.
#[derive(Clone, Copy, Debug)]
pub struct ServiceInfo {
    /// Short name: `session`.
    pub name: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// Full names of the gRPC services that this process serves: health reports each, reflection lists them.
    pub grpc_services: &'static [&'static str],
    /// Port of gRPC unless set; the admin port is 1000 above.
    pub default_port: u16,
}
