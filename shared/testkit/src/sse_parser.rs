//! Format of event streams, after the HTML standard section 9.2.6.

use std::collections::VecDeque;
use std::time::Duration;

/// Event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Last event id at its dispatch: that of an earlier event, if this one has no `id:` line.
    pub id: String,
    /// Name of the event; `message` by default.
    pub event: String,
    /// Lines of `data:`, joined by LF.
    pub data: String,
}

/// Parser of one response, whose bytes may be cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Bytes of a line whose end has not arrived.
    line: Vec<u8>,
    /// Set once a line was read: a byte order mark counts only before.
    begun: bool,
    /// Set after a CR, to which a following LF belongs.
    after_cr: bool,
    data: String,
    event: String,
    /// "Last event ID buffer" of the standard: may belong to an event that is not whole yet.
    id: String,
    dispatched_id: String,
    events: VecDeque<Event>,
    retry: Option<Duration>,
}

// === impl Parser ===

impl Parser {
    /// Parser for a new response, after events up to `last_event_id`.
    pub(crate) fn resuming(last_event_id: &str) -> Parser {
        Parser { id: last_event_id.to_owned(), dispatched_id: last_event_id.to_owned(), ..Parser::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let lf_of_crlf = self.after_cr && *byte == b'\n';
            self.after_cr = *byte == b'\r';
            match byte {
                b'\n' if lf_of_crlf => {}
                b'\r' | b'\n' => self.end_line(),
                byte => self.line.push(*byte),
            }
        }
    }

    /// Returns the next whole event.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the last `retry:` since the last call.
    pub(crate) fn take_retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    /// Id to resume after. A whole event without data counts; an event cut short does not.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.dispatched_id
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let mut line = bytes.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        let line = String::from_utf8_lossy(line);
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // A comment (its field is empty), or a field that the standard ignores.
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.id.clone_into(&mut self.dispatched_id);
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return;
        }
        // The last `data:` added a line end.
        data.pop();
        let event = if event.is_empty() { "message".to_owned() } else { event };
        self.events.push_back(Event { id: self.id.clone(), event, data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses the text whole and byte by byte, which must give equal events.
    fn parse(text: &[u8]) -> Vec<Event> {
        let mut whole = Parser::default();
        whole.push(text);
        let mut cut = Parser::default();
        text.iter().for_each(|byte| cut.push(&[*byte]));
        assert_eq!(whole.events, cut.events);
        whole.events.into()
    }

    fn event(id: &str, event: &str, data: &str) -> Event {
        Event { id: id.to_owned(), event: event.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn examples_of_the_standard_are_read() {
        assert_eq!(parse(b"data: YHOO\ndata: +2\ndata: 10\n\n"), [event("", "message", "YHOO\n+2\n10")]);
        let second = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
        // The third has no blank line after it, so it is discarded.
        assert_eq!(parse(second), [event("1", "message", "first event"), event("", "message", "second event")]);
        assert_eq!(parse(b"data\n\ndata\ndata\n\ndata:"), [event("", "message", ""), event("", "message", "\n")]);
        assert_eq!(parse(b"data:test\n\ndata: test\n\n"), [event("", "message", "test"), event("", "message", "test")]);
    }

    #[test]
    fn three_kinds_of_line_ends_are_read() {
        let expected = [event("7", "e", "a\nb")];
        for end in ["\n", "\r", "\r\n"] {
            let text = ["id: 7", "event: e", "data: a", "data: b", "", ""].join(end);
            assert_eq!(parse(text.as_bytes()), expected, "{end:?}");
        }
        assert_eq!(
            parse(b"data: a\r\ndata: b\n\rdata: c\r\r"),
            [event("", "message", "a\nb"), event("", "message", "c")]
        );
    }

    #[test]
    fn byte_order_mark_counts_only_at_the_beginning() {
        assert_eq!(parse("\u{feff}data: a\n\n".as_bytes()), [event("", "message", "a")]);
        assert_eq!(parse("\u{feff}\u{feff}data: a\n\ndata: b\n\n".as_bytes()), [event("", "message", "b")]);
    }

    #[test]
    fn ids_stay_until_changed_and_never_hold_nul() {
        let text = b"id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid: 2\n\n";
        assert_eq!(parse(text), [event("1", "message", "a"), event("1", "message", "b"), event("1", "message", "c")]);
        let mut parser = Parser::resuming("0");
        assert_eq!(parser.last_event_id(), "0");
        parser.push(b"id: 2\n\n");
        assert_eq!(parser.last_event_id(), "2");
        parser.push(b"id: 3\ndata: cut short\n");
        assert_eq!(parser.last_event_id(), "2");
    }

    #[test]
    fn event_name_lasts_for_one_event() {
        let text = b"event: e\n\ndata: a\n\nevent: f\ndata: b\n\n";
        assert_eq!(parse(text), [event("", "message", "a"), event("", "f", "b")]);
    }

    #[test]
    fn retry_takes_only_digits() {
        let mut parser = Parser::default();
        parser.push(b"retry: 1500\nretry: 2s\nretry: -1\nretry:\n");
        assert_eq!(parser.take_retry(), Some(Duration::from_millis(1500)));
        assert_eq!(parser.take_retry(), None);
    }

    #[test]
    fn broken_utf8_and_unknown_fields_do_no_harm() {
        assert_eq!(parse(b"data: \xff\nfoo: bar\n data: no\nDATA: no\n\n"), [event("", "message", "\u{fffd}")]);
    }
}
