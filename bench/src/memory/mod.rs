//! `recall`: share of the evidence of questions that recall brings into a budget, beside vectors alone, a blend, and the newest
//! turns.

mod arms;
mod conversation;
mod embeddings;
mod locomo;
mod measure;
mod report;
mod synthetic;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use keyplane_agent_memory::domain::split;
use keyplane_agent_memory::peers::embed::Embedder;
use keyplane_engine::{Tool, Toolbox};

use crate::Error;
use arms::Arm;
use conversation::Draft;
use embeddings::Embeddings;
use locomo::Sample;
use measure::Found;
pub(crate) use report::Report;
use report::{Row, Set};

/// Measurement of recall on conversations whose evidence is known.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Conversations in LoCoMo's format, a JSON file each.
    files: Vec<PathBuf>,
    /// Turns of synthetic conversations; 5,000 and 50,000 unless files are given.
    #[arg(long, value_delimiter = ',')]
    synthetic: Vec<usize>,
    /// Seed of the synthetic conversations.
    #[arg(long, default_value_t = 13)]
    seed: u64,
    /// Also writes the synthetic conversations to this folder.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
    /// File that keeps the embeddings for later runs.
    #[arg(long, default_value = ".toolbox/memory/embeddings.bin", value_name = "FILE")]
    cache: PathBuf,
    /// Most tokens of a piece; longer turns are split.
    #[arg(long, default_value_t = split::MOST_TOKENS)]
    piece: u32,
    /// Threads of the model, and of the ranking.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Evidence found, by arm and conversation.
type ByArm = Vec<Vec<Vec<Found>>>;

/// Measures every set.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let embedder = Embedder::local(&model()?, options.threads, embeddings::LIMIT)?;
    let mut embeddings = Embeddings::open(&options.cache)?;
    let (compared, ablated) = (Arm::compared(), Arm::ablated());
    let arms: Vec<Arm> = compared.iter().chain(&ablated).cloned().collect();
    let mut report = Report::default();
    let mut all: ByArm = vec![Vec::new(); arms.len()];
    for (name, samples) in sets(options)? {
        let drafts = drafts(&samples, options.piece)?;
        let texts = drafts.iter().flat_map(Draft::texts).collect();
        let space = embedder.default_space().ok_or("no space")?.id.clone();
        runtime.block_on(embeddings.add(&embedder, &space, texts))?;
        let (set, found) = measure_set(name, drafts, &embeddings, &arms, options.threads)?;
        let (compared, ablated) = rows(&arms, &found, compared.len());
        report.add(Set { compared, ablated, ..set });
        all.iter_mut().zip(found).for_each(|(all, found)| all.extend(found));
    }
    let (compared, ablated) = rows(&arms, &all, compared.len());
    report.total(compared, ablated);
    Ok(report)
}

/// Folder of the model, which the toolbox fetches.
fn model() -> Result<PathBuf, Error> {
    let toolbox = Toolbox::find();
    toolbox.ensure(&[Tool::MiniLm])?;
    Ok(toolbox.path(Tool::MiniLm)?)
}

/// Sets to measure, with their names.
fn sets(options: &Options) -> Result<Vec<(String, Vec<Sample>)>, Error> {
    let mut sets = Vec::new();
    for path in &options.files {
        let name = path.file_stem().map_or_else(|| "file".into(), |name| name.to_string_lossy().into_owned());
        sets.push((name, locomo::read(path)?));
    }
    let both = [5000, 50_000];
    let turns = if options.files.is_empty() && options.synthetic.is_empty() { &both[..] } else { &options.synthetic };
    for turns in turns {
        let (name, samples) = (format!("synthetic-{turns}"), synthetic::generate(*turns, options.seed));
        if let Some(folder) = &options.write {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(&samples)?)?;
        }
        sets.push((name, samples));
    }
    Ok(sets)
}

fn drafts(samples: &[Sample], piece: u32) -> Result<Vec<Draft>, Error> {
    samples.iter().enumerate().map(|(number, sample)| Draft::new(sample, number, piece)).collect()
}

/// Measures the conversations of a set.
fn measure_set(
    name: String,
    drafts: Vec<Draft>,
    embeddings: &Embeddings,
    arms: &[Arm],
    threads: usize,
) -> Result<(Set, ByArm), Error> {
    let mut found: ByArm = vec![Vec::new(); arms.len()];
    let (conversations, items) = (drafts.len(), drafts.iter().map(Draft::items).sum());
    let long_turns = drafts.iter().map(|draft| draft.long_turns).sum();
    let (mut questions, mut tokens) = (0, 0.0);
    for draft in drafts {
        let start = Instant::now();
        let conversation = draft.finish(embeddings)?;
        questions += conversation.queries.len();
        tokens += f64::from(conversation.tokens);
        let measured = measure::measure(&conversation, arms, threads);
        found.iter_mut().zip(measured).for_each(|(found, measured)| found.push(measured));
        eprintln!("{name}, {}: {} questions in {:.1?}", conversation.name, conversation.queries.len(), start.elapsed());
    }
    let tokens = tokens / conversations.max(1) as f64;
    let (compared, ablated) = (Vec::new(), Vec::new());
    Ok((Set { name, conversations, items, long_turns, questions, tokens, compared, ablated }, found))
}

/// Rows of the compared arms, and of the others.
fn rows(arms: &[Arm], found: &ByArm, compared: usize) -> (Vec<Row>, Vec<Row>) {
    let mut rows: Vec<Row> = arms.iter().zip(found).map(|(arm, found)| Row::new(arm.name, found)).collect();
    let ablated = rows.split_off(compared);
    (rows, ablated)
}
