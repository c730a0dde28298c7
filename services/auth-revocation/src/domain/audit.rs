//! Audit: entries, pages, and the tokens of pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyplane_revocation::Millis;

use super::{Cause, Record};

/// Longest token of a page that can be one of ours: a tenant has at most 63 bytes.
const MAX_TOKEN: usize = 256;

/// Audited revocation or undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Time of the change, by the store's clock.
    pub time: Millis,
    /// Revocation after the change.
    pub record: Record,
    /// Initiator and reason.
    pub cause: Cause,
}

/// Page of the audit.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Token of the next page, if there is one.
    pub next: Option<AuditToken>,
}

/// Last entry of a page. The audit of all partitions is read as one list: the newest first; entries of one millisecond by
/// place and partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditToken {
    /// Milliseconds of its id.
    pub millis: u64,
    /// Place among the entries of that millisecond in the partition.
    pub place: u64,
    /// Partition of the entry.
    pub partition: u32,
}

// === impl AuditToken ===

impl AuditToken {
    /// Encodes the opaque text for callers of `tenant`.
    #[must_use]
    pub fn encode(&self, tenant: &str) -> String {
        let AuditToken { millis, place, partition } = self;
        URL_SAFE_NO_PAD.encode(format!("1 {millis} {place} {partition} {tenant}"))
    }

    /// Decodes the text; `None` if it is malformed, or another tenant's.
    #[must_use]
    pub fn parse(text: &str, tenant: &str) -> Option<AuditToken> {
        if text.len() > MAX_TOKEN {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.splitn(5, ' ');
        let (version, millis, place) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (partition, owner) = (parts.next()?.parse().ok()?, parts.next()?);
        (version == "1" && owner == tenant).then_some(AuditToken { millis, place, partition })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_valid_for_its_tenant_alone() {
        let token = AuditToken { millis: 1_790_000_000_000, place: 3, partition: 63 };
        assert_eq!(AuditToken::parse(&token.encode("acme"), "acme"), Some(token));
        assert_eq!(AuditToken::parse(&token.encode("acme"), "acm"), None);
        for text in ["", "x", "MSAx", &"A".repeat(300), &URL_SAFE_NO_PAD.encode("2 1 1 1 acme")] {
            assert_eq!(AuditToken::parse(text, "acme"), None, "{text}");
        }
    }
}
