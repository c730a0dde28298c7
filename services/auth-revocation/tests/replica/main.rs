//! The replica on a real store: what it knows, when it may say so, and what happens when the store fails or forgets.

mod answers;
mod clocks;
mod cluster;
mod history;
mod loss;
mod outage;
mod rig;
