use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Limit on log lines of one kind that callers or outages can cause: at most `lines` in each `window`.
///
/// ```
/// use keyplane_telemetry::LogLimit;
/// use std::time::Duration;
///
/// static LIMIT: LogLimit = LogLimit::new(1, Duration::from_secs(1));
/// if let Some(left_out) = LIMIT.admit() {
///     tracing::warn!(left_out, "token rejected");
/// }
/// ```
#[derive(Debug)]
pub struct LogLimit {
    lines: u64,
    window: Duration,
    /// Number of the last window with a line, from 1.
    last: AtomicU64,
    /// Lines in that window, admitted or not.
    seen: AtomicU64,
}

// === impl LogLimit ===

impl LogLimit {
    /// Limit of `lines`, at least one, in each `window`, at least a nanosecond.
    #[must_use]
    pub const fn new(lines: u64, window: Duration) -> LogLimit {
        LogLimit { lines, window, last: AtomicU64::new(0), seen: AtomicU64::new(0) }
    }

    /// Number of lines left out since the last admitted one, if this line may be written. Takes no lock.
    pub fn admit(&self) -> Option<u64> {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.admit_at(BEGAN.elapsed())
    }

    fn admit_at(&self, now: Duration) -> Option<u64> {
        let window = u64::try_from(now.as_nanos() / self.window.as_nanos().max(1)).unwrap_or(u64::MAX - 1) + 1;
        let left_out = if self.last.swap(window, Ordering::Relaxed) == window {
            0
        } else {
            self.seen.swap(0, Ordering::Relaxed).saturating_sub(self.lines)
        };
        (self.seen.fetch_add(1, Ordering::Relaxed) < self.lines).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_admits_its_lines_and_counts_the_rest() {
        let limit = LogLimit::new(2, Duration::from_secs(60));
        let at = |second| limit.admit_at(Duration::from_secs(second));
        assert_eq!([at(0), at(1), at(59)], [Some(0), Some(0), None]);
        assert_eq!([at(60), at(60), at(61)], [Some(1), Some(0), None]);
        assert_eq!(at(600), Some(1));
    }

    #[test]
    fn one_line_a_minute() {
        let limit = LogLimit::new(1, Duration::from_secs(60));
        let at = |second| limit.admit_at(Duration::from_secs(second)).is_some();
        assert_eq!([at(0), at(59), at(60), at(61)], [true, false, true, false]);
    }

    #[test]
    fn burst_is_one_line_or_two() {
        let limit = LogLimit::new(1, Duration::from_secs(1));
        assert_eq!(limit.admit(), Some(0));
        let written = (0..1000).filter(|_| limit.admit().is_some()).count();
        assert!(written <= 1, "{written}: a second may have ended meanwhile, not more");
    }
}
