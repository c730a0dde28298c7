//! Resource names and the ids they consist of.
//!
//! Parsed ids are safe in a key, a log line and a resource name. A failed parse is a [`Violation`] that
//! names the rule and the length of what was sent, never the value.
//!
//! ```
//! use keyplane_contracts::names::SessionName;
//!
//! let name = SessionName::parse("tenants/acme/users/u-42/sessions/7f3c0000000000000000000000000000", "name")?;
//! assert_eq!(name.user.user.as_str(), "u-42");
//! assert_eq!(name.user.to_string(), "tenants/acme/users/u-42");
//! # Ok::<(), keyplane_contracts::Violation>(())
//! ```

mod memory;

use std::fmt;

use compact_str::CompactString;
use data_encoding::HEXLOWER;

use crate::Violation;

pub use memory::{MemoryName, MemorySessionName};

/// Tenant: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, which is a DNS label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(CompactString);

/// Id that callers choose (a user, a request id, ...): `[A-Za-z0-9._~@|:+-]{1,128}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(CompactString);

/// User's id, by the rule of [`Id`].
pub type UserId = Id;

/// Session's id: 32 lower-case hexadecimal digits (128 random bits).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

/// `tenants/{tenant}/users/{user}`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName {
    /// Tenant that the user belongs to.
    pub tenant: TenantId,
    /// User within the tenant.
    pub user: UserId,
}

/// `tenants/{tenant}/users/{user}/sessions/{session}`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionName {
    /// Whose session it is.
    pub user: UserName,
    /// Session among the user's.
    pub session: SessionId,
}

/// Collection's id: `[a-z][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionId(CompactString);

/// `tenants/{tenant}/collections/{collection}`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionName {
    /// Tenant that owns the collection.
    pub tenant: TenantId,
    /// Collection among the tenant's.
    pub collection: CollectionId,
}

/// `tenants/{tenant}/collections/{collection}/documents/{document}`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentName {
    /// Collection that holds the document.
    pub collection: CollectionName,
    /// Document within the collection, by the rule of [`Id`].
    pub document: Id,
}

const SESSION_RULE: &str = "the session must be 32 lower-case hexadecimal digits";

// === impl TenantId ===

impl TenantId {
    /// Regular expression of the whole id.
    pub const PATTERN: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
    /// Regular expression of the whole resource name, `tenants/{tenant}`.
    pub const NAME_PATTERN: &str = "tenants/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

    /// Parses a tenant id; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// Rule, if `text` breaks it.
    pub fn parse(text: &str, field: &str) -> Result<TenantId, Violation> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let holds =
            (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if holds {
            Ok(TenantId(text.into()))
        } else {
            Err(Violation::of_text(field, format_args!("the tenant must match {}", TenantId::PATTERN), text))
        }
    }

    /// Parses a tenant's resource name, `tenants/{tenant}`; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// Rule, if `text` breaks it.
    pub fn parse_name(text: &str, field: &str) -> Result<TenantId, Violation> {
        let [tenant] = segments(text, field, "tenants/{tenant}")?;
        TenantId::parse(tenant, field)
    }

    /// Id as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Id ===

impl Id {
    /// Regular expression of the whole id.
    pub const PATTERN: &str = "[A-Za-z0-9._~@|:+-]{1,128}";

    /// Parses an id that a caller chose; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// Rule, if `text` breaks it.
    pub fn parse(text: &str, field: &str) -> Result<Id, Violation> {
        Id::parse_as("the id", text, field)
    }

    /// Id as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse_as(what: &str, text: &str, field: &str) -> Result<Id, Violation> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~@|:+-".contains(&byte);
        let holds = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        if holds {
            Ok(Id(text.into()))
        } else {
            Err(Violation::of_text(field, format_args!("{what} must match {}", Id::PATTERN), text))
        }
    }
}

// === impl SessionId ===

impl SessionId {
    /// Parses a session id; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// Rule, if `text` breaks it.
    pub fn parse(text: &str, field: &str) -> Result<SessionId, Violation> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let holds = text.len() == 32 && text.bytes().all(digit);
        if holds { Ok(SessionId(text.to_owned())) } else { Err(Violation::of_text(field, SESSION_RULE, text)) }
    }

    /// Id of 128 bits, e.g. fresh from the random source.
    #[must_use]
    pub fn from_bits(bits: [u8; 16]) -> SessionId {
        SessionId(HEXLOWER.encode(&bits))
    }

    /// The 32 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl UserName ===

impl UserName {
    const PATTERN: &str = "tenants/{tenant}/users/{user}";

    /// Parses a user's resource name; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// First rule that `text` breaks: the pattern, or that of one of its ids.
    pub fn parse(text: &str, field: &str) -> Result<UserName, Violation> {
        let [tenant, user] = segments(text, field, UserName::PATTERN)?;
        Ok(UserName { tenant: TenantId::parse(tenant, field)?, user: Id::parse_as("the user", user, field)? })
    }

