//! Documents in a real store with search: writes, reads, counters, lexicons.

mod model;
mod rig;
mod writes;
