//! Sources outside of this service, besides Valkey: the issuers' key set.

mod key_set;

pub(crate) use key_set::KeySet;
