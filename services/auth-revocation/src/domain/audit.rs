use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyplane_revocation::Millis;

use super::{Cause, Record};

/// Longest token of a page that can be one of ours: a tenant has at most 63 bytes.
const MAX_TOKEN: usize = 256;

/// Something that was revoked, or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, by the store's clock.
    pub time: Millis,
    /// The revocation as it was then.
    pub record: Record,
    /// Who and why.
    pub cause: Cause,
}

/// A page of the audit.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins, if there is one.
    pub next: Option<AuditToken>,
}

/// The last entry of a page. The audit of all partitions is read as one list: the newest first, and of one moment by
/// position and partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditToken {
    /// Milliseconds of its id.
    pub millis: u64,
    /// Its place among those of the same millisecond in its partition.
    pub place: u64,
    /// Its partition.
    pub partition: u32,
}

// === impl AuditToken ===

impl AuditToken {
    /// The opaque text that callers of `tenant` get.
    #[must_use]
    pub fn encode(&self, tenant: &str) -> String {
        let AuditToken { millis, place, partition } = self;
        URL_SAFE_NO_PAD.encode(format!("1 {millis} {place} {partition} {tenant}"))
    }

    /// Reads the text back; `None` if it is none, or is another tenant's.
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
    fn a_token_is_read_back_by_its_tenant_alone() {
        let token = AuditToken { millis: 1_790_000_000_000, place: 3, partition: 63 };
        assert_eq!(AuditToken::parse(&token.encode("acme"), "acme"), Some(token));
        assert_eq!(AuditToken::parse(&token.encode("acme"), "acm"), None);
        for text in ["", "x", "MSAx", &"A".repeat(300), &URL_SAFE_NO_PAD.encode("2 1 1 1 acme")] {
            assert_eq!(AuditToken::parse(text, "acme"), None, "{text}");
        }
    }
}
