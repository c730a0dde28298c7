//! Keeps the exporter's complaints from filling the log: a collector that is down is one line a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

const WINDOW: Duration = Duration::from_secs(60);

/// Lets through one warning or error a minute of those that OpenTelemetry logs about itself, and everything else.
pub(crate) struct OncePerMinute {
    began: Instant,
    /// Seconds since `began` plus one at which the last event passed; zero for none yet.
    last: AtomicU64,
}

// === impl OncePerMinute ===

impl OncePerMinute {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    fn admit(&self, now: Duration) -> bool {
        let now = now.as_secs() + 1;
        let last = self.last.load(Ordering::Relaxed);
        if last != 0 && now < last + WINDOW.as_secs() {
            return false;
        }
        self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl<S> Filter<S> for OncePerMinute {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let complaint =
            event.metadata().target().starts_with("opentelemetry") && *event.metadata().level() <= Level::WARN;
        !complaint || self.admit(self.began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute() {
        let quiet = OncePerMinute::new();
        assert!(quiet.admit(Duration::ZERO));
        assert!(!quiet.admit(Duration::from_secs(59)));
        assert!(quiet.admit(Duration::from_secs(60)));
        assert!(!quiet.admit(Duration::from_secs(61)));
    }
}
