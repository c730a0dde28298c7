//! What was done for a tenant, by whom, and why: a stream for each tenant.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyplane_contracts::Violations;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::rules::ratelimit as stated;
use keyplane_valkey::{Arg, Feature, Key, StreamEntry, Ttl, TtlError, Valkey, script};

use crate::error::Error;

/// The most entries of a tenant, about: older ones go.
const MOST: u32 = 10_000;
/// Longest token of a page that can be one of ours: a tenant has at most 63 bytes.
const LONGEST_TOKEN: usize = 256;

script!(RECORD = "policies.audit", ["scripts/audit.lua"]);

/// The audits of all tenants. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditStore {
    valkey: Valkey,
    age: Ttl,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Buckets were emptied.
    Reset,
    /// The tenant was put on a plan, or on none.
    Plan,
}

/// Who wanted it, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Who. At most 256 bytes without control characters.
    pub initiator: String,
    /// In words. At most 1 KiB without control characters.
    pub description: String,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, by the store's clock.
    pub time: SystemTime,
    /// What.
    pub action: Action,
    /// What was reset, by the keys' names in the store; or the plan, if it is not none.
    pub targets: Vec<String>,
    /// Who and why.
    pub cause: Cause,
}

/// A page of an audit.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// What [`AuditStore::list`] takes for the next page, if there is one.
    pub next: Option<AuditToken>,
}

/// The last entry of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditToken {
    millis: u64,
    place: u64,
}

// === impl AuditStore ===

impl AuditStore {
    /// Audits that are kept for `age`.
    ///
    /// # Errors
    ///
    /// An age that no key of rate limiting may have.
    pub fn new(valkey: Valkey, age: Duration) -> Result<AuditStore, TtlError> {
        Ok(AuditStore { valkey, age: Ttl::new(Feature::RATELIMIT, age)? })
    }

    /// Notes that something is about to be done. To be called before it is, so that nothing is done without.
    ///
    /// Dropped before it is done, or repeated, it may be noted or noted twice.
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
        let fields = [("a", action.name()), ("i", &cause.initiator), ("d", &cause.description)];
        for (field, value) in fields.into_iter().chain(targets.iter().map(|target| ("k", *target))) {
            args.extend([Arg::from(field), Arg::from(value)]);
        }
        self.valkey.run(&RECORD, &[&self.key(tenant)], &args).await?;
        Ok(())
    }

    /// At most `size` entries of a tenant, the newest first, from where the page before ended.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if one is damaged, or the store's.
    pub async fn list(&self, tenant: &TenantId, size: u32, after: Option<AuditToken>) -> Result<AuditPage, Error> {
        let size = size.max(1);
        let from = after.map_or_else(|| "+".to_owned(), |AuditToken { millis, place }| format!("({millis}-{place}"));
        // One more than the page, so that it shows whether there is another.
        let mut rows = self.valkey.xrevrange(&self.key(tenant), &from, "-", u64::from(size) + 1).await?;
        let more = rows.len() > size as usize;
        rows.truncate(size as usize);
        let last = rows.last().filter(|_| more);
        let next = last.map(|row| AuditToken::of_id(&row.id).ok_or(DAMAGED)).transpose()?;
        let entries = rows.into_iter().map(AuditEntry::decode).collect::<Result<_, _>>()?;
        Ok(AuditPage { entries, next })
    }

    fn key(&self, tenant: &TenantId) -> Key {
        Key::tagged(self.valkey.app(), Feature::RATELIMIT, tenant.as_str(), "t", &["audit"])
    }
}

// === impl Action ===

impl Action {
    /// As it stands in the stream and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Action::Reset => "reset",
            Action::Plan => "plan",
        }
    }
}

// === impl Cause ===

impl Cause {
    /// What a request says of it, each text by its rule.
    pub fn new(initiator: String, description: String, violations: &mut Violations) -> Cause {
        for (field, text, most) in
            [("initiator", &initiator, stated::INITIATOR), ("description", &description, stated::DESCRIPTION)]
        {
            if text.len() > most || text.chars().any(char::is_control) {
                let sent = text.len();
                violations
                    .add(field, format!("must be at most {most} bytes without control characters; {sent} were sent"));
            }
        }
        Cause { initiator, description }
    }
}

// === impl AuditEntry ===

const DAMAGED: Error = Error::Corrupt("an entry of an audit is none");

impl AuditEntry {
    fn decode(row: StreamEntry) -> Result<AuditEntry, Error> {
        let AuditToken { millis, .. } = AuditToken::of_id(&row.id).ok_or(DAMAGED)?;
        let (mut action, mut targets, mut cause) = (None, Vec::new(), Cause::default());
        for (field, value) in row.fields {
            let text = String::from_utf8(value.into()).map_err(|_| DAMAGED)?;
            match field.as_ref() {
                b"a" => action = [Action::Reset, Action::Plan].into_iter().find(|action| action.name() == text),
                b"i" => cause.initiator = text,
                b"d" => cause.description = text,
                b"k" => targets.push(text),
                // What a later release may add.
                _ => {}
            }
        }
        let time = UNIX_EPOCH + Duration::from_millis(millis);
        Ok(AuditEntry { time, action: action.ok_or(DAMAGED)?, targets, cause })
    }
}

// === impl AuditToken ===

impl AuditToken {
    /// The opaque text that callers of `tenant` get.
    #[must_use]
    pub fn encode(self, tenant: &TenantId) -> String {
        let AuditToken { millis, place } = self;
        URL_SAFE_NO_PAD.encode(format!("1 {millis} {place} {tenant}"))
    }

    /// Reads the text back; `None` if it is none, or is another tenant's.
    #[must_use]
    pub fn parse(text: &str, tenant: &TenantId) -> Option<AuditToken> {
        if text.len() > LONGEST_TOKEN {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.splitn(4, ' ');
        let (version, millis, place) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (version == "1" && parts.next()? == tenant.as_str()).then_some(AuditToken { millis, place })
    }

    fn of_id(id: &str) -> Option<AuditToken> {
        let (millis, place) = id.split_once('-')?;
        Some(AuditToken { millis: millis.parse().ok()?, place: place.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_by_its_tenant_alone() {
        let [acme, acm] = ["acme", "acm"].map(|tenant| TenantId::parse(tenant, "").unwrap());
        let token = AuditToken { millis: 1_790_000_000_000, place: 3 };
        assert_eq!(AuditToken::parse(&token.encode(&acme), &acme), Some(token));
        assert_eq!(AuditToken::parse(&token.encode(&acme), &acm), None);
        for text in ["", "x", "MSAx", &"A".repeat(300), &URL_SAFE_NO_PAD.encode("2 1 1 acme")] {
            assert_eq!(AuditToken::parse(text, &acme), None, "{text}");
        }
    }

    #[test]
    fn a_cause_has_bounds() {
        let mut violations = Violations::new();
        Cause::new("x".repeat(256), "\u{e4}".repeat(512), &mut violations);
        assert!(violations.is_empty());
        Cause::new("x".repeat(257), "a\nb".to_owned(), &mut violations);
        assert_eq!(
            violations.to_string(),
            "initiator: must be at most 256 bytes without control characters; 257 were sent; \
             description: must be at most 1024 bytes without control characters; 3 were sent"
        );
    }
}
