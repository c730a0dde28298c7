//! Collections in a real store with search: definitions, rebuilds, removals, sweeps, recounts.

mod life;
mod model;
mod rebuilds;
mod rig;
mod swaps;
mod takeover;
mod upkeep;
mod whole;
