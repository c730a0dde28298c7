//! Log lines that callers can cause: one a second, with a count of those left out.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One kind of line.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// The second of the last line, and one.
    second: AtomicU64,
    left_out: AtomicU64,
}

// === impl Sparse ===

impl Sparse {
    /// How many lines were left out since the last one, if this one may be written.
    pub(super) fn admit(&self) -> Option<u64> {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        let second = BEGAN.elapsed().as_secs() + 1;
        if self.second.swap(second, Ordering::Relaxed) == second {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_line_or_two() {
        let sparse = Sparse::default();
        assert_eq!(sparse.admit(), Some(0));
        let written = (0..1000).filter(|_| sparse.admit().is_some()).count();
        assert!(written <= 1, "{written}: a second may have ended meanwhile, not more");
    }
}
