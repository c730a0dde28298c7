//! Names of metrics that `keyplane_telemetry::semconv` does not have yet.

/// Commands sent to the store, by [`KEYPLANE_FEATURE`](keyplane_telemetry::semconv::KEYPLANE_FEATURE) and command.
pub(crate) const STORE_COMMANDS: &str = "keyplane.store.commands";
/// 0 while the breaker lets calls pass, 1 while it fails them at once.
pub(crate) const STORE_BREAKER_STATE: &str = "keyplane.store.breaker.state";
/// Connections made again after one was lost.
pub(crate) const STORE_RECONNECTS: &str = "keyplane.store.reconnects";
