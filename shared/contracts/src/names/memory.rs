//! Names of memories.

use std::fmt;

use compact_str::CompactString;

use super::{Id, TenantId, segments};
use crate::Violation;

/// `tenants/{tenant}/memories/{memory}`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemoryName {
    /// Tenant that the memory belongs to.
    pub tenant: TenantId,
    memory: CompactString,
}

/// `tenants/{tenant}/memorySessions/{session}`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemorySessionName {
    /// Tenant that the session belongs to.
    pub tenant: TenantId,
    /// Session, by the rule of [`Id`].
    pub session: Id,
}

// === impl MemorySessionName ===

impl MemorySessionName {
    const PATTERN: &str = "tenants/{tenant}/memorySessions/{session}";

    /// Parses the resource name of a session of memories; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// First rule that `text` breaks: the pattern, or that of one of its ids.
    pub fn parse(text: &str, field: &str) -> Result<MemorySessionName, Violation> {
        let [tenant, session] = segments(text, field, MemorySessionName::PATTERN)?;
        let tenant = TenantId::parse(tenant, field)?;
        Ok(MemorySessionName { tenant, session: Id::parse_as("the session", session, field)? })
    }
}

// === impl MemoryName ===

impl MemoryName {
    /// Regular expression of the memory's id alone.
    pub const ID_PATTERN: &str = "0[0-9a-f]{33}";
    /// Regular expression of the whole resource name.
    pub const NAME_PATTERN: &str = "tenants/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/memories/0[0-9a-f]{33}";
    const PATTERN: &str = "tenants/{tenant}/memories/{memory}";

    /// Name of a tenant's memory; `memory` is an id that the service made.
    #[must_use]
    pub fn new(tenant: TenantId, memory: impl fmt::Display) -> MemoryName {
        let mut text = CompactString::default();
        // Writing to a text fails only if its `Display` does.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{memory}"));
        MemoryName { tenant, memory: text }
    }

    /// Parses a memory's resource name; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// First rule that `text` breaks: the pattern, or that of one of its ids.
    pub fn parse(text: &str, field: &str) -> Result<MemoryName, Violation> {
        let [tenant, memory] = segments(text, field, MemoryName::PATTERN)?;
        let tenant = TenantId::parse(tenant, field)?;
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if memory.len() == 34 && memory.starts_with('0') && memory.bytes().all(digit) {
            Ok(MemoryName { tenant, memory: memory.into() })
        } else {
            Err(Violation::of_text(field, format_args!("the memory must match {}", MemoryName::ID_PATTERN), memory))
        }
    }

    /// Id of the memory: 34 lower-case hexadecimal digits, the first of which is 0.
    #[must_use]
    pub fn memory(&self) -> &str {
        &self.memory
    }
}

impl fmt::Display for MemoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/memories/{}", self.tenant, self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_memories_are_parsed_and_printed() {
        let id = format!("07{}", "ab".repeat(16));
        let text = format!("tenants/acme/memories/{id}");
        let name = MemoryName::parse(&text, "name").expect("a name");
        assert_eq!((name.tenant.as_str(), name.memory(), name.to_string()), ("acme", id.as_str(), text));
        assert_eq!(MemoryName::new(name.tenant.clone(), &id), name);
        for bad in ["", "07ab", &format!("10{}", "ab".repeat(16)), &format!("07{}", "AB".repeat(16))] {
            assert!(MemoryName::parse(&format!("tenants/acme/memories/{bad}"), "name").is_err(), "{bad}");
        }
        assert!(MemoryName::parse(&format!("tenants/ACME/memories/{id}"), "name").is_err());
    }
}
