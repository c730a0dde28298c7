//! Moments of open loops.

use std::time::Instant;

/// Sleeps until a moment; not at all if it has passed. Finer than the runtime's timer, which knows milliseconds, but it blocks.
pub(crate) fn wait_until(at: Instant) {
    let mut now = Instant::now();
    while now < at {
        std::thread::park_timeout(at - now);
        now = Instant::now();
    }
}
