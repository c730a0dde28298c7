//! Audit records of all services: causes, page tokens, and reads of the streams that hold the records.
//!
//! A service writes its own entries, in one step with the act or before it, and keeps its own layout of fields. Shared are the fields
//! of a [`Cause`], the order of entries over all streams of a tenant, and the shape in which callers get them
//! (`keyplane.audit.v1`).

mod cause;
mod page;
mod stream;

pub use cause::{Cause, Reason};
pub use page::{ListRequest, Page, Position};
pub use stream::{Damaged, newest, text};
