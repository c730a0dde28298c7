use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use keyplane_contracts::Violations;
use keyplane_contracts::rules::session as stated;

use super::{BoundToken, Device, Fields, Patch, Policy, Timeouts};

/// Longest key of an attribute, in bytes.
const ATTRIBUTE_KEY: usize = 64;

/// Checks `fields` of `session` against the bounds that need no store. Expired tokens are found by the script, with the
/// store's clock.
pub fn check_fields(fields: &Fields, violations: &mut Violations) {
    if let Some(company) = &fields.company_id {
        check_text("session.company_id", company, stated::LABEL, violations);
    }
    if let Some(path) = &fields.last_path {
        check_text("session.last_path", path, stated::PATH, violations);
        if !path.is_empty() && !path.starts_with('/') {
            violations.add("session.last_path", format!("must start with `/`; {} bytes were sent", path.len()));
        }
    }
    check_attributes(fields, violations);
    if let Some(device) = &fields.device {
        check_device(device, violations);
    }
    check_tokens(&fields.tokens, violations);
}

/// Checks a patch against the bounds that need no store.
pub fn check_patch(patch: &Patch, violations: &mut Violations) {
    check_fields(&patch.fields, violations);
    if patch.removed_attributes.len() > stated::ATTRIBUTES {
        let sent = patch.removed_attributes.len();
        violations.add("remove_attributes", format!("at most {} keys; {sent} were sent", stated::ATTRIBUTES));
    }
    for key in &patch.removed_attributes {
        check_attribute_key("remove_attributes", key, violations);
        if patch.fields.attributes.contains_key(key) {
            violations.add("remove_attributes", "a key may not be set and removed at once");
        }
    }
    if patch.version.is_some_and(|version| version < 0) {
        violations.add("version", "must be positive, or 0 for whichever is current");
    }
}

/// Checks the requested timeouts against the tenant's.
pub fn check_timeouts(asked: Timeouts, policy: &Policy, violations: &mut Violations) {
    let idle = ("session.idle_timeout", asked.idle, policy.idle);
    for (field, asked, cap) in [idle, ("session.absolute_timeout", asked.absolute, policy.absolute)] {
        let Some(asked) = asked else { continue };
        if asked < Duration::from_secs(1) || asked > cap {
            violations.add(field, format!("must be 1 s to {} s, the tenant's; {asked:?} was sent", cap.as_secs()));
        }
    }
}

fn check_attributes(fields: &Fields, violations: &mut Violations) {
    let sent = fields.attributes.len();
    if sent > stated::ATTRIBUTES {
        violations.add("session.attributes", format!("at most {} attributes; {sent} were sent", stated::ATTRIBUTES));
    }
    for (key, value) in &fields.attributes {
        check_attribute_key("session.attributes", key, violations);
        check_text(&attribute_field(key), value, stated::BYTES, violations);
    }
}

fn check_attribute_key(field: &str, key: &str, violations: &mut Violations) {
    if !is_attribute_key(key) {
        let (pattern, sent) = (stated::ATTRIBUTE_KEY, key.len());
        violations.add(field, format!("keys must match {pattern}; one of {sent} bytes was sent"));
    }
}

fn is_attribute_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=ATTRIBUTE_KEY).contains(&key.len()) && key.bytes().all(allowed)
}

/// Names an attribute's field. A key that breaks its rule is left out: it is a value of the caller's.
fn attribute_field(key: &str) -> String {
    if is_attribute_key(key) { format!("session.attributes[{key}]") } else { "session.attributes".to_owned() }
}

fn check_device(device: &Device, violations: &mut Violations) {
    check_text("session.device.user_agent", &device.user_agent, stated::USER_AGENT, violations);
    check_text("session.device.label", &device.label, stated::LABEL, violations);
    if !device.ip.is_empty() && device.ip.parse::<IpAddr>().is_err() {
        let sent = device.ip.len();
        violations.add("session.device.ip", format!("must be an IPv4 or IPv6 address; {sent} bytes were sent"));
    }
}

