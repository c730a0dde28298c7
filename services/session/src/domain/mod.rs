//! Rules of sessions: plain functions on plain structs, without I/O and without a clock.

mod event;
mod policy;
mod rules;
mod session;
mod watch;

pub use event::{EndReason, Event, EventKind};
pub use policy::{Overflow, Policies, Policy, PolicyError};
pub use rules::{check_fields, check_patch, check_timeouts};
pub use session::{
    BoundToken, Deletion, Device, Fields, Issued, Micros, NewSession, Page, PageToken, Patch, Request, Session,
    Timeouts, Touched,
};
pub use watch::{Scope, WatchTarget};
