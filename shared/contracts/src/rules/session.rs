//! Bounds of what the session service takes.

use super::{Rule, Table};
use crate::names::{Id, SessionName};

/// Attributes of a session, and attributes that one update removes.
pub const ATTRIBUTES: usize = 64;
/// Longest attribute value, in bytes: all of a session.
pub const BYTES: usize = 8 * 1024;
/// Tokens of a session that have not expired.
pub const TOKENS: usize = 16;
/// Longest path, in bytes.
pub const PATH: usize = 2 * 1024;
/// Longest company id, and longest label of a device, in bytes.
pub const LABEL: usize = 128;
/// Longest user agent, in bytes.
pub const USER_AGENT: usize = 512;
/// Longest jti, and longest issuer, in bytes.
pub const CLAIM: usize = 256;
/// Pattern of an attribute's key.
pub const ATTRIBUTE_KEY: &str = "[A-Za-z0-9._-]{1,64}";
/// Paths that `update_mask` may name.
pub const MASKABLE: [&str; 5] = ["company_id", "last_path", "attributes", "device", "tokens"];
/// Pattern of an event's id.
const EVENT_ID: &str = "[0-9]{1,20}-[0-9]{1,20}";
/// Pattern of an IPv4 or IPv6 address; an address holds more than a pattern can say.
const IP: &str = r"[0-9A-Fa-f.:]{2,45}";
/// Path: starts with `/`, at most [`PATH`] bytes, no control characters.
const LAST_PATH: &str = r"/[^\x00-\x1f\x7f-\x9f]{0,2047}";
/// Life from 1 s to 31 days; 0 s is unset.
const LIFE: Rule = Rule::Seconds { least: 1, most: 31 * 24 * 3600, zero: true, digits: 9 };

pub(crate) const RULES: Table = &[
    ("Session.company_id", Rule::up_to(LABEL)),
    ("Session.last_path", Rule::Pattern(LAST_PATH)),
    ("Session.attributes", Rule::Pairs { most: ATTRIBUTES, key: ATTRIBUTE_KEY, value: Some(&Rule::up_to(BYTES)) }),
    ("Session.idle_timeout", LIFE),
    ("Session.absolute_timeout", LIFE),
    ("Session.tokens", Rule::Items { least: 0, most: TOKENS, unique: false, each: None }),
    ("Device.user_agent", Rule::up_to(USER_AGENT)),
    ("Device.ip", Rule::Pattern(IP)),
    ("Device.label", Rule::up_to(LABEL)),
    ("BoundToken.jti", Rule::some(CLAIM)),
    ("BoundToken.issuer", Rule::some(CLAIM)),
    ("CreateSessionRequest.request_id", Rule::Pattern(Id::PATTERN)),
    ("RotateSessionRequest.request_id", Rule::Pattern(Id::PATTERN)),
    ("ListSessionsRequest.page_size", Rule::Number { least: 0, most: i32::MAX as i64 }),
    ("ListSessionsRequest.page_token", Rule::Opaque),
    ("UpdateSessionRequest.update_mask", Rule::Mask(&MASKABLE)),
    ("UpdateSessionRequest.version", Rule::Number { least: 0, most: i32::MAX as i64 }),
    (
        "UpdateSessionRequest.remove_attributes",
        Rule::Items { least: 0, most: ATTRIBUTES, unique: false, each: Some(&Rule::Required(ATTRIBUTE_KEY)) },
    ),
    ("RevokeAllSessionsRequest.keep_session", Rule::Pattern(SessionName::NAME_PATTERN)),
    ("StreamSessionEventsRequest.after", Rule::Pattern(EVENT_ID)),
];

pub(crate) const ALWAYS_SENT: &[&str] = &[
    "Session.company_id",
    "Session.last_path",
    "Session.create_time",
    "Session.update_time",
    "Session.expire_time",
    "Session.absolute_expire_time",
    "Session.idle_timeout",
    "Session.absolute_timeout",
    "BoundToken.expire_time",
    "TouchSessionResponse.expire_time",
];
