//! What the runs have in common.

use std::time::Duration;

use serde::Serialize;

/// A finished run.
pub(crate) trait Report: Serialize {
    /// For people: Markdown that reads well in a terminal.
    fn markdown(&self) -> String;

    /// What must not happen and did; figures that miss a target are no failure.
    fn failures(&self) -> Vec<String>;
}

/// Whether a figure is as it was wanted, in a word.
pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**missed**" }
}

/// A duration with its unit, longer than zero and at most ten minutes.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(1)..=Duration::from_mins(10);
    if bounds.contains(&duration) { Ok(duration) } else { Err("must be from 1ms to 10m".to_owned()) }
}
