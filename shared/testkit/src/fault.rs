use std::time::Duration;

/// Fault of the network that a [`FaultProxy`](crate::FaultProxy) imitates, on open connections and new ones alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Healthy network: bytes pass at once.
    Pass,
    /// Latency per direction, so an answer comes twice as late. Throughput is not reduced.
    Delay(Duration),
    /// [`Fault::Delay`] for connections that are open when the fault begins; new ones have no latency.
    DelayOpen(Duration),
    /// Loss that TCP repairs: nothing arrives until the fault ends; then all bytes are delivered, in order.
    /// New connections are accepted, and reach the server then.
    BlackHole,
    /// Closed connections: open ones are closed, and new ones refused.
    Cut,
    /// Silent peer: connections are accepted and bytes taken, but the server never sees them and never answers. Connections
    /// of that time have lost bytes, so they are closed when the fault ends.
    HalfOpen,
}
