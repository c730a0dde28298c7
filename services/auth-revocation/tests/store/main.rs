//! Store against a real Valkey: its writes, its losses, and its answers against an exact model.

mod audit;
mod case;
mod filters;
mod model;
mod outages;
mod replication;
mod writes;
