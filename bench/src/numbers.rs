//! Latencies, and their form in reports.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies from 1 µs to a minute, to three digits, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// Summary of latencies, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

const LOWEST: u64 = 1_000;
const HIGHEST: u64 = 60_000_000_000;

// === impl Latencies ===

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies(Histogram::new_with_bounds(LOWEST, HIGHEST, 3).expect("the bounds are in order"))
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Records a latency; one beyond the bounds counts as the bound.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(HIGHEST));
    }

    pub(crate) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            count: self.0.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / 1e3,
        }
    }
}

/// Markdown table whose columns line up; all but the first are set to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count(), 3]).max().unwrap_or(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!(" {cell:<width$} "),
            _ => format!(" {cell:>width$} "),
        });
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule = widths.iter().enumerate().map(|(column, &width)| match column {
        0 => "-".repeat(width + 2),
        _ => format!("{}:", "-".repeat(width + 1)),
    });
    let mut text = line(&mut head.iter().copied());
    text.push_str(&format!("|{}|\n", rule.collect::<Vec<_>>().join("|")));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_in_microseconds() {
        let mut latencies = Latencies::new();
        for millis in 1..=100 {
            latencies.record(Duration::from_millis(millis));
        }
        let mut both = Latencies::new();
        both.add(&latencies);
        let summary = both.percentiles();
        assert_eq!(summary.count, 100);
        assert!((summary.p50 / 50_000.0 - 1.0).abs() < 0.01, "{summary:?}");
        assert!((summary.p99 / 99_000.0 - 1.0).abs() < 0.01, "{summary:?}");
    }

    #[test]
    fn out_of_bounds_counts_as_the_bound() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_hours(1));
        assert!((latencies.percentiles().max / 6e7 - 1.0).abs() < 0.01);
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcde".to_owned(), "20000".to_owned()]];
        let expected = "| row  | calls |\n|------|------:|\n| a    |     1 |\n| bcde | 20000 |\n";
        assert_eq!(table(&["row", "calls"], &rows), expected);
    }
}