    /// Name of one of the user's sessions.
    #[must_use]
    pub fn session(&self, session: SessionId) -> SessionName {
        SessionName { user: self.clone(), session }
    }
}

// === impl SessionName ===

impl SessionName {
    /// Regular expression of the session's id alone.
    pub const ID_PATTERN: &str = "[0-9a-f]{32}";
    /// Regular expression of the whole resource name.
    pub const NAME_PATTERN: &str =
        "tenants/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/users/[A-Za-z0-9._~@|:+-]{1,128}/sessions/[0-9a-f]{32}";
    const PATTERN: &str = "tenants/{tenant}/users/{user}/sessions/{session}";

    /// Parses a session's resource name; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// First rule that `text` breaks: the pattern, or that of one of its ids.
    pub fn parse(text: &str, field: &str) -> Result<SessionName, Violation> {
        let [tenant, user, session] = segments(text, field, SessionName::PATTERN)?;
        let user = UserName { tenant: TenantId::parse(tenant, field)?, user: Id::parse_as("the user", user, field)? };
        Ok(SessionName { user, session: SessionId::parse(session, field)? })
    }
}

// === impl CollectionId ===

impl CollectionId {
    /// Regular expression of the whole id.
    pub const PATTERN: &str = "[a-z][a-z0-9-]{0,62}";

    /// Parses a collection id; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// Rule, if `text` breaks it.
    pub fn parse(text: &str, field: &str) -> Result<CollectionId, Violation> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if starts && text.len() <= 63 && text.bytes().all(inner) {
            Ok(CollectionId(text.into()))
        } else {
            Err(Violation::of_text(field, format_args!("the collection must match {}", CollectionId::PATTERN), text))
        }
    }

    /// Id as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl CollectionName ===

impl CollectionName {
    /// Regular expression of the whole resource name.
    pub const NAME_PATTERN: &str = "tenants/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/collections/[a-z][a-z0-9-]{0,62}";
    const PATTERN: &str = "tenants/{tenant}/collections/{collection}";

    /// Parses a collection's resource name; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// First rule that `text` breaks: the pattern, or that of one of its ids.
    pub fn parse(text: &str, field: &str) -> Result<CollectionName, Violation> {
        let [tenant, collection] = segments(text, field, CollectionName::PATTERN)?;
        let tenant = TenantId::parse(tenant, field)?;
        Ok(CollectionName { tenant, collection: CollectionId::parse(collection, field)? })
    }

    /// Name of one of the collection's documents.
    #[must_use]
    pub fn document(&self, document: Id) -> DocumentName {
        DocumentName { collection: self.clone(), document }
    }
}

// === impl DocumentName ===

impl DocumentName {
    /// Regular expression of the whole resource name.
    pub const NAME_PATTERN: &str = "tenants/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/collections/[a-z][a-z0-9-]{0,62}/documents/[A-Za-z0-9._~@|:+-]{1,128}";
    const PATTERN: &str = "tenants/{tenant}/collections/{collection}/documents/{document}";

    /// Parses a document's resource name; `field` is where it was sent.
    ///
    /// # Errors
    ///
    /// First rule that `text` breaks: the pattern, or that of one of its ids.
    pub fn parse(text: &str, field: &str) -> Result<DocumentName, Violation> {
        let [tenant, collection, document] = segments(text, field, DocumentName::PATTERN)?;
        let tenant = TenantId::parse(tenant, field)?;
        let collection = CollectionName { tenant, collection: CollectionId::parse(collection, field)? };
        Ok(collection.document(Id::parse_as("the document", document, field)?))
    }
}

// === Display ===

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/collections/{}", self.tenant, self.collection)
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/documents/{}", self.collection, self.document)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}/users/{}", self.tenant, self.user)
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/sessions/{}", self.user, self.session)
    }
}

// === helpers ===

/// Variable segments of `text`, in the order of `pattern`; all other segments must equal those of `pattern`.
fn segments<'a, const N: usize>(text: &'a str, field: &str, pattern: &str) -> Result<[&'a str; N], Violation> {
    let mismatch = || Violation::of_text(field, format_args!("the name must have the form {pattern}"), text);
    let mut found = [""; N];
    let mut next = 0;
    let mut given = text.split('/');
    for expected in pattern.split('/') {
        let segment = given.next().ok_or_else(mismatch)?;
        if expected.starts_with('{') {
            *found.get_mut(next).ok_or_else(mismatch)? = segment;
            next += 1;
        } else if segment != expected {
            return Err(mismatch());
        }
    }
    if given.next().is_some() { Err(mismatch()) } else { Ok(found) }
}

#[cfg(test)]
mod tests;
