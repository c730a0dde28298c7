//! Places in a policy, and the rules that are broken there.

/// Rule that a policy breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyViolation {
    /// Place in the policy.
    pub path: PolicyPath,
    /// Rule, and what was sent.
    pub rule: String,
}

/// Place in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyPath {
    /// Domain.
    Domain,
    /// List of entries.
    Entries,
    /// Key of the entry with this index.
    EntryKey(usize),
    /// Value of the entry with this index.
    EntryValue(usize),
    /// Limits by plan.
    Plans,
    /// Limits by tenant.
    Tenants,
    /// Part of a limit.
    Limit(LimitOf, LimitPart),
    /// Lease.
    Lease,
}

/// Limit of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitOf {
    /// Default limit.
    Default,
    /// Limit of a plan.
    Plan(String),
    /// Limit of a tenant.
    Tenant(String),
}

/// Part of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitPart {
    /// Limit as a whole.
    Whole,
    /// Amount.
    Amount,
    /// Period.
    Period,
    /// Burst.
    Burst,
}

/// Names of a policy's fields at one edge of the service.
#[derive(Clone, Copy, Debug)]
pub struct PolicyNames {
    /// Map of limits by plan.
    pub plans: &'static str,
    /// Map of limits by tenant.
    pub tenants: &'static str,
    /// Period of a limit.
    pub period: &'static str,
}

// === impl PolicyPath ===

impl PolicyPath {
    /// Path in the words of an edge, below the field that holds the policy.
    #[must_use]
    pub fn named(&self, field: &str, names: &PolicyNames) -> String {
        let PolicyNames { plans, tenants, period } = names;
        match self {
            PolicyPath::Domain => format!("{field}.domain"),
            PolicyPath::Entries => format!("{field}.entries"),
            PolicyPath::EntryKey(index) => format!("{field}.entries[{index}].key"),
            PolicyPath::EntryValue(index) => format!("{field}.entries[{index}].value"),
            PolicyPath::Plans => format!("{field}.{plans}"),
            PolicyPath::Tenants => format!("{field}.{tenants}"),
            PolicyPath::Lease => format!("{field}.lease"),
            PolicyPath::Limit(limit, part) => {
                let limit = match limit {
                    LimitOf::Default => format!("{field}.limit"),
                    LimitOf::Plan(plan) => format!("{field}.{plans}[{plan}]"),
                    LimitOf::Tenant(tenant) => format!("{field}.{tenants}[{tenant}]"),
                };
                match part {
                    LimitPart::Whole => limit,
                    LimitPart::Amount => format!("{limit}.amount"),
                    LimitPart::Period => format!("{limit}.{period}"),
                    LimitPart::Burst => format!("{limit}.burst"),
                }
            }
        }
    }
}
