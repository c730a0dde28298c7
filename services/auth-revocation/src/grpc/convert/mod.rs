//! Conversion of messages to the domain's types and back. A request is checked here, once; all violated fields are
//! reported at once.

mod check;
mod fields;
mod jwt;
mod reply;
mod revoke;
mod watch;

use std::time::Duration;

use keyplane_audit::Cause;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::rules::revocation as stated;
use keyplane_contracts::{Violation, Violations, duration};
use keyplane_revocation::{RevocationId, Sequence, Version};

use crate::error::Error;

pub(super) use check::{batch, check, check_response, check_result};
pub(super) use fields::tenant;
pub(super) use reply::{audit_entry, batch_revoked, freshness, result, revocation, written};
pub(super) use revoke::{
    Bounds, Read, Reading, batch_revoke, bulk_item, client, key, session, subject, token, token_of, whole_tenant,
};
pub(super) use watch::{head, propagation, watch_response};

/// Default and longest wait of WaitForPropagation.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(stated::WAIT));

/// Reads a revocation's name: its tenant and its id.
pub(super) fn revocation_name<'a>(name: &'a str, field: &str) -> Result<(&'a str, RevocationId), Error> {
    fields::revocation_name(name, field).map_err(|violation| Error::Invalid(vec![violation]))
}

/// Reads an undo: the revocation's tenant and id, the version to undo, and the cause.
pub(super) fn undo(request: &pb::UndoRevocationRequest) -> Result<(&str, RevocationId, Option<Version>, Cause), Error> {
    let mut violations = Violations::new();
    let name = violations.keep(fields::revocation_name(&request.name, "name"));
    let version = match request.etag.as_str() {
        "" => None,
        etag => {
            let rule =
                || Violation::new("etag", format!("must be a revocation's etag; {} bytes were sent", etag.len()));
            violations.keep(Version::parse(etag).ok_or_else(rule))
        }
    };
    let cause = Cause::parse(request.cause.clone(), "", &mut violations);
    checked(name, violations).map(|(tenant, id)| (tenant, id, version, cause))
}

/// Reads the tenant to watch; `None` for all.
pub(super) fn watched(parent: &str) -> Result<Option<&str>, Error> {
    if parent == "tenants/-" {
        return Ok(None);
    }
    fields::tenant(parent, "parent").map(Some).map_err(|violation| Error::Invalid(vec![violation]))
}

/// Reads the sequence to wait for, and the timeout.
pub(super) fn wait(request: &pb::WaitForPropagationRequest, partitions: u32) -> Result<(Sequence, Duration), Error> {
    let mut violations = Violations::new();
    let sequence = violations.keep(fields::sequence(&request.sequence, "sequence", partitions));
    let timeout = match request.timeout {
        None => WAIT.0,
        Some(timeout) => match duration(timeout) {
            Some(timeout) if timeout <= WAIT.1 => timeout,
            Some(_) | None => {
                violations.add("timeout", "must be 0s to 10s");
                WAIT.0
            }
        },
    };
    checked(sequence, violations).map(|sequence| (sequence, timeout))
}

fn checked<T>(parsed: Option<T>, violations: Violations) -> Result<T, Error> {
    violations.checked(parsed).map_err(Error::Invalid)
}
