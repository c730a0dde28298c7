//! Sources besides the store: embedders of texts, and the operator's file of spaces.

pub mod embed;
pub mod spaces_file;
