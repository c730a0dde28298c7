//! The store against a real Valkey: what it writes, what it never loses, and that it answers as an exact model does.

mod audit;
mod case;
mod filters;
mod model;
mod outages;
mod replication;
mod writes;
