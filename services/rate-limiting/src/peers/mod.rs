//! Sources besides Valkey: the operator's policies file.

pub mod policy_file;
