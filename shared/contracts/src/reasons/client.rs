//! Reasons that `keyplane-client` makes itself.

use super::{Retry, register};

register! {
    NOT_SENT: Unavailable, Retry::Now,
        "No connection: the call was not sent. Repeat it; any call is safe.";
    CONNECTION_LOST: Unavailable, Retry::Idempotent,
        "The connection broke during the call (`outcome: unknown`). A write may have happened.";
}