fn check_tokens(tokens: &[BoundToken], violations: &mut Violations) {
    if tokens.len() > stated::TOKENS {
        let sent = tokens.len();
        violations.add("session.tokens", format!("at most {} tokens; {sent} were sent", stated::TOKENS));
    }
    let mut seen = HashSet::new();
    for (index, token) in tokens.iter().enumerate() {
        for (name, claim) in [("jti", &token.jti), ("issuer", &token.issuer)] {
            let field = format!("session.tokens[{index}].{name}");
            if claim.is_empty() {
                violations.add(field, "must be set");
            } else {
                check_text(&field, claim, stated::CLAIM, violations);
            }
        }
        if !seen.insert((&token.issuer, &token.jti)) {
            violations.add(format!("session.tokens[{index}]"), "the same issuer and jti were sent before");
        }
    }
}

fn check_text(field: &str, text: &str, most: usize, violations: &mut Violations) {
    if text.len() > most {
        violations.add(field, format!("at most {most} bytes; {} were sent", text.len()));
    }
    if text.chars().any(char::is_control) {
        violations.add(field, format!("no control characters; one is among the {} bytes sent", text.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Micros;
    use super::*;

    fn violated(fields: Fields) -> Vec<String> {
        let mut violations = Violations::new();
        check_fields(&fields, &mut violations);
        violations.as_slice().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fields_within_their_bounds_pass() {
        let fields = Fields {
            company_id: Some("c-7".into()),
            last_path: Some(format!("/{}", "x".repeat(2047))),
            attributes: [("theme".into(), "dunkel, mit ä".into()), ("empty".into(), String::new())].into(),
            device: Some(Device { user_agent: "Mozilla/5.0".into(), ip: "2001:db8::1".into(), label: String::new() }),
            tokens: vec![BoundToken { issuer: "i".into(), jti: "j".into(), expires: Micros(1_001) }],
        };
        assert_eq!(violated(fields), [""; 0]);
    }

    #[test]
    fn violated_fields_are_all_named_and_no_value_is_repeated() {
        let fields = Fields {
            company_id: Some("secret\n".into()),
            last_path: Some("secret".into()),
            attributes: [("sec ret".into(), "secret\u{7f}".into())].into(),
            device: Some(Device { ip: "secret".into(), ..Device::default() }),
            tokens: vec![BoundToken { issuer: String::new(), jti: "j".into(), expires: Micros(1_000) }],
        };
        let violated = violated(fields);
        insta::assert_snapshot!(violated.join("\n"), @r"
        session.company_id: no control characters; one is among the 7 bytes sent
        session.last_path: must start with `/`; 6 bytes were sent
        session.attributes: keys must match [A-Za-z0-9._-]{1,64}; one of 7 bytes was sent
        session.attributes: no control characters; one is among the 7 bytes sent
        session.device.ip: must be an IPv4 or IPv6 address; 6 bytes were sent
        session.tokens[0].issuer: must be set
        ");
    }

    #[test]
    fn key_is_not_set_and_removed_at_once() {
        let fields = Fields { attributes: [("a".into(), "1".into())].into(), ..Fields::default() };
        let patch = Patch { fields, removed_attributes: vec!["a".into()], version: Some(-1), ..Patch::default() };
        let mut violations = Violations::new();
        check_patch(&patch, &mut violations);
        assert_eq!(violations.as_slice().len(), 2, "{violations}");
    }

    #[test]
    fn timeouts_stay_within_the_policy() {
        let policy = Policy {
            idle: Duration::from_mins(30),
            absolute: Duration::from_hours(12),
            max_sessions: 1,
            overflow: super::super::Overflow::Reject,
        };
        let check = |idle, absolute| {
            let mut violations = Violations::new();
            check_timeouts(Timeouts { idle, absolute }, &policy, &mut violations);
            violations.as_slice().len()
        };
        assert_eq!(check(None, None), 0);
        assert_eq!(check(Some(Duration::from_mins(30)), Some(Duration::from_secs(1))), 0);
        assert_eq!(check(Some(Duration::from_mins(31)), Some(Duration::ZERO)), 2);
    }
}
