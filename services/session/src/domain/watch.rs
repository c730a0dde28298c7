use keyplane_contracts::names::{SessionId, UserName};

/// Sessions to watch, and the place in their events to start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchTarget {
    /// Owner of the sessions.
    pub user: UserName,
    /// Sessions of the user.
    pub scope: Scope,
    /// Id of the last event that the caller received; `None` for a snapshot first.
    pub after: Option<String>,
}

/// Sessions of a user that a watch covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Sessions of the user, all of them.
    User,
    /// Single session, under its id at the watch's position, and under the ids it is rotated to.
    Session(SessionId),
}
