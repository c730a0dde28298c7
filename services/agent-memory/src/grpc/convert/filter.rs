//! Filters, and the request of Forget.

use keyplane_contracts::Violations;
use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::rules::memory as stated;

use super::remember::of_tenant;
use super::scope::Sent;
use super::times::span;
use super::{checked, content};
use crate::domain::{Filter, ForgetRequest, Kind, MemoryId, Scope};
use crate::error::Error;

/// Memories to delete.
pub(in crate::grpc) fn forget(request: pb::ForgetRequest) -> Result<ForgetRequest, Error> {
    let mut violations = Violations::new();
    let tenant = violations.keep(TenantId::parse_name(&request.parent, "parent"));
    if request.names.is_empty() == request.matching.is_none() {
        violations.add("names", "must be set, or else `matching`; not both");
    }
    let ids = tenant.as_ref().map(|tenant| ids(tenant, &request.names, &mut violations)).unwrap_or_default();
    let matching = request.matching.map(|sent| matching(&request.parent, sent, &mut violations));
    let request =
        tenant.map(|tenant| ForgetRequest { tenant, ids, matching: matching.flatten(), dry_run: request.dry_run });
    checked(request, violations)
}

/// Filter whose path is `at`; an unset one admits all.
pub(super) fn filter(sent: Option<pb::MemoryFilter>, at: &str, violations: &mut Violations) -> Filter {
    let sent = sent.unwrap_or_default();
    let field = |name: &str| format!("{at}.{name}");
    let fields = [field("event_from_time"), field("event_until_time")];
    let events = [sent.event_from_time, sent.event_until_time];
    let [event_from, event_until] = span(events, [&fields[0], &fields[1]], violations);
    Filter {
        kinds: kinds(&sent.kinds, &field("kinds"), violations),
        topics: content::labels(&sent.topics, stated::FILTERED, &field("topics"), violations),
        entities: content::labels(&sent.entities, stated::FILTERED, &field("entities"), violations),
        tags: content::labels(&sent.tags, stated::FILTERED, &field("tags"), violations),
        event_from,
        event_until,
        pinned: sent.pinned,
    }
}

fn matching(parent: &str, sent: pb::MemoryMatch, violations: &mut Violations) -> Option<(Scope, Filter)> {
    let pb::MemoryMatch { user, agent, workflow, session, filter: sent_filter } = &sent;
    let filter = filter(sent_filter.clone(), "matching.filter", violations);
    let scope = Sent { parent, user, agent, workflow, session, at: "matching." };
    // The tenant was checked before; checked again, a wrong one would be named twice.
    let mut own = Violations::new();
    let scope = scope.read(&mut own);
    violations.extend(own.into_iter().filter(|violation| violation.field != "parent"));
    Some((scope?, filter))
}

fn ids(tenant: &TenantId, names: &[String], violations: &mut Violations) -> Vec<MemoryId> {
    if names.len() > stated::BATCH {
        violations.add("names", format!("must be at most {} names; {} were sent", stated::BATCH, names.len()));
        return Vec::new();
    }
    let read = |(index, name): (usize, &String)| violations.keep(of_tenant(tenant, name, &format!("names[{index}]")));
    names.iter().enumerate().filter_map(read).collect()
}

fn kinds(sent: &[i32], field: &str, violations: &mut Violations) -> Vec<Kind> {
    if sent.len() > stated::KINDS {
        violations.add(field, format!("must be at most {} kinds; {} were sent", stated::KINDS, sent.len()));
        return Vec::new();
    }
    let read = |(index, kind): (usize, &i32)| {
        let field = format!("{field}[{index}]");
        let kind = content::kind(*kind, &field, violations);
        if kind.is_none() && sent[index] == 0 {
            violations.add(field, "must not be KIND_UNSPECIFIED");
        }
        kind
    };
    sent.iter().enumerate().filter_map(read).collect()
}
