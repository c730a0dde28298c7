//! Targets of revocations, their ids, and the hash of a token.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::text::{self, Malformed};

/// Hash of a token: the first 16 bytes of SHA-256 over tenant, issuer and jti, each with its length before it as 4
/// bytes, big-endian. A jti is scoped by tenant and issuer, and no other three parts can have the same hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; Self::BYTES]);

/// Id of a revocation: a letter for the kind, and 32 hex digits. A target always has the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationId([u8; 33]);

/// Time of a token that a cutoff counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CutoffBy {
    /// Claim `iat`.
    IssuedAt,
    /// Claim `auth_time`.
    AuthTime,
}

/// Scope of a revocation within a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Single token.
    Token(TokenHash),
    /// Tokens of a login session, by `sid`.
    Session(Box<str>),
    /// Tokens of a user, up to a moment.
    Subject {
        /// Claim `sub`.
        user: Box<str>,
        /// Time of a token that counts.
        by: CutoffBy,
    },
    /// Tokens of a client, up to a moment.
    Client(Box<str>),
    /// Tokens that a key signed.
    Key {
        /// Issuer of the key.
        issuer: Box<str>,
        /// Parameter `kid` of the token's header.
        kid: Box<str>,
    },
    /// All tokens of the tenant, up to a moment.
    Tenant,
}

/// Target of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Tenant of the tokens.
    pub tenant: Box<str>,
    /// Scope within the tenant.
    pub scope: Scope,
}

/// Fault of a text that is no target.
const MALFORMED: Malformed = Malformed::new("a target", "it has a kind's letter, and as many parts as that kind has");

// === impl TokenHash ===

impl TokenHash {
    /// Length in bytes.
    pub const BYTES: usize = 16;

    /// Hash of a token. One SHA-256, no allocation.
    pub fn digest(tenant: &str, issuer: &str, jti: &str) -> Self {
        Self(digest([tenant, issuer, jti]))
    }

    /// Bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Partition of the store, of `count`, that the token belongs to: the first 4 bytes, big-endian, modulo `count`.
    pub fn partition(&self, count: u32) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) % count.max(1)
    }

    /// Reads 32 hex digits, small letters.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        if text.len() != 2 * Self::BYTES {
            return None;
        }
        HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl From<[u8; Self::BYTES]> for TokenHash {
    fn from(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

/// First 16 bytes of SHA-256 over the parts, each with its length before it.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str> + Clone) -> [u8; 16] {
    // Hashing piece by piece costs twice as much as hashing the whole, which fits but for the longest names.
    let mut buffer = [0; 512];
    let digest = match gather(&mut buffer, parts.clone()) {
        Some(whole) => Sha256::digest(whole),
        None => {
            let mut hasher = Sha256::new();
            for part in parts {
                hasher.update(length(part));
                hasher.update(part);
            }
            hasher.finalize()
        }
    };
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

/// Joins the parts, each with its length before it, if they fit.
fn gather<'a, 'b>(buffer: &'a mut [u8], parts: impl IntoIterator<Item = &'b str>) -> Option<&'a [u8]> {
    let mut end = 0;
    for part in parts {
        let start = end + 4;
        buffer.get_mut(end..start)?.copy_from_slice(&length(part));
        end = start + part.len();
        buffer.get_mut(start..end)?.copy_from_slice(part.as_bytes());
    }
    buffer.get(..end)
}

/// Length of a part. Parts of 4 GiB never get here: requests allow 256 bytes.
fn length(part: &str) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

// === impl RevocationId ===

impl RevocationId {
    /// Reads an id: one of `tsiackn`, and 32 hex digits, small letters.
    pub fn parse(text: &str) -> Option<Self> {
        let (letter, hex) = text.split_at_checked(1)?;
        let hash = TokenHash::from_hex(hex)?;
        let letter = letter.bytes().next().filter(|letter| b"tsiackn".contains(letter))?;
        Some(Self::new(letter, hash.0))
    }

    /// Id in resource names.
    pub fn as_str(&self) -> &str {
        // Made of ASCII alone, so it is never the default.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Letter of its kind, as in [`Scope::letter`].
    pub fn letter(&self) -> char {
        char::from(self.0[0])
    }

    /// Partition of the store, of `count`, that it belongs to: the first 4 bytes of its hash, big-endian, modulo
    /// `count`. A token's is that of [`TokenHash::partition`].
    pub fn partition(&self, count: u32) -> u32 {
        let first = self.as_str().get(1..9).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        first.unwrap_or_default() % count.max(1)
    }

    /// Id of a target that `parts` name: the tenant, then the scope's names. Not for tokens.
    pub(crate) fn named(letter: char, parts: &[&str]) -> Self {
        let mut kind = [0; 4];
        let kind: &str = letter.encode_utf8(&mut kind);
        Self::new(kind.as_bytes()[0], digest(std::iter::once(kind).chain(parts.iter().copied())))
    }

    fn new(letter: u8, hash: [u8; 16]) -> Self {
        let mut text = [letter; 33];
        HEXLOWER.encode_mut(&hash, &mut text[1..]);
        Self(text)
    }
}

impl From<TokenHash> for RevocationId {
    fn from(hash: TokenHash) -> Self {
        Self::new(b't', hash.0)
    }
}

impl fmt::Display for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationId({self})")
    }
}

