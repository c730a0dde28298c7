//! Reasons of the rate-limiting service.

use super::{Retry, register};

register! {
    POLICY_NOT_FOUND: NotFound, Retry::Never,
        "The policy in metadata `policy` does not exist: ListPolicies lists the existing ones.";
    POLICY_EXISTS: AlreadyExists, Retry::Never,
        "A policy with the id in metadata `policy` exists: update it, or choose another id.";
    POLICY_FROM_FILE: FailedPrecondition, Retry::Never,
        "The policy in metadata `policy` comes from the policies file: edit the file, or create a policy with the \
         same id to override it.";
    TOO_MANY_POLICIES: ResourceExhausted, Retry::Never,
        "The number of policies is at its maximum, metadata `max_policies`: delete one first.";
    CHARGE_NOT_FOUND: NotFound, Retry::Never,
        "The charge or reservation does not exist, or is older than its `ttl`: nothing is left to settle or \
         refund.";
    ALREADY_SETTLED: FailedPrecondition, Retry::Never,
        "The reservation was settled at the cost in metadata `cost`, and cannot be settled again.";
    REFUND_EXCEEDS_CHARGE: InvalidArgument, Retry::Never,
        "The refund is larger than the rest of the charge, metadata `left`: refund less.";
    REFUND_NOT_ALLOWED: PermissionDenied, Retry::Never,
        "This peer may not take hits back (`is_negative_hits`). Operator: `KEYPLANE_RATELIMIT_REFUND_PEERS`.";
}
