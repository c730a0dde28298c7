use keyplane_contracts::names::SessionId;

use super::{Fields, Micros, Session};

/// Change of one of a user's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Id in the user's stream, in order.
    pub id: String,
    /// Time of the change.
    pub time: Micros,
    /// Kind of the change.
    pub kind: EventKind,
}

/// Kind of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Current state, which replaces everything known before.
    Snapshot(Vec<Session>),
    /// Creation of a session.
    Created(Box<Session>),
    /// New values of a session's fields.
    Updated {
        /// Id of the session.
        session: SessionId,
        /// New version of the session.
        version: i32,
        /// Time of the change.
        updated: Micros,
        /// New values of the changed fields; a cleared one is empty.
        fields: Fields,
        /// Removed attributes.
        removed_attributes: Vec<String>,
    },
    /// Rotation to a new id.
    Rotated {
        /// Old id.
        session: SessionId,
        /// New id.
        new: SessionId,
    },
    /// Deletion by a caller.
    Deleted(SessionId),
    /// End of a session without a deletion.
    Expired {
        /// Id of the session.
        session: SessionId,
        /// Reason of the end.
        reason: EndReason,
    },
}

/// Reason of a session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Idle timeout.
    Idle,
    /// Absolute timeout.
    Absolute,
    /// Eviction by a newer session.
    Evicted,
    /// Revocation of all of the user's sessions.
    Revoked,
    /// Loss in the store.
    Lost,
}

// === impl EventKind ===

impl EventKind {
    /// Returns the id of the changed session; none for a snapshot.
    #[must_use]
    pub fn session(&self) -> Option<&SessionId> {
        match self {
            EventKind::Snapshot(_) => None,
            EventKind::Created(session) => Some(&session.name.session),
            EventKind::Updated { session, .. }
            | EventKind::Rotated { session, .. }
            | EventKind::Deleted(session)
            | EventKind::Expired { session, .. } => Some(session),
        }
    }

    /// Reports whether the event ends its session.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(self, EventKind::Deleted(_) | EventKind::Expired { .. })
    }
}
