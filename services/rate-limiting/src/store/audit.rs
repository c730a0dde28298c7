//! Audit of a tenant: resets, and changes of its plan, each recorded before it is made.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyplane_audit::{Cause, Page, Position, newest, text};
use keyplane_contracts::names::TenantId;
use keyplane_valkey::{Arg, Feature, Key, StreamEntry, Ttl, TtlError, Valkey, script};

use crate::error::Error;

/// Approximate maximum of entries of a tenant; older ones are trimmed.
const MOST: u32 = 10_000;

script!(RECORD = "policies.audit", ["scripts/audit.lua"]);

/// Audits of all tenants. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditStore {
    valkey: Valkey,
    age: Ttl,
}

/// Audited act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Buckets are emptied.
    Reset,
    /// The tenant is put on a plan, or on none.
    Plan,
}

/// Entry of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Time of the record, by the store's clock.
    pub time: SystemTime,
    /// Recorded act.
    pub action: Action,
    /// Keys of the buckets, by their names in the store; or the plan, if it is not none.
    pub targets: Vec<String>,
    /// Reason for the act.
    pub cause: Cause,
}

// === impl AuditStore ===

impl AuditStore {
    /// Store of audits that are kept for `age`.
    ///
    /// # Errors
    ///
    /// An age that no key of rate limiting may have.
    pub fn new(valkey: Valkey, age: Duration) -> Result<AuditStore, TtlError> {
        Ok(AuditStore { valkey, age: Ttl::new(Feature::RATELIMIT, age)? })
    }

    /// Records an act. Call it before the act, so that nothing is done without a record.
    ///
    /// Dropping the future, and a retry, may leave no record, one, or two.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn record(
        &self,
        tenant: &TenantId,
        action: Action,
        targets: &[&str],
        cause: &Cause,
    ) -> Result<(), Error> {
        let mut args: Vec<Arg<'_>> = vec![self.age.as_millis().into(), MOST.into()];
        let fields = std::iter::once(("a", action.word())).chain(cause.fields());
        for (field, value) in fields.chain(targets.iter().map(|target| ("k", *target))) {
            args.extend([Arg::from(field), Arg::from(value)]);
        }
        self.valkey.run(&RECORD, &[&self.key(tenant)], &args).await?;
        Ok(())
    }

    /// Reads a page of at most `size` entries of a tenant, newest first, after the last entry of the previous page.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if an entry is damaged, or the store's. Cancel safe.
    pub async fn list(&self, tenant: &TenantId, size: u32, after: Option<Position>) -> Result<Page<AuditEntry>, Error> {
        newest(&self.valkey, &[self.key(tenant)], size, after, AuditEntry::decode).await
    }

    fn key(&self, tenant: &TenantId) -> Key {
        Key::tagged(self.valkey.app(), Feature::RATELIMIT, tenant.as_str(), "t", &["audit"])
    }
}

// === impl Action ===

impl Action {
    const ALL: [Action; 2] = [Action::Reset, Action::Plan];

    /// Word in the stream.
    fn word(self) -> &'static str {
        match self {
            Action::Reset => "reset",
            Action::Plan => "plan",
        }
    }
}

// === impl AuditEntry ===

impl AuditEntry {
    /// Reads an entry. Fields of a later release are ignored; entries of earlier releases have no reason.
    fn decode(at: Position, entry: &StreamEntry) -> Result<AuditEntry, Error> {
        let word = text(entry, "a")?;
        let action = Action::ALL.into_iter().find(|action| Some(action.word()) == word);
        let targets = entry.fields.iter().filter(|(field, _)| field.as_ref() == b"k");
        let targets = targets.map(|(_, target)| String::from_utf8(target.to_vec()));
        Ok(AuditEntry {
            time: UNIX_EPOCH + Duration::from_millis(at.millis),
            action: action.ok_or(Error::Corrupt("an audit entry has no known action"))?,
            targets: targets.collect::<Result<_, _>>().map_err(|_| Error::Corrupt("an audit entry is not UTF-8"))?,
            cause: Cause::read(entry)?,
        })
    }
}
