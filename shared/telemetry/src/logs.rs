//! Log lines on stderr, as text or JSON, each with its trace.

use std::fmt;

use opentelemetry::trace::TraceContextExt as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Format that adds the active trace to each line: ` trace_id=<32 hex digits>` to a text, `trace_id` and `span_id` to a
/// JSON object.
pub(crate) struct TracedLines<F> {
    pub(crate) format: F,
    pub(crate) is_json: bool,
}

// === impl TracedLines ===

impl<S, N, F> FormatEvent<S, N> for TracedLines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::with_capacity(256);
        self.format.format_event(ctx, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        match (active(), line.strip_suffix('}').filter(|_| self.is_json)) {
            (Some((trace, span)), Some(open)) => {
                writeln!(writer, "{open},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
            }
            (Some((trace, _)), None) if !self.is_json => writeln!(writer, "{line} trace_id={trace}"),
            _ => writeln!(writer, "{line}"),
        }
    }
}

/// Trace and span of the code that logs, in hex. Entering a `tracing` span makes its context current.
fn active() -> Option<(String, String)> {
    opentelemetry::Context::map_current(|context| {
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid().then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn log_in_and_out_of_a_trace() {
        tracing::info!(count = 1, "outside");
        let span = SpanContext::new(
            TraceId::from_hex(TRACE).unwrap(),
            SpanId::from_hex("b7ad6b7169203331").unwrap(),
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        let _attached = opentelemetry::Context::new().with_remote_span_context(span).attach();
        tracing::info!(count = 2, "inside");
    }

    #[test]
    fn text_line_names_its_trace() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer()
            .event_format(TracedLines { format: fmt::format().with_ansi(false), is_json: false })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log_in_and_out_of_a_trace);
        let text = lines.text();
        let (outside, inside) = text.trim_end().split_once('\n').unwrap();
        assert!(outside.ends_with("outside count=1"), "{outside}");
        assert!(inside.ends_with(&format!("inside count=2 trace_id={TRACE}")), "{inside}");
    }

    #[test]
    fn json_line_stays_json() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer()
            .fmt_fields(fmt::format::JsonFields::new())
            .event_format(TracedLines { format: fmt::format().json().flatten_event(true), is_json: true })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log_in_and_out_of_a_trace);
        let parsed: Vec<serde_json::Value> =
            lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed[0].get("trace_id"), None);
        assert_eq!(parsed[1]["trace_id"], TRACE);
        assert_eq!(parsed[1]["message"], "inside");
    }
}