// === impl Scope ===

impl Scope {
    /// Letter of its kind: in ids, and in the feed.
    pub fn letter(&self) -> char {
        match self {
            Self::Token(_) => 't',
            Self::Session(_) => 's',
            Self::Subject { by: CutoffBy::IssuedAt, .. } => 'i',
            Self::Subject { by: CutoffBy::AuthTime, .. } => 'a',
            Self::Client(_) => 'c',
            Self::Key { .. } => 'k',
            Self::Tenant => 'n',
        }
    }
}

// === impl Target ===

impl Target {
    /// Id of the revocation. One SHA-256, none for a token; no allocation.
    pub fn id(&self) -> RevocationId {
        let (letter, tenant) = (self.scope.letter(), &*self.tenant);
        match &self.scope {
            Scope::Token(hash) => (*hash).into(),
            Scope::Session(name) | Scope::Subject { user: name, .. } | Scope::Client(name) => {
                RevocationId::named(letter, &[tenant, name])
            }
            Scope::Key { issuer, kid } => RevocationId::named(letter, &[tenant, issuer, kid]),
            Scope::Tenant => RevocationId::named(letter, &[tenant]),
        }
    }

    /// Encodes the text in the feed: the kind's letter, the tenant, and the scope's names, each percent-encoded
    /// ([`text::encode`]), with a space between.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(64);
        out.push(self.scope.letter());
        let mut part = |text: &str| {
            out.push(' ');
            text::push(&mut out, text);
        };
        part(&self.tenant);
        match &self.scope {
            Scope::Token(hash) => part(&hash.to_string()),
            Scope::Session(name) | Scope::Subject { user: name, .. } | Scope::Client(name) => part(name),
            Scope::Key { issuer, kid } => {
                part(issuer);
                part(kid);
            }
            Scope::Tenant => {}
        }
        out
    }

    /// Decodes a text of [`Target::encode`].
    ///
    /// # Errors
    /// [`Malformed`] for any other text; an empty part, too.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        Self::read(text).ok_or(MALFORMED)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let letter = parts.next()?;
        let tenant = text::decode(parts.next()?)?;
        let mut part = || text::decode(parts.next()?);
        let scope = match letter {
            "t" => Scope::Token(TokenHash::from_hex(&part()?)?),
            "s" => Scope::Session(part()?),
            "i" => Scope::Subject { user: part()?, by: CutoffBy::IssuedAt },
            "a" => Scope::Subject { user: part()?, by: CutoffBy::AuthTime },
            "c" => Scope::Client(part()?),
            "k" => Scope::Key { issuer: part()?, kid: part()? },
            "n" => Scope::Tenant,
            _ => return None,
        };
        parts.next().is_none().then_some(Self { tenant, scope })
    }
}

#[cfg(test)]
pub(crate) mod tests;
