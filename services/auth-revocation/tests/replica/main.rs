//! Revocation replica on a real store: its answers, and outages and losses of the store.

mod answers;
mod clocks;
mod cluster;
mod history;
mod loss;
mod outage;
mod rig;
