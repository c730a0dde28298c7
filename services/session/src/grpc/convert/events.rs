//! Events as messages.

use keyplane_contracts::names::{SessionId, UserName};
use keyplane_contracts::rules::session::MASKABLE;
use keyplane_contracts::session::v1 as pb;
use pb::session_event::{EndReason, Type};

use super::reply::{device, session, time, token};
use crate::domain::{self, Event, EventKind, Fields, Micros};

/// Event of one of `user`'s sessions.
pub(in crate::grpc) fn event(user: &UserName, event: Event) -> pb::SessionEvent {
    let name = |id: &SessionId| user.session(id.clone()).to_string();
    let mut message = pb::SessionEvent {
        id: event.id,
        time: Some(time(event.time)),
        name: event.kind.session().map(name).unwrap_or_default(),
        ..pb::SessionEvent::default()
    };
    match event.kind {
        EventKind::Snapshot(sessions) => {
            message.set_type(Type::Snapshot);
            message.sessions = sessions.into_iter().map(session).collect();
        }
        EventKind::Created(created) => {
            message.set_type(Type::Created);
            message.session = Some(session(*created));
        }
        EventKind::Updated { session: id, version, updated, fields, removed_attributes } => {
            message.set_type(Type::Updated);
            message.changed_fields = changed(&fields);
            message.session =
                Some(pb::Session { session_id: id.to_string(), ..partial(name(&id), version, updated, fields) });
            message.removed_attributes = removed_attributes;
        }
        EventKind::Rotated { new, .. } => {
            message.set_type(Type::Rotated);
            message.new_name = name(&new);
        }
        EventKind::Deleted(_) => message.set_type(Type::Deleted),
        EventKind::Expired { reason, .. } => {
            message.set_type(Type::Expired);
            message.set_end_reason(end_reason(reason));
        }
    }
    message
}

/// Fields with a new value, named as in `update_mask`.
fn changed(fields: &Fields) -> Vec<String> {
    let holds = |name: &&str| match *name {
        "company_id" => fields.company_id.is_some(),
        "last_path" => fields.last_path.is_some(),
        "attributes" => !fields.attributes.is_empty(),
        "device" => fields.device.is_some(),
        "tokens" => !fields.tokens.is_empty(),
        _ => false,
    };
    MASKABLE.into_iter().filter(holds).map(str::to_owned).collect()
}

fn partial(name: String, version: i32, updated: Micros, fields: Fields) -> pb::Session {
    pb::Session {
        name,
        version,
        update_time: Some(time(updated)),
        company_id: fields.company_id,
        last_path: fields.last_path,
        attributes: fields.attributes.into_iter().collect(),
        device: fields.device.map(device),
        tokens: fields.tokens.into_iter().map(token).collect(),
        ..pb::Session::default()
    }
}

fn end_reason(reason: domain::EndReason) -> EndReason {
    match reason {
        domain::EndReason::Idle => EndReason::Idle,
        domain::EndReason::Absolute => EndReason::Absolute,
        domain::EndReason::Evicted => EndReason::Evicted,
        domain::EndReason::Revoked => EndReason::Revoked,
        domain::EndReason::Lost => EndReason::Lost,
    }
}
