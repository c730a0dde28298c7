use std::collections::HashMap;
use std::time::Duration;

use keyplane_contracts::names::TenantId;

/// Lifetimes of a tenant's sessions, and their number per user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Maximum life without use: 1 s up to `absolute`.
    pub idle: Duration,
    /// Maximum life: 1 s to 31 days.
    pub absolute: Duration,
    /// Maximum of sessions per user at the same time: 1 to 100.
    pub max_sessions: u32,
    /// Reaction to a login beyond the maximum.
    pub overflow: Overflow,
}

/// Reaction to a login of a user who has `max_sessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Evicts the least recently used session. Create, update, touch and rotate count as use.
    EvictOldest,
    /// Rejects the login.
    Reject,
}

/// Policies of all tenants.
#[derive(Clone, Debug)]
pub struct Policies {
    default: Policy,
    tenants: HashMap<TenantId, Policy>,
}

/// Rule that a policy breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct PolicyError {
    concerns: Concern,
    rule: String,
}

/// Part of a policy that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    Idle,
    Absolute,
    MaxSessions,
    Form,
}

/// Maximum life of any session: that of the feature's keys.
const LONGEST: Duration = Duration::from_hours(31 * 24);

// === impl PolicyError ===

impl PolicyError {
    fn form(rule: impl Into<String>) -> PolicyError {
        PolicyError { concerns: Concern::Form, rule: rule.into() }
    }

    /// Picks the name that breaks the rule, from those of the idle timeout, the absolute timeout and the maximum of sessions.
    #[must_use]
    pub fn concerns<T>(&self, [idle, absolute, max_sessions]: [T; 3]) -> T {
        match self.concerns {
            Concern::Idle => idle,
            Concern::Absolute | Concern::Form => absolute,
            Concern::MaxSessions => max_sessions,
        }
    }
}

// === impl Policy ===

impl Policy {
    /// Checks the bounds that the fields name.
    ///
    /// # Errors
    ///
    /// First rule that is broken.
    pub fn checked(self) -> Result<Policy, PolicyError> {
        let second = Duration::from_secs(1);
        if self.absolute < second || self.absolute > LONGEST {
            let rule = format!("the absolute timeout must be 1s to 31d, and is {:?}", self.absolute);
            return Err(PolicyError { concerns: Concern::Absolute, rule });
        }
        if self.idle < second || self.idle > self.absolute {
            let (idle, absolute) = (self.idle, self.absolute);
            let rule = format!("the idle timeout must be 1s up to the absolute one ({absolute:?}), and is {idle:?}");
            return Err(PolicyError { concerns: Concern::Idle, rule });
        }
        if !(1..=100).contains(&self.max_sessions) {
            let rule = format!("max_sessions must be 1 to 100, and is {}", self.max_sessions);
            return Err(PolicyError { concerns: Concern::MaxSessions, rule });
        }
        Ok(self)
    }

    /// Overrides settings of this policy with those of `text`: `idle=15m,absolute=8h,max_sessions=5,overflow=reject`.
    fn with(&self, text: &str, duration: impl Fn(&str) -> Result<Duration, String>) -> Result<Policy, PolicyError> {
        let mut policy = self.clone();
        for setting in text.split(',').map(str::trim) {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| PolicyError::form(format!("`{setting}` must have the form name=value")))?;
            let broken = |rule: String| PolicyError::form(format!("{}: {rule}", name.trim()));
            match name.trim() {
                "idle" => policy.idle = duration(value.trim()).map_err(broken)?,
                "absolute" => policy.absolute = duration(value.trim()).map_err(broken)?,
                "max_sessions" => {
                    policy.max_sessions = value.trim().parse().map_err(|_| broken("must be a number".into()))?;
                }
                "overflow" => policy.overflow = Overflow::parse(value.trim()).map_err(|e| broken(e.rule))?,
                other => {
                    let known = "idle, absolute, max_sessions and overflow";
                    return Err(PolicyError::form(format!("`{other}` is not a setting; known are {known}")));
                }
            }
        }
        policy.checked()
    }
}

