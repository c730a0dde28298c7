//! Bare commands: those of a search sent again, and the hashes of an import written without the service.

use std::time::{Duration, Instant};

use keyplane_engine::{Toolbox, Valkey};
use serde::Serialize;

use super::corpus::{Question, Tenant};
use super::service::{How, Service};
use super::wire::{Command, Wire, hashes};
use crate::Error;
use crate::rig::APP;

/// Repetitions of each query; the two sides take turns.
const TIMES: usize = 20;
/// Commands that are sent together in an import.
const PIPELINE: usize = 200;

/// Times of the same queries, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Replay {
    service_p50: f64,
    service_p99: f64,
    bare_p50: f64,
    bare_p99: f64,
}

/// Bare writes of the same hashes.
#[derive(Debug, Serialize)]
pub(super) struct Bare {
    pub(super) documents: u64,
    pub(super) seconds: f64,
}

// === impl Replay ===

impl Replay {
    /// Time that the service adds to the median and to the p99, in microseconds.
    pub(super) fn added(&self) -> (f64, f64) {
        (self.service_p50 - self.bare_p50, self.service_p99 - self.bare_p99)
    }

    /// Returns whether the service adds at most 1 ms or 15 %, whichever is larger, to both.
    pub(super) fn met(&self) -> bool {
        let (p50, p99) = self.added();
        p50 <= (self.bare_p50 * 0.15).max(1_000.0) && p99 <= (self.bare_p99 * 0.15).max(1_000.0)
    }
}

/// Times searches through the service, and their recorded commands in one pipeline.
pub(super) async fn searches(
    engine: &Valkey,
    service: &Service,
    tenant: Tenant,
    questions: &[Question],
) -> Result<Replay, Error> {
    let mut service = service.clone();
    let mut wire = Wire::open(engine)?;
    let (mut through, mut bare) = (Vec::new(), Vec::new());
    for question in questions {
        let recording = Wire::record(engine)?;
        service.ask(tenant, question, How::Plain).await?;
        let commands: Vec<Command> = recording.recorded(engine)?.into_iter().filter(is_of_search).collect();
        for _ in 0..TIMES {
            let start = Instant::now();
            service.ask(tenant, question, How::Plain).await?;
            through.push(start.elapsed());
            bare.push(wire.pipeline(&commands)?);
        }
    }
    let [service_p50, service_p99] = quantiles(through);
    let [bare_p50, bare_p99] = quantiles(bare);
    Ok(Replay { service_p50, service_p99, bare_p50, bare_p99 })
}

/// Reads of a search; other commands are those of the service's background tasks and of the recording.
fn is_of_search(command: &Command) -> bool {
    let name = command.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    matches!(name.as_slice(), b"FT.SEARCH" | b"FT.AGGREGATE" | b"HMGET" | b"HGETALL")
}

fn quantiles(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [0.5, 0.99].map(|share| {
        let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    })
}

/// Writes every document's hash to another engine with the same indexes, in a pipeline.
pub(super) fn import(engine: &Valkey, recorded: &[Command]) -> Result<Bare, Error> {
    eprintln!("importing the bare hashes");
    let documents = hashes(&mut Wire::open(engine)?, &format!("{APP}:search~"))?;
    let other = Valkey::builder(&Toolbox::find()).modules(true).start()?;
    let mut wire = Wire::open(&other)?;
    for command in
        recorded.iter().filter(|command| command.first().is_some_and(|name| name.eq_ignore_ascii_case(b"FT.CREATE")))
    {
        wire.call(command)?;
    }
    let start = Instant::now();
    for chunk in documents.chunks(PIPELINE) {
        wire.pipeline(chunk)?;
    }
    Ok(Bare { documents: documents.len() as u64, seconds: start.elapsed().as_secs_f64() })
}
