//! Filter of OpenTelemetry's own log lines: a collector that is down costs one line a minute.

use std::time::Duration;

use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

use crate::LogLimit;

/// Filter that passes one warning or error of OpenTelemetry's own a minute, and all other events.
pub(crate) struct OncePerMinute(LogLimit);

// === impl OncePerMinute ===

impl OncePerMinute {
    pub(crate) fn new() -> Self {
        Self(LogLimit::new(1, Duration::from_secs(60)))
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
        !complaint || self.0.admit().is_some()
    }
}
