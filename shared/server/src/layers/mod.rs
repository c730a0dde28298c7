//! Layers around every call, one file each. `docs/layers.md` explains their order.

pub(crate) mod bound;
pub(crate) mod call;
pub(crate) mod deadline;
pub(crate) mod details;
pub(crate) mod ending;
pub(crate) mod event_source;
pub(crate) mod gate;
pub(crate) mod methods;
pub(crate) mod metrics;
pub(crate) mod middleware;
mod observe;
pub(crate) mod panic;
pub(crate) mod shed;
pub(crate) mod spelling;
pub(crate) mod trace;
mod until;

use tonic::Code;

/// Reports whether the server is to blame, by the semantic conventions; only then is a span or a point an error.
fn is_server_error(code: Code) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}
