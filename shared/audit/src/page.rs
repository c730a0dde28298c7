use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyplane_contracts::audit::v1 as pb;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::{Violation, Violations};

/// Longest page token that a page can have: a tenant has at most 63 bytes.
const LONGEST_TOKEN: usize = 256;
/// Size of a page when the request sets none, and the largest size.
const SIZE: (u32, u32) = (50, 1000);

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

    /// Page token for callers: opaque text, bound to the tenant.
    #[must_use]
    pub fn encode(self, tenant: &str) -> String {
        let Position { millis, place, stream } = self;
        URL_SAFE_NO_PAD.encode(format!("1 {millis} {place} {stream} {tenant}"))
    }

    /// Parses a page token; `None` if it is malformed or another tenant's.
    #[must_use]
    pub fn parse(token: &str, tenant: &str) -> Option<Position> {
        if token.len() > LONGEST_TOKEN {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let mut parts = text.splitn(5, ' ');
        let (version, millis, place) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (stream, owner) = (parts.next()?.parse().ok()?, parts.next()?);
        (version == "1" && owner == tenant).then_some(Position { millis, place, stream })
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
            next_page_token: self.next.map_or_else(String::new, |last| last.encode(tenant.as_str())),
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
        let size = match u32::try_from(request.page_size) {
            Ok(0) => SIZE.0,
            Ok(size) => size.min(SIZE.1),
            Err(_) => {
                violations.add("page_size", format!("must not be negative; got {}", request.page_size));
                SIZE.0
            }
        };
        let token = request.page_token.as_str();
        let after = tenant.as_ref().filter(|_| !token.is_empty()).and_then(|tenant| {
            let rule = || Violation::new("page_token", "must be the `next_page_token` of a page of the same parent");
            violations.keep(Position::parse(token, tenant.as_str()).ok_or_else(rule))
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
    fn page_token_is_bound_to_its_tenant() {
        let position = Position { millis: 1_790_000_000_000, place: 3, stream: 63 };
        assert_eq!(Position::parse(&position.encode("acme"), "acme"), Some(position));
        assert_eq!(Position::parse(&position.encode("acme"), "acm"), None);
        for text in ["", "x", "MSAx", &"A".repeat(300), &URL_SAFE_NO_PAD.encode("2 1 1 1 acme")] {
            assert_eq!(Position::parse(text, "acme"), None, "{text}");
        }
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
