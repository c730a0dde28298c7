//! Searches against a real engine, compared with a brute-force evaluation of the same documents.

mod basics;
mod candidates;
mod dice;
mod exact;
mod fresh;
mod oracle;
mod paging;
mod ranked;
mod rig;
mod sampled;
mod tenants;
mod windows;
