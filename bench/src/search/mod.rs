//! `search`: the complex query over 100,000 documents of four tenants, imports, and the same on PostgreSQL.

mod corpus;
mod facets;
mod load;
mod postgres;
pub(crate) mod relevance;
mod replay;
mod report;
mod service;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use keyplane_engine::{Toolbox, Valkey};

use crate::dice::Dice;
use crate::machine::{self, Machine};
use crate::numbers::Latencies;
use crate::rig::{self, Services};
use crate::{Error, serve};
use corpus::{Class, Question, TENANTS, Tenant};
pub(crate) use report::Report;
use report::{Import, Lone};
use service::{How, Service};
use wire::Wire;

/// Size of the measurement.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Queries of each class and tenant with one caller.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    queries: u32,
    /// Time of each load with several callers.
    #[arg(long, default_value = "10s", value_parser = crate::report::duration)]
    slice: Duration,
    /// Folder with PostgreSQL's programs, such as /usr/lib/postgresql/15/bin; left out without it.
    #[arg(long, value_name = "FOLDER")]
    postgres: Option<PathBuf>,
    /// Checks only that everything works: few documents and queries, and figures that say nothing.
    #[arg(long)]
    quick: bool,
}

/// Longest wait for a rebuild.
const PATIENCE: Duration = Duration::from_mins(10);
/// Part of the documents in a quick run.
const QUICK: u64 = 50;
/// Queries whose commands are replayed, of each class and tenant.
const REPLAYED: usize = 10;

/// Runs everything and returns the report. Takes about ten minutes.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let engine = Valkey::builder(&Toolbox::find()).modules(true).start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, &engine))
}

async fn measure(options: &Options, engine: &Valkey) -> Result<Report, Error> {
    let machine = Machine::here(rig::info(engine, "server", "valkey_version")?);
    let tenants = match options.quick {
        true => TENANTS.map(|tenant| Tenant { documents: tenant.documents / QUICK, ..tenant }),
        false => TENANTS,
    };
    let (queries, slice) = match options.quick {
        true => (10, Duration::from_millis(300)),
        false => (usize::try_from(options.queries)?, options.slice),
    };
    let services = Services::start(serve::Service::Search, &engine.url(), false, &[]).await?;
    let service = Service::new(rig::channels(services.addresses.service, 1).await?.remove(0));

    let recording = Wire::record(engine)?;
    for tenant in tenants {
        service.clone().create(tenant).await?;
    }
    let indexes = recording.recorded(engine)?;
    let import = import(engine, &service, &tenants).await?;
    for tenant in tenants {
        service.clone().settled(tenant).await?;
    }
    let bare = replay::import(engine, &indexes)?;

    eprintln!("one caller");
    let mut lone = Vec::new();
    for tenant in tenants {
        for class in Class::ALL {
            lone.push(one_caller(engine, &service, tenant, class, queries).await?);
        }
    }
    eprintln!("several callers");
    let several = load::several(&services, &tenants, slice).await?;
    let open = load::open(&services, &tenants, slice).await?;
    let facets = facets::errors(&service, &tenants, queries.min(200)).await?;
    let memory = machine::rss(services.pid())?;
    let postgres = match &options.postgres {
        Some(binaries) => Some(ask_postgres(binaries, &tenants, queries.min(200)).await.map_err(explained)?),
        None => None,
    };
    Ok(Report {
        machine,
        documents: tenants.iter().map(|tenant| tenant.documents).sum(),
        import,
        bare,
        lone,
        several,
        open,
        facets,
        memory,
        postgres,
    })
}

/// Error of PostgreSQL with its cause, which holds the server's message.
fn explained(error: Error) -> Error {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("PostgreSQL: {error}{cause}").into()
}

/// Imports all tenants, one after the other, with a search of the first one now and then.
async fn import(engine: &Valkey, service: &Service, tenants: &[Tenant]) -> Result<Import, Error> {
    eprintln!("importing");
    let before = rig::used_memory(engine)?;
    let start = Instant::now();
    let mut failed = service.clone().import(tenants[0]).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let searcher = tokio::spawn(load::meanwhile(service.clone(), tenants[0], Arc::clone(&stop)));
    for tenant in &tenants[1..] {
        failed += service.clone().import(*tenant).await?;
    }
    let elapsed = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    let searches = searcher.await?;
    Ok(Import {
        seconds: elapsed.as_secs_f64(),
        failed,
        bytes: rig::used_memory(engine)?.saturating_sub(before),
        searches: searches.percentiles(),
    })
}

/// Times one query after the other, and replays some of them.
async fn one_caller(
    engine: &Valkey,
    service: &Service,
    tenant: Tenant,
    class: Class,
    count: usize,
) -> Result<Lone, Error> {
    let mut service = service.clone();
    let mut dice = Dice::seeded(tenant.documents);
    let questions: Vec<Question> = (0..count).map(|_| Question::new(class, &mut dice)).collect();
    for question in questions.iter().take(20) {
        service.ask(tenant, question, How::Plain).await?;
    }
    let (mut latencies, mut found) = (Latencies::new(), 0);
    for question in &questions {
        let start = Instant::now();
        let response = service.ask(tenant, question, How::Plain).await?;
        latencies.record(start.elapsed());
        found += u64::from(response.found.unsigned_abs());
    }
    let mut loaded = Vec::new();
    for question in questions.iter().take(100) {
        let plan = service.ask(tenant, question, How::Explained).await?.plan.unwrap_or_default();
        loaded.push(plan.steps.iter().map(|step| u64::from(step.loaded_count.unsigned_abs())).sum::<u64>());
    }
    loaded.sort_unstable();
    let replay = replay::searches(engine, &service, tenant, &questions[..REPLAYED.min(questions.len())]).await?;
    Ok(Lone {
        tenant: tenant.name,
        class: class.label(),
        latency_us: latencies.percentiles(),
        found: found as f64 / questions.len() as f64,
        loaded: loaded.get(loaded.len() / 2).copied().unwrap_or_default(),
        most_loaded: loaded.last().copied().unwrap_or_default(),
        replay,
    })
}

/// Times the same queries on PostgreSQL.
async fn ask_postgres(binaries: &Path, tenants: &[Tenant], count: usize) -> Result<Vec<report::Peer>, Error> {
    eprintln!("PostgreSQL");
    let mut postgres = postgres::Postgres::start(binaries).await?;
    postgres.load(tenants).await?;
    let mut peers = Vec::new();
    for tenant in tenants {
        for class in Class::ALL {
            let mut dice = Dice::seeded(tenant.documents);
            let questions: Vec<Question> = (0..count).map(|_| Question::new(class, &mut dice)).collect();
            postgres.time(*tenant, &questions[..count.min(20)]).await?;
            let latency_us = postgres.time(*tenant, &questions).await?.percentiles();
            peers.push(report::Peer { tenant: tenant.name, class: class.label(), latency_us });
        }
    }
    Ok(peers)
}
