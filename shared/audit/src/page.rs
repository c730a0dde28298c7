use std::fmt;

use keyplane_contracts::audit::v1 as pb;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::{Violation, Violations, page};

/// Place of an entry in a tenant's audit: entries are ordered by time, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Time of the entry, in ms since 1970.
    pub millis: u64,
    /// Place among the entries of one millisecond in one stream.
    pub place: u64,
    /// Index of the stream, which decides between entries of one time and place: the lower one is first.
    pub stream: u32,
}

/// Page of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Entries, newest first.
    pub entries: Vec<T>,
    /// Last entry of the page, if more entries follow.
    pub next: Option<Position>,
}

/// Checked request of ListAuditEntries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Tenant whose audit is listed.
    pub tenant: TenantId,
    /// Size of the page, 1 to 1,000.
    pub size: u32,
    /// Last entry of the previous page.
    pub after: Option<Position>,
}

// === impl Position ===

impl Position {
    /// Position of the entry with this id in the stream with this index; `None` if the id is malformed.
    pub(crate) fn new(id: &str, stream: usize) -> Option<Position> {
        let (millis, place) = id.split_once('-')?;
        Some(Position { millis: millis.parse().ok()?, place: place.parse().ok()?, stream: stream.try_into().ok()? })
    }

    /// Id from which the stream with this index continues after this position, as XREVRANGE takes it.
    pub(crate) fn continues(self, stream: usize) -> String {
        let excluded = if stream <= self.stream as usize { "(" } else { "" };
        format!("{excluded}{}-{}", self.millis, self.place)
    }

    /// Orders positions as pages list them.
    pub(crate) fn newest_first(a: &Position, b: &Position) -> std::cmp::Ordering {
        (b.millis, b.place).cmp(&(a.millis, a.place)).then(a.stream.cmp(&b.stream))
    }

    /// Parses the text of a position.
    fn parse(text: &str) -> Option<Position> {
        let mut parts = text.splitn(3, ' ');
        let (millis, place, stream) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        Some(Position { millis, place, stream: stream.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.millis, self.place, self.stream)
    }
}

// === impl Page ===

impl<T> Page<T> {
    /// Response with the page; `entry` makes the message of an entry.
    pub fn into_response(
        self,
        tenant: &TenantId,
        entry: impl FnMut(T) -> pb::AuditEntry,
    ) -> pb::ListAuditEntriesResponse {
        pb::ListAuditEntriesResponse {
            audit_entries: self.entries.into_iter().map(entry).collect(),
            next_page_token: self.next.map_or_else(String::new, |last| page::encode(tenant.as_str(), last)),
        }
    }
}

// === impl ListRequest ===

impl ListRequest {
    /// Checks a request.
    ///
    /// # Errors
    ///
    /// Every violated field.
    pub fn parse(request: &pb::ListAuditEntriesRequest) -> Result<ListRequest, Vec<Violation>> {
        let mut violations = Violations::new();
        let tenant = violations.keep(TenantId::parse_name(&request.parent, "parent"));
        let size = page::size(request.page_size, 50, 1000, &mut violations);
        let after = tenant.as_ref().and_then(|tenant| {
            violations.keep(page::decode(&request.page_token, tenant.as_str(), Position::parse)).flatten()
        });
        match tenant {
            Some(tenant) => violations.into_result(ListRequest { tenant, size, after }),
            None => Err(violations.into_iter().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_token_leads_to_the_last_entry() {
        let tenant = TenantId::parse("acme", "").expect("a tenant");
        let last = Position { millis: 1_790_000_000_000, place: 3, stream: 63 };
        let page = Page { entries: vec![()], next: Some(last) };
        let response = page.into_response(&tenant, |()| pb::AuditEntry::default());
        let parse = |parent: &str| {
            let (parent, page_token) = (parent.to_owned(), response.next_page_token.clone());
            ListRequest::parse(&pb::ListAuditEntriesRequest { parent, page_size: 0, page_token })
        };
        assert_eq!(parse("tenants/acme"), Ok(ListRequest { tenant, size: 50, after: Some(last) }));
        assert!(parse("tenants/acm").is_err(), "the token is bound to its tenant");
        assert!(["", "1 2", "1 2 x", "1 2 3 4"].iter().all(|text| Position::parse(text).is_none()));
    }

    #[test]
    fn list_request_is_checked_as_a_whole() {
        let parse = |parent: &str, page_size, page_token: &str| {
            let (parent, page_token) = (parent.to_owned(), page_token.to_owned());
            ListRequest::parse(&pb::ListAuditEntriesRequest { parent, page_size, page_token })
        };
        let size = |page_size| parse("tenants/acme", page_size, "").expect("a request").size;
        assert_eq!([0, 7, 1000, 1001].map(size), [50, 7, 1000, 1000]);
        let fields = |violations: Vec<Violation>| violations.into_iter().map(|one| one.field).collect::<Vec<_>>();
        assert_eq!(fields(parse("tenants/acme", -1, "x").expect_err("two")), ["page_size", "page_token"]);
        assert_eq!(fields(parse("tenants/SECRET", -1, "x").expect_err("two")), ["parent", "page_size"]);
    }
}
