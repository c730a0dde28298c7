//! Table of the rankings.

use std::fmt::Write as _;

use serde::Serialize;

use super::data::{Data, Half, Query};
use super::statistics::{Interval, bootstrap, mean, recall, reciprocal_rank};
use super::{HITS, System};
use crate::report;

/// Name of the rows over all sets.
const ALL: &str = "all";

/// Rankings of all queries.
#[derive(Debug, Default)]
pub(crate) struct Report {
    answers: Vec<Answers>,
}

/// Rankings of one set's queries.
#[derive(Debug)]
pub(super) struct Answers {
    set: &'static str,
    queries: Vec<Query>,
    /// Figures of each query, by system.
    figures: Vec<(System, Vec<Figure>)>,
}

/// Figures of one query.
#[derive(Clone, Copy, Debug)]
struct Figure {
    reciprocal_rank: f64,
    recall: f64,
}

/// Line of the table.
#[derive(Debug, Serialize)]
struct Row {
    set: &'static str,
    class: String,
    half: &'static str,
    queries: usize,
    systems: Vec<Cell>,
}

/// Figures of a system in a row.
#[derive(Debug, Serialize)]
struct Cell {
    system: &'static str,
    mrr: f64,
    recall: f64,
    /// Interval by which the first system's reciprocal rank is ahead of this one's.
    ahead: Interval,
}

// === impl Answers ===

impl Answers {
    pub(super) fn new(data: &Data) -> Answers {
        Answers { set: data.set.name, queries: data.queries.clone(), figures: Vec::new() }
    }

    /// Adds the hits of a system, one list a query.
    pub(super) fn add(&mut self, system: System, data: &Data, hits: &[Vec<String>]) {
        let figures = data.queries.iter().zip(hits).map(|(query, hits)| Figure {
            reciprocal_rank: reciprocal_rank(hits, &query.expected),
            recall: recall(hits, &query.expected, HITS),
        });
        self.figures.push((system, figures.collect()));
    }
}

// === impl Report ===

impl Report {
    pub(super) fn add(&mut self, answers: Answers) {
        self.answers.push(answers);
    }

    /// Rows of each set and class, then of each class over all sets, by half.
    fn rows(&self) -> Vec<Row> {
        let mut keys: Vec<(&'static str, &str)> = Vec::new();
        for answers in &self.answers {
            keys.extend(answers.queries.iter().map(|query| (answers.set, query.class.as_str())));
        }
        let mut classes: Vec<(&'static str, &str)> = keys.iter().map(|(_, class)| (ALL, *class)).collect();
        keys.dedup();
        classes.sort_unstable();
        classes.dedup();
        keys.extend(classes);
        let halves = [(Half::Held, "held out"), (Half::Tune, "tuning")];
        let rows = halves.iter().flat_map(|half| keys.iter().map(move |key| (half, key)));
        rows.map(|((half, name), (set, class))| self.row(set, class, *half, name)).collect()
    }

    fn row(&self, set: &'static str, class: &str, half: Half, name: &'static str) -> Row {
        let systems = System::ALL.map(|system| self.figures(set, class, half, system));
        let first: Vec<f64> = systems[0].iter().map(|figure| figure.reciprocal_rank).collect();
        let cells = System::ALL.iter().zip(&systems).map(|(system, figures)| {
            let ranks: Vec<f64> = figures.iter().map(|figure| figure.reciprocal_rank).collect();
            let recalls: Vec<f64> = figures.iter().map(|figure| figure.recall).collect();
            let differences: Vec<f64> = first.iter().zip(&ranks).map(|(one, other)| one - other).collect();
            Cell { system: system.name(), mrr: mean(&ranks), recall: mean(&recalls), ahead: bootstrap(&differences) }
        });
        Row { set, class: class.to_owned(), half: name, queries: first.len(), systems: cells.collect() }
    }

    /// Figures of the queries of a row.
    fn figures(&self, set: &str, class: &str, half: Half, system: System) -> Vec<Figure> {
        let answers = self.answers.iter().filter(|answers| set == ALL || answers.set == set);
        let mut chosen = Vec::new();
        for answers in answers {
            let figures = answers.figures.iter().filter(|(of, _)| *of == system).flat_map(|(_, figures)| figures);
            let queries = answers.queries.iter().zip(figures);
            let queries = queries.filter(|(query, _)| query.class == class && query.half == half);
            chosen.extend(queries.map(|(_, figure)| *figure));
        }
        chosen
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rows().serialize(serializer)
    }
}

impl report::Report for Report {
    fn markdown(&self) -> String {
        let mut text = format!(
            "MRR / recall@{HITS}; in brackets the 95 % interval by which {} is ahead in MRR.\n\n| half, set, class | queries |",
            System::ALL[0].name()
        );
        for system in System::ALL {
            let _ = write!(text, " {} |", system.name());
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---|".repeat(System::ALL.len()));
        text.push('\n');
        for row in self.rows() {
            let _ = write!(text, "| {}, {}, {} | {} |", row.half, row.set, row.class, row.queries);
            for (at, cell) in row.systems.iter().enumerate() {
                let _ = write!(text, " {:.3} / {:.3}", cell.mrr, cell.recall);
                if at > 0 {
                    let _ = write!(text, " [{:+.3} {:+.3}]", cell.ahead.low, cell.ahead.high);
                }
                text.push_str(" |");
            }
            text.push('\n');
        }
        text
    }

    fn failures(&self) -> Vec<String> {
        Vec::new()
    }
}
