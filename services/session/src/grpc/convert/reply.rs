//! Sessions as messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyplane_contracts::names::UserName;
use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::{page, span, timestamp};

use crate::domain::{BoundToken, Device, Micros, Page, PageToken, Session, Touched};

/// Session as a message, without tokens that expired since they were stored.
pub(in crate::grpc) fn session(session: Session) -> pb::Session {
    let now = now();
    let tokens = session.tokens.into_iter().filter(|token| token.expires > now).map(token).collect();
    pb::Session {
        name: session.name.to_string(),
        session_id: session.name.session.to_string(),
        company_id: Some(session.company_id),
        last_path: Some(session.last_path),
        attributes: session.attributes.into_iter().collect(),
        device: session.device.map(device),
        version: session.version,
        create_time: Some(time(session.created)),
        update_time: Some(time(session.updated)),
        expire_time: Some(time(session.expires)),
        absolute_expire_time: Some(time(session.absolute_expires)),
        idle_timeout: Some(span(session.idle_timeout)),
        absolute_timeout: Some(between(session.created, session.absolute_expires)),
        tokens,
    }
}

/// Page as a message, whose token is valid for its user alone.
pub(in crate::grpc) fn page(user: &UserName, page: Page) -> pb::ListSessionsResponse {
    let token =
        |PageToken { created, session }| page::encode(&user.to_string(), format_args!("{} {session}", created.0));
    let next_page_token = page.next.map_or_else(String::new, token);
    pb::ListSessionsResponse { sessions: page.sessions.into_iter().map(session).collect(), next_page_token }
}

/// Result of a touch.
pub(in crate::grpc) fn touched(touched: Touched) -> pb::TouchSessionResponse {
    pb::TouchSessionResponse { expire_time: Some(time(touched.expires)), version: touched.version }
}

pub(super) fn device(device: Device) -> pb::Device {
    pb::Device { user_agent: device.user_agent, ip: device.ip, label: device.label }
}

pub(super) fn token(token: BoundToken) -> pb::BoundToken {
    pb::BoundToken { jti: token.jti, issuer: token.issuer, expire_time: Some(time(token.expires)) }
}

pub(super) fn time(time: Micros) -> prost_types::Timestamp {
    timestamp::from_micros(time.0)
}

/// Lifetime as the caller asked for it: expiries are in whole milliseconds, creation times in microseconds.
fn between(from: Micros, to: Micros) -> prost_types::Duration {
    let millis = (to.0 / 1000) - (from.0 / 1000);
    span(Duration::from_millis(millis.unsigned_abs()))
}

/// Time of this machine: good enough to leave a token out of a reply. Lifetimes follow the store's clock.
fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
