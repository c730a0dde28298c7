//! Scope and space of a request.

use keyplane_contracts::names::{Id, TenantId};
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violation, Violations};

use crate::domain::{Owner, Scope, SpaceId};

/// Scope as a request has it. Empty texts are absent.
pub(super) struct Sent<'a> {
    /// `tenants/{tenant}`.
    pub(super) parent: &'a str,
    /// User.
    pub(super) user: &'a str,
    /// Agent.
    pub(super) agent: &'a str,
    /// Workflow.
    pub(super) workflow: &'a str,
    /// Session.
    pub(super) session: &'a str,
    /// Path of the message that has the fields but `parent`, with a dot behind it; empty for the request itself.
    pub(super) at: &'static str,
}

/// Space in the field `space`; none for the default.
pub(super) fn space(sent: &str, violations: &mut Violations) -> Option<SpaceId> {
    if sent.is_empty() {
        return None;
    }
    let rule = || Violation::of_text("space", format_args!("must match {}", stated::SPACE), sent);
    violations.keep(SpaceId::parse(sent).ok_or_else(rule))
}

// === impl Sent ===

impl Sent<'_> {
    /// Scope; none if a part breaks its rule.
    pub(super) fn read(&self, violations: &mut Violations) -> Option<Scope> {
        let tenant = violations.keep(TenantId::parse_name(self.parent, "parent"));
        let user = self.id("user", self.user, violations);
        let agent = self.id("agent", self.agent, violations);
        let workflow = self.id("workflow", self.workflow, violations);
        let session = self.id("session", self.session, violations);
        Some(Scope {
            owner: Owner { tenant: tenant?, user: user? },
            agent: agent?,
            workflow: workflow?,
            session: session?,
        })
    }

    /// Id in a field; the inner one is none if the field is empty.
    fn id(&self, field: &str, sent: &str, violations: &mut Violations) -> Option<Option<Id>> {
        if sent.is_empty() {
            return Some(None);
        }
        violations.keep(Id::parse(sent, &format!("{}{field}", self.at))).map(Some)
    }
}
