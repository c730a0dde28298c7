//! Requests to watch sessions.

use keyplane_contracts::Violations;
use keyplane_contracts::names::{SessionName, UserName};

use super::checked;
use crate::domain::{Scope, WatchTarget};
use crate::error::Error;

/// Sessions that `name` stands for (a user or one session), from the event `after` on.
pub(in crate::grpc) fn watch(name: &str, after: &str) -> Result<WatchTarget, Error> {
    let mut violations = Violations::new();
    let target = if name.contains("/sessions/") {
        SessionName::parse(name, "name").map(|name| (name.user, Scope::Session(name.session)))
    } else {
        UserName::parse(name, "name").map(|user| (user, Scope::User))
    };
    let target = violations.keep(target);
    // Larger numbers are no ids to the store.
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u64>().is_ok();
    if !after.is_empty() && !after.split_once('-').is_some_and(|(ms, n)| number(ms) && number(n)) {
        violations.add("after", format!("must be the id of an event; {} bytes were sent", after.len()));
    }
    let after = (!after.is_empty()).then(|| after.to_owned());
    checked(target, violations).map(|(user, scope)| WatchTarget { user, scope, after })
}
