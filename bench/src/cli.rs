//! Command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::report::Report;
use crate::search::relevance;
use crate::{Error, gateway, memory, mesh, propagation, ratelimit, revocation, search, serve, sessions, soak};

/// Measures the mesh on this machine, on a Valkey and services of its own.
#[derive(Debug, Parser)]
#[command(name = "keyplane-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compares the session calls with an echo, the raw commands, and an RPC around the raw command.
    Mesh {
        #[command(flatten)]
        options: mesh::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Updates and watches many sessions in an open loop.
    Sessions {
        #[command(flatten)]
        options: sessions::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Revokes during faults, and looks for checks that let a revoked token pass.
    Propagation {
        #[command(flatten)]
        options: propagation::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Lets everything fail at random under load, and checks every promise.
    Soak {
        #[command(flatten)]
        options: soak::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Compares checks of tokens with an echo, and measures a million revocations.
    Revocation {
        #[command(flatten)]
        options: revocation::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Compares limits with an echo, with their own script, and with envoyproxy/ratelimit.
    Ratelimit {
        #[command(flatten)]
        options: ratelimit::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Times the complex query over 100,000 documents, beside its bare commands and PostgreSQL.
    Search {
        #[command(flatten)]
        options: search::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Compares the gateway as it is shipped with one that has no guard.
    Gateway {
        #[command(flatten)]
        options: gateway::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Ranks queries whose documents are known, beside the engine's own order and SQLite's BM25.
    Relevance {
        #[command(flatten)]
        options: relevance::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Measures the evidence that agent-memory recalls within a budget, beside vectors alone and a blend.
    Recall {
        #[command(flatten)]
        options: memory::Options,
        #[command(flatten)]
        output: Output,
    },
    /// Runs the gateway's guard; `gateway` starts it itself.
    #[command(hide = true)]
    Guard {
        /// Socket to listen on.
        socket: PathBuf,
    },
    /// Runs a service; the other commands start it themselves.
    #[command(hide = true)]
    Serve {
        /// Service to run.
        service: serve::Service,
        /// Starts the yardsticks too.
        #[arg(long)]
        echo: bool,
    },
}

#[derive(Debug, Args)]
struct Output {
    /// Also writes the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Whole program. Exit codes: 0 when no call failed, 1 when one did or the run could not be made, 2 for a wrong
/// command line.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { service, echo } => serve::run(service, echo).map(|()| Vec::new()),
        Command::Guard { socket } => return keyplane_gateway::guard_main(&socket),
        Command::Mesh { options, output } => mesh::run(&options).and_then(|report| output.write(&report)),
        Command::Sessions { options, output } => sessions::run(&options).and_then(|report| output.write(&report)),
        Command::Revocation { options, output } => revocation::run(&options).and_then(|report| output.write(&report)),
        Command::Ratelimit { options, output } => ratelimit::run(&options).and_then(|report| output.write(&report)),
        Command::Search { options, output } => search::run(&options).and_then(|report| output.write(&report)),
        Command::Gateway { options, output } => gateway::run(&options).and_then(|report| output.write(&report)),
        Command::Relevance { options, output } => relevance::run(&options).and_then(|report| output.write(&report)),
        Command::Recall { options, output } => memory::run(&options).and_then(|report| output.write(&report)),
        Command::Soak { options, output } => soak::run(&options).and_then(|report| output.write(&report)),
        Command::Propagation { options, output } => propagation::run(&options).and_then(|report| output.write(&report)),
    };
    match done {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                eprintln!("keyplane-bench: {failure}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("keyplane-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

// === impl Output ===

impl Output {
    fn write<R: Report>(&self, report: &R) -> Result<Vec<String>, Error> {
        println!("{}", report.markdown());
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(report)?;
            std::fs::write(path, text + "\n").map_err(|error| format!("writing {}: {error}", path.display()))?;
        }
        Ok(report.failures())
    }
}
