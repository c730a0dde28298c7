//! `mesh`: the session calls beside what bounds them.

mod report;
mod row;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use keyplane_valkey::{App, Settings, Valkey};

use crate::closed::{self, Shape};
use crate::machine::Machine;
use crate::rig::{self, APP, Services};
use crate::serve::Service;
use crate::{Error, load};
pub(crate) use report::Report;
use row::{Row, Target};

/// Measurement of the rows.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Sessions that the calls go to, one a user.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// Rows to run, such as `echo-get,get`; all unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Checks only that everything works: short turns, and figures that say little.
    #[arg(long)]
    quick: bool,
}

/// Runs all rows and returns the report. Takes about `rows * (rounds + 1) * slice`.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let valkey = rig::valkey()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, &valkey))
}

async fn measure(options: &Options, engine: &keyplane_engine::Valkey) -> Result<Report, Error> {
    let shape = options.shape.or_quick(options.quick);
    let machine = Machine::here(rig::info(engine, "server", "valkey_version")?);
    let mut idle_rss = BTreeMap::new();
    for service in Service::PLAIN {
        idle_rss.insert(service.name(), rig::idle_rss(service, engine).await?);
    }

    let services = Services::start(Service::Session, &engine.url(), true, &[]).await?;
    let echo = services.addresses.echo.ok_or("the services came without the echo service")?;
    let session = rig::channels(services.addresses.service, shape.connections.into()).await?;
    let sessions = load::make_sessions(&session, usize::try_from(options.sessions)?).await?;
    let store = Valkey::connect(&Settings::new(engine.url()), App::new(APP)?)?;
    store.wait_ready(Duration::from_secs(5)).await?;
    let target = Target::new(&rig::channels(echo, shape.connections.into()).await?, &session, store, sessions);

    let rows = if options.rows.is_empty() { Row::ALL.to_vec() } else { options.rows.clone() };
    let lines = closed::run(shape, &rows, &target, &services, std::slice::from_ref(engine)).await?;
    Ok(Report::new(machine, options, shape, idle_rss, lines))
}
