//! Client span and metrics of each call, without key, argument or value.

use std::sync::Arc;
use std::time::Duration;

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use parking_lot::Mutex;
use tracing::Span;
use tracing::field::Empty;

use crate::{Error, Script};

/// Description of a call for its span, metrics and errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// Command: `EVALSHA`.
    pub(crate) command: &'static str,
    /// Script of an `EVALSHA`.
    pub(crate) script: Option<&'static Script>,
    pub(crate) feature: &'static str,
    /// True if the call may change data.
    pub(crate) changes: bool,
}

/// Instruments, and the address in spans.
pub(crate) struct Observer {
    host: Arc<str>,
    port: u16,
    duration: Histogram<f64>,
    commands: Counter<u64>,
    breaker: Gauge<i64>,
    /// Number of open breakers.
    open: Mutex<i64>,
    reconnects: Counter<u64>,
    late: Counter<u64>,
    reachable: Gauge<f64>,
}

// === impl Operation ===

impl Operation {
    pub(crate) fn read(command: &'static str, feature: &'static str) -> Operation {
        Operation { command, script: None, feature, changes: false }
    }

    /// Name in errors.
    pub(crate) fn name(&self) -> &'static str {
        self.script.map_or(self.command, Script::name)
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new(semconv::DB_SYSTEM_NAME, semconv::DB_SYSTEM_REDIS));
        attributes.push(KeyValue::new(semconv::DB_OPERATION_NAME, self.command));
        attributes.push(KeyValue::new(semconv::KEYPLANE_FEATURE, self.feature));
        if let Some(script) = self.script {
            attributes.push(KeyValue::new(semconv::DB_STORED_PROCEDURE_NAME, script.name()));
        }
        attributes
    }
}

// === impl Observer ===

impl Observer {
    pub(crate) fn new(host: Arc<str>, port: u16) -> Observer {
        let breaker = metrics::gauge(
            semconv::KEYPLANE_STORE_BREAKER_STATE,
            "1",
            "Nodes of the store whose breaker fails calls at once",
        );
        breaker.record(0, &[]);
        Observer {
            host,
            port,
            duration: metrics::db_client_operation_duration(),
            commands: metrics::counter(semconv::KEYPLANE_STORE_COMMANDS, "{command}", "Commands sent to the store"),
            breaker,
            open: Mutex::new(0),
            reconnects: metrics::counter(semconv::KEYPLANE_STORE_RECONNECTS, "{connection}", "Connections made again"),
            late: metrics::counter(
                semconv::KEYPLANE_STORE_LATE_CONNECTIONS,
                "{connection}",
                "Connections replaced because they answered late while a new one did not",
            ),
            reachable: metrics::ratio(
                semconv::KEYPLANE_STORE_REACHABLE,
                "Share of the slots of the store's cluster whose node answers",
            ),
        }
    }

    /// Span of a call; disabled unless the caller's trace is recorded.
    pub(crate) fn span(&self, operation: &Operation) -> Span {
        if !Context::map_current(|context| context.span().span_context().is_sampled()) {
            return Span::none();
        }
        let span = tracing::info_span!(
            target: "keyplane_valkey",
            "store",
            otel.name = Empty,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = semconv::DB_SYSTEM_REDIS,
            db.operation.name = operation.command,
            db.stored_procedure.name = operation.script.map(Script::name),
            db.response.status_code = Empty,
            server.address = &*self.host,
            server.port = self.port,
            error.type = Empty,
        );
        if !span.is_disabled() {
            match operation.script {
                Some(script) => {
                    span.record("otel.name", format_args!("{} {}", operation.command, script.name()).to_string())
                }
                None => span.record("otel.name", operation.command),
            };
        }
        span
    }

    /// Records the end of an admitted call.
    pub(crate) fn ended(&self, operation: &Operation, span: &Span, took: Duration, error: Option<&Error>) {
        let mut attributes = operation.attributes();
        self.commands.add(1, &attributes[1..3]);
        if let Some(error) = error {
            attributes.push(KeyValue::new(semconv::ERROR_TYPE, error.kind().as_str()));
            self.mark(span, error);
        }
        self.duration.record(took.as_secs_f64(), &attributes);
    }

    /// Records the end of a blocking call. Its duration says nothing about the store, so a success is counted, not timed.
    pub(crate) fn held(&self, operation: &Operation, span: &Span, took: Duration, error: Option<&Error>) {
        if error.is_some() {
            return self.ended(operation, span, took, error);
        }
        let attributes = [
            KeyValue::new(semconv::DB_OPERATION_NAME, operation.command),
            KeyValue::new(semconv::KEYPLANE_FEATURE, operation.feature),
        ];
        self.commands.add(1, &attributes);
    }

    /// Adds `change` to the number of open breakers.
    pub(crate) fn breaker(&self, change: i64) {
        let mut open = self.open.lock();
        *open += change;
        self.breaker.record(*open, &[]);
    }

    pub(crate) fn reachable(&self, share: f64) {
        self.reachable.record(share, &[]);
    }

    pub(crate) fn late(&self) {
        self.late.add(1, &[]);
    }

    pub(crate) fn reconnected(&self) {
        self.reconnects.add(1, &[]);
    }

    pub(crate) fn mark(&self, span: &Span, error: &Error) {
        if span.is_disabled() {
            return;
        }
        span.record(semconv::ERROR_TYPE, error.kind().as_str());
        span.record("otel.status_code", "ERROR");
        if let Some(code) = error.code() {
            span.record(semconv::DB_RESPONSE_STATUS_CODE, code);
        }
    }
}
