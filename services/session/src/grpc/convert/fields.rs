//! Content of a session in a request: the fields that are present, or that a mask names.

use std::collections::BTreeMap;

use keyplane_contracts::rules::session::MASKABLE;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::{Violation, Violations, timestamp};

use crate::domain::{BoundToken, Device, Fields, Micros};

/// Fields that are present, for a request without a mask.
pub(super) fn present(session: pb::Session, violations: &mut Violations) -> Fields {
    Fields {
        company_id: session.company_id,
        last_path: session.last_path,
        attributes: session.attributes.into_iter().collect(),
        device: session.device.map(device),
        tokens: tokens(session.tokens, violations),
    }
}

/// Fields that the mask names, present or not.
pub(super) fn masked(session: pb::Session, paths: &[String], violations: &mut Violations) -> Fields {
    for (index, path) in paths.iter().enumerate() {
        if !MASKABLE.contains(&path.as_str()) {
            violations.extend([Violation::unknown_path(index, path.len(), &MASKABLE)]);
        }
    }
    let named = |path: &str| paths.iter().any(|given| given == path);
    let keep = |path| named(path).then_some(());
    Fields {
        company_id: keep("company_id").map(|()| session.company_id.unwrap_or_default()),
        last_path: keep("last_path").map(|()| session.last_path.unwrap_or_default()),
        attributes: keep("attributes").map_or_else(BTreeMap::new, |()| session.attributes.into_iter().collect()),
        device: keep("device").map(|()| session.device.map(device).unwrap_or_default()),
        tokens: keep("tokens").map_or_else(Vec::new, |()| tokens(session.tokens, violations)),
    }
}

fn device(device: pb::Device) -> Device {
    Device { user_agent: device.user_agent, ip: device.ip, label: device.label }
}

fn tokens(tokens: Vec<pb::BoundToken>, violations: &mut Violations) -> Vec<BoundToken> {
    let token = |(index, token): (usize, pb::BoundToken)| {
        let field = format!("session.tokens[{index}].expire_time");
        let time = token.expire_time.ok_or_else(|| Violation::new(&field, "must be set"));
        let expires = violations.keep(time.and_then(|time| micros(time, &field)))?;
        Some(BoundToken { issuer: token.issuer, jti: token.jti, expires })
    };
    tokens.into_iter().enumerate().filter_map(token).collect()
}

fn micros(time: prost_types::Timestamp, field: &str) -> Result<Micros, Violation> {
    timestamp::micros(&time).map(Micros).ok_or_else(|| Violation::new(field, timestamp::RULE))
}
