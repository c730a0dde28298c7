//! Limiter on a real store.

mod calls;
mod charges;
mod cluster;
mod concurrent;
mod denials;
mod exact;
mod forged;
mod intervals;
mod leases;
mod model;
mod outage;
mod rational;
mod retries;
mod rig;
mod script;
mod sequences;
mod settling;
mod shares;
