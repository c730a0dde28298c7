//! Bounds of what the revocation service takes.

use super::{Rule, Table};
use crate::names::{Id, TenantId};

/// Longest issuer, jti, sid, client and kid, in bytes.
pub const CLAIM: usize = 256;
/// Longest token, in bytes.
pub const TOKEN: usize = 16 * 1024;
/// Revocations of one batch, and tokens of one batch of checks.
pub const BATCH: usize = 1000;
/// Sessions that a cutoff may leave alone.
pub const KEPT: usize = 16;
/// Longest wait for propagation, in seconds.
pub const WAIT: u64 = 10;
/// Pattern of a revocation's id.
pub const REVOCATION_ID: &str = "[tsiackn][0-9a-f]{32}";

/// Pattern of a revocation's etag: its version.
const ETAG: &str = "0|[1-9][0-9]{0,18}";

const PARENT: Rule = Rule::Pattern(TenantId::NAME_PATTERN);
const MAYBE: Rule = Rule::up_to(CLAIM);
const NAMED: Rule = Rule::some(CLAIM);

pub(crate) const RULES: Table = &[
    ("RevokeTokenRequest.parent", PARENT),
    ("RevokeTokenRequest.issuer", MAYBE),
    ("RevokeTokenRequest.jti", MAYBE),
    ("RevokeTokenRequest.token", Rule::up_to(TOKEN)),
    ("RevokeSessionRequest.parent", PARENT),
    ("RevokeSessionRequest.sid", NAMED),
    ("RevokeSubjectRequest.parent", PARENT),
    ("RevokeSubjectRequest.subject", Rule::Required(Id::PATTERN)),
    ("RevokeSubjectRequest.keep_sids", Rule::Items { least: 0, most: KEPT, unique: false, each: Some(&NAMED) }),
    ("RevokeClientRequest.parent", PARENT),
    ("RevokeClientRequest.client", NAMED),
    ("RevokeKeyRequest.parent", PARENT),
    ("RevokeKeyRequest.issuer", NAMED),
    ("RevokeKeyRequest.kid", NAMED),
    ("RevokeTenantRequest.parent", PARENT),
    ("RevokeRequest", Rule::OneOf),
    ("BatchRevokeRequest.requests", Rule::Items { least: 1, most: BATCH, unique: false, each: None }),
    ("UndoRevocationRequest.etag", Rule::Pattern(ETAG)),
    ("Claims.issuer", MAYBE),
    ("Claims.jti", MAYBE),
    ("Claims.sid", MAYBE),
    ("Claims.subject", Rule::Pattern(Id::PATTERN)),
    ("Claims.client", MAYBE),
    ("Claims.kid", MAYBE),
    ("CheckRequest.min_sequence", Rule::Opaque),
    ("CheckRequest.max_staleness", Rule::NotNegative),
    ("BatchCheckRequest.claims", Rule::Items { least: 1, most: BATCH, unique: false, each: None }),
    ("BatchCheckRequest.min_sequence", Rule::Opaque),
    ("BatchCheckRequest.max_staleness", Rule::NotNegative),
    ("WaitForPropagationRequest.sequence", Rule::RequiredOpaque),
    ("WaitForPropagationRequest.timeout", Rule::Seconds { least: 0, most: WAIT, zero: true, digits: 9 }),
];

pub(crate) const ALWAYS_SENT: &[&str] =
    &["Revocation.expire_time", "CheckResponse.freshness", "BatchCheckResponse.freshness", "Freshness.age"];
