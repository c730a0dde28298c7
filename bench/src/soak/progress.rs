//! Progress of a run: a bar on a terminal, else a line every ten seconds.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::book::Book;

/// Display of one run.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
    length: Duration,
    last: Mutex<Instant>,
}

const EVERY: Duration = Duration::from_secs(10);

// === impl Progress ===

impl Progress {
    pub(super) fn start(length: Duration) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(length.as_secs());
            let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Progress { bar, start: Instant::now(), length, last: Mutex::new(Instant::now()) }
    }

    /// Says something that stays.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Updates the display; call it often.
    pub(super) fn tick(&self, book: &Book) {
        let word = book.clock.phase().word();
        let (calls, broken) = (book.calls(), book.ledger.broken());
        let failed: u64 = book.failures().values().sum();
        let text = format!("{word}: {calls} calls, {failed} failed, {broken} times an invariant broke");
        if let Some(bar) = &self.bar {
            bar.set_position(self.start.elapsed().as_secs());
            bar.set_message(text);
            return;
        }
        let mut last = self.last.lock();
        if last.elapsed() >= EVERY {
            *last = Instant::now();
            eprintln!("{} of {} s, {text}", self.start.elapsed().as_secs(), self.length.as_secs());
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
