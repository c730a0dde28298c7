//! Progress of a fetch: a spinner on a terminal, else one line a tool.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Display of one fetch. Dropped without [`Progress::finish`], it ends silently.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

// === impl Progress ===

impl Progress {
    pub(crate) fn start(message: String) -> Progress {
        let mut stderr = std::io::stderr();
        if !stderr.is_terminal() {
            // A test harness would capture eprintln, and a first run that is silent for a minute looks stuck.
            let _ = writeln!(stderr, "{message}");
            return Progress { bar: None };
        }
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let bar = ProgressBar::new_spinner().with_message(message);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress { bar: Some(bar) }
    }

    pub(crate) fn finish(self, message: String) {
        if let Some(bar) = &self.bar {
            bar.finish_with_message(message);
        }
    }
}

/// Writes a warning to standard error.
pub(crate) fn note(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
