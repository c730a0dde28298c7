//! Policies from the file and the store, against a real Valkey.

mod api;
mod case;
mod everyone;
mod file;
mod plans;
