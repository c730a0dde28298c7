//! Pieces that all runs share.

use std::time::Duration;

use serde::Serialize;

/// Finished run.
pub(crate) trait Report: Serialize {
    /// Markdown for people, legible in a terminal.
    fn markdown(&self) -> String;

    /// Violations of the run; a figure that misses its target is none.
    fn failures(&self) -> Vec<String>;
}

/// Verdict on a figure, as a word.
pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

/// Duration with its unit, longer than zero and at most ten minutes.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(1)..=Duration::from_mins(10);
    if bounds.contains(&duration) { Ok(duration) } else { Err("must be from 1ms to 10m".to_owned()) }
}
