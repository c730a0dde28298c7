//! `relevance`: rank of the documents that queries are about, beside the engine's own order and SQLite's BM25.

mod data;
mod engine;
mod exhaustive;
mod fts5;
mod planned;
mod report;
mod statistics;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::Error;
use data::{Data, SETS};
use report::Answers;
pub(crate) use report::Report;

/// Hits of a query that count.
const HITS: usize = 10;

/// Measurement of the ranking.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder of the data sets, which `bench/datasets/fetch.py` fills.
    #[arg(long, default_value = ".toolbox/datasets", value_name = "FOLDER")]
    data: PathBuf,
    /// Queries, which `bench/datasets/queries.py` draws.
    #[arg(long, default_value = "bench/datasets/queries.jsonl", value_name = "FILE")]
    queries: PathBuf,
    /// Data sets to measure, such as `debian,cities`; all unless given.
    #[arg(long, value_delimiter = ',')]
    sets: Vec<String>,
}

/// Ranking under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    /// Search service, which ranks the candidates of its plan.
    Keyplane,
    /// Search service's ranking of every matching document.
    Exhaustive,
    /// FT.SEARCH of the local engine, in its own order.
    Engine,
    /// SQLite's FTS5, by its BM25.
    Fts5,
}

// === impl System ===

impl System {
    const ALL: [System; 4] = [System::Keyplane, System::Exhaustive, System::Engine, System::Fts5];

    fn name(self) -> &'static str {
        match self {
            System::Keyplane => "Keyplane",
            System::Exhaustive => "every match",
            System::Engine => "FT.SEARCH",
            System::Fts5 => "FTS5",
        }
    }

    /// First hits of each query of the set, in their order.
    fn answer(self, data: &Data) -> Result<Vec<Vec<String>>, Error> {
        match self {
            System::Keyplane => planned::answer(data),
            System::Exhaustive => exhaustive::answer(data),
            System::Engine => engine::answer(data),
            System::Fts5 => fts5::answer(data),
        }
    }
}

/// Ranks every query by every system.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let chosen = |name: &str| options.sets.is_empty() || options.sets.iter().any(|set| set == name);
    if let Some(unknown) = options.sets.iter().find(|name| SETS.iter().all(|set| set.name != **name)) {
        return Err(format!("unknown data set `{unknown}`").into());
    }
    let mut report = Report::default();
    for set in SETS.iter().filter(|set| chosen(set.name)) {
        let data = Data::read(set, &options.data, &options.queries)?;
        let mut answers = Answers::new(&data);
        for system in System::ALL {
            let start = Instant::now();
            answers.add(system, &data, &system.answer(&data)?);
            eprintln!("{}: {} in {:.1?}", set.name, system.name(), start.elapsed());
        }
        report.add(answers);
    }
    Ok(report)
}
