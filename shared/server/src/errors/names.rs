//! Field names in the caller's spelling: camelCase for callers of JSON, whose calls the gateway transcodes.

use std::borrow::Cow;

use keyplane_contracts::Violation;
use keyplane_contracts::json::{field_path, prose};
use tokio::task::futures::TaskLocalFuture;

use super::caps;

tokio::task_local! {
    static JSON: ();
}

/// Runs `call` for a caller that sends JSON.
pub(crate) fn json_caller<F: Future>(call: F) -> TaskLocalFuture<(), F> {
    JSON.scope((), call)
}

/// Spells a message and the violations in it for the caller. Violations beyond the listed ones are never sent, and stay
/// unchanged.
///
/// Messages without violations stay unchanged too: they may hold ids that look like fields.
pub(super) fn spelled(message: String, violations: &[Violation]) -> (String, Cow<'_, [Violation]>) {
    if violations.is_empty() || JSON.try_with(|()| ()).is_err() {
        return (message, Cow::Borrowed(violations));
    }
    let mut message = message;
    let mut all = violations.to_vec();
    for violation in all.iter_mut().take(caps::VIOLATIONS) {
        let spelled = Violation::new(field_path(&violation.field), prose(&violation.description));
        if spelled != *violation {
            message = message.replacen(&violation.to_string(), &spelled.to_string(), 1);
            *violation = spelled;
        }
    }
    (message, Cow::Owned(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn json_callers_read_camel_case_and_their_own_keys() {
        let violations = vec![
            Violation::new("request_id", "must be set"),
            Violation::new("session.attributes[last_path]", "see `update_mask`"),
            Violation::new("items[0].request_id", "must be set"),
        ];
        let all: Vec<_> = violations.iter().map(ToString::to_string).collect();
        let message = || format!("invalid: {}", all.join("; "));
        let (grpc, same) = spelled(message(), &violations);
        assert_eq!((grpc, same.as_ref()), (message(), violations.as_slice()));
        let (json, fields) = json_caller(async { spelled(message(), &violations) }).await;
        let spelled_fields = [
            "requestId: must be set",
            "session.attributes[last_path]: see `updateMask`",
            "items[0].requestId: must be set",
        ];
        assert_eq!(json, format!("invalid: {}", spelled_fields.join("; ")));
        assert_eq!(fields.iter().map(ToString::to_string).collect::<Vec<_>>(), spelled_fields);
    }
}
