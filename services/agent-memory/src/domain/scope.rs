//! Scopes: whose memory it is, and where it was made.

use keyplane_contracts::names::{Id, TenantId};
use sha2::{Digest, Sha256};

/// Owner of memories: a user of a tenant, or the tenant's shared memories.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Tenant.
    pub tenant: TenantId,
    /// User; none for memories that all users of the tenant share.
    pub user: Option<Id>,
}

/// Scope of a memory. In a query, an absent agent, workflow or session means any value; an absent user means shared memories.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Owner.
    pub owner: Owner,
    /// Agent that made the memory.
    pub agent: Option<Id>,
    /// Workflow within which it was made.
    pub workflow: Option<Id>,
    /// Session (conversation) that it belongs to.
    pub session: Option<Id>,
}

/// Partition of a tenant's memories, 0 to 15: all memories of an owner share one, and so one slot of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

// === impl Owner ===

impl Owner {
    /// Partition of the owner's memories.
    #[must_use]
    pub fn partition(&self) -> Partition {
        let mut hash = Sha256::new();
        hash.update(self.tenant.as_str());
        hash.update([0]);
        hash.update(self.user.as_ref().map_or("", Id::as_str));
        Partition(hash.finalize()[0] % Partition::COUNT)
    }
}

// === impl Partition ===

impl Partition {
    /// Number of partitions of a tenant.
    pub const COUNT: u8 = 16;

    /// Partition with this number; none from [`Partition::COUNT`] on.
    #[must_use]
    pub fn new(number: u8) -> Option<Partition> {
        (number < Partition::COUNT).then_some(Partition(number))
    }

    /// All partitions.
    pub fn all() -> impl Iterator<Item = Partition> {
        (0..Partition::COUNT).map(Partition)
    }

    /// Number, 0 to 15.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(tenant: &str, user: Option<&str>) -> Owner {
        Owner {
            tenant: TenantId::parse(tenant, "tenant").expect("a tenant"),
            user: user.map(|user| Id::parse(user, "user").expect("an id")),
        }
    }

    #[test]
    fn owners_spread_over_all_partitions() {
        let used: std::collections::BTreeSet<u8> =
            (0..500).map(|n| owner("acme", Some(&format!("u-{n}"))).partition().number()).collect();
        assert_eq!(used.len(), usize::from(Partition::COUNT));
        assert_eq!(owner("acme", None).partition(), owner("acme", None).partition());
    }
}