// === impl Overflow ===

impl Overflow {
    /// `evict-oldest` or `reject`.
    ///
    /// # Errors
    ///
    /// Names both, for anything else.
    pub fn parse(text: &str) -> Result<Overflow, PolicyError> {
        match text {
            "evict-oldest" => Ok(Overflow::EvictOldest),
            "reject" => Ok(Overflow::Reject),
            _ => Err(PolicyError::form("must be evict-oldest or reject")),
        }
    }
}

// === impl Policies ===

impl Policies {
    /// One policy for all tenants.
    #[must_use]
    pub fn new(default: Policy) -> Policies {
        Policies { default, tenants: HashMap::new() }
    }

    /// Overrides for single tenants: `acme: idle=15m, max_sessions=5; globex: overflow=reject`. What an override
    /// does not name is the default's. `duration` parses a duration with its unit.
    ///
    /// # Errors
    ///
    /// Tenant, setting and rule of the first violation.
    pub fn with_tenants(
        mut self,
        text: &str,
        duration: impl Fn(&str) -> Result<Duration, String>,
    ) -> Result<Policies, PolicyError> {
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (tenant, settings) = entry
                .split_once(':')
                .ok_or_else(|| PolicyError::form(format!("`{entry}` must have the form tenant: name=value, ...")))?;
            let tenant = TenantId::parse(tenant.trim(), "tenant").map_err(|v| PolicyError::form(v.description))?;
            let policy = self
                .default
                .with(settings, &duration)
                .map_err(|error| PolicyError::form(format!("tenant {tenant}: {error}")))?;
            if self.tenants.insert(tenant.clone(), policy).is_some() {
                return Err(PolicyError::form(format!("tenant {tenant} is named twice")));
            }
        }
        Ok(self)
    }

    /// Returns the policy of `tenant`.
    #[must_use]
    pub fn for_tenant(&self, tenant: &TenantId) -> &Policy {
        self.tenants.get(tenant).unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> Policy {
        Policy {
            idle: Duration::from_mins(30),
            absolute: Duration::from_hours(12),
            max_sessions: 10,
            overflow: Overflow::EvictOldest,
        }
    }

    fn minutes(text: &str) -> Result<Duration, String> {
        let number = text.strip_suffix('m').ok_or("needs a unit")?;
        number.parse().map(Duration::from_mins).map_err(|_| "must be a number".to_owned())
    }

    #[test]
    fn override_changes_what_it_names() {
        let policies = Policies::new(default())
            .with_tenants("acme: idle=15m, max_sessions=5; globex: overflow=reject;", minutes)
            .unwrap();
        let tenant = |id| TenantId::parse(id, "tenant").unwrap();
        let acme = policies.for_tenant(&tenant("acme"));
        assert_eq!((acme.idle, acme.absolute, acme.max_sessions), (Duration::from_mins(15), default().absolute, 5));
        assert_eq!(policies.for_tenant(&tenant("globex")).overflow, Overflow::Reject);
        assert_eq!(policies.for_tenant(&tenant("other")), &default());
    }

    #[test]
    fn errors_name_the_tenant_the_setting_and_the_rule() {
        for (text, expected) in [
            ("acme", "`acme` must have the form tenant: name=value, ..."),
            ("acme: idle=15", "tenant acme: idle: needs a unit"),
            ("acme: idle", "tenant acme: `idle` must have the form name=value"),
            (
                "acme: ttl=1m",
                "tenant acme: `ttl` is not a setting; known are idle, absolute, max_sessions and overflow",
            ),
            ("acme: overflow=maybe", "tenant acme: overflow: must be evict-oldest or reject"),
            ("acme: max_sessions=0", "tenant acme: max_sessions must be 1 to 100, and is 0"),
            (
                "acme: idle=60m,absolute=30m",
                "tenant acme: the idle timeout must be 1s up to the absolute one (1800s), and is 3600s",
            ),
            ("acme: idle=1m; acme: idle=2m", "tenant acme is named twice"),
        ] {
            let error = Policies::new(default()).with_tenants(text, minutes).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
