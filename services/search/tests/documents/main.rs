//! Documents in a real store with search: writes, reads, counters, lexicons.

mod batches;
mod faults;
mod finds;
mod isolation;
mod model;
mod rig;
mod service;
mod updates;
mod writes;
