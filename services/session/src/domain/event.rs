use keyplane_contracts::names::SessionId;

use super::{Fields, Micros, Session};

/// Something that happened to a user's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the user's stream.
    pub id: String,
    /// When it happened.
    pub time: Micros,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The state as of now; whatever was known before is void.
    Snapshot(Vec<Session>),
    /// A session was made.
    Created(Box<Session>),
    /// Fields of a session changed.
    Updated {
        /// Which session.
        session: SessionId,
        /// Its new version.
        version: i32,
        /// When it changed.
        updated: Micros,
        /// The new values of those that changed; a cleared one is empty.
        fields: Fields,
        /// Attributes that are gone.
        removed_attributes: Vec<String>,
    },
    /// A session has another id from now on.
    Rotated {
        /// The id until now.
        session: SessionId,
        /// The id from now on.
        new: SessionId,
    },
    /// A session was deleted by its owner.
    Deleted(SessionId),
    /// A session ended by itself, or for the sake of others.
    Expired {
        /// Which session.
        session: SessionId,
        /// Why it ended.
        reason: EndReason,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// It was not used.
    Idle,
    /// It had lived its time.
    Absolute,
    /// A newer one took its place.
    Evicted,
    /// All of the user's were revoked.
    Revoked,
    /// The store lost it.
    Lost,
}

// === impl EventKind ===

impl EventKind {
    /// The session that it happened to; none for a snapshot.
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

    /// Whether its session is over.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(self, EventKind::Deleted(_) | EventKind::Expired { .. })
    }
}
