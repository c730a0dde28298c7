//! Rules of agent memory: scopes, memories, the compact items that recall scores. Pure: no I/O, no clock.

pub mod admission;
pub mod calendar;
pub mod draft;
pub mod embedding;
pub mod erasure;
pub mod eviction;
pub mod identity;
pub mod item;
pub mod memory;
pub mod pack;
pub mod question;
pub mod rank;
pub mod recall;
pub mod record;
pub mod render;
pub mod scope;
pub mod sketch;
pub mod space;
pub mod split;
pub mod succession;
pub mod text;
pub mod tokens;
pub mod veto;
pub mod write;

pub use draft::{Draft, DraftPiece};
pub use embedding::Embedding;
pub use item::{Item, Piece, Session, Sketch, Term, Vector};
pub use memory::{Kind, Memory, MemoryId, Source, State};
pub use recall::{
    Candidates, LateInteraction, RecallPlan, RecallRequest, RecallStep, Recalled, RecalledMemory, ScoreTerm,
};
pub use scope::{Owner, Partition, Scope};
pub use space::{Algorithm, Pooling, Space, SpaceId};
pub use tokens::{Encoding, TokenCounter};
pub use write::{
    Filter, ForgetRequest, Forgotten, ListRequest, MemoryPatch, NewMemory, Outcome, Page, Remembered, States,
};
