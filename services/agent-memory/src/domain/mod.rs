//! Rules of agent memory: scopes, memories, the compact items that recall scores. Pure: no I/O, no clock.

pub mod item;
pub mod memory;
pub mod scope;
pub mod space;

pub use item::{Item, Session, Sketch, Term, Vector};
pub use memory::{Kind, Memory, MemoryId, Source, State};
pub use scope::{Owner, Partition, Scope};
pub use space::{Algorithm, Space, SpaceId};
