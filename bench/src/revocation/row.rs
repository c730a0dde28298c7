//! Rows: the calls, and what bounds each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::Verdict;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use prost::Message as _;
use tonic::transport::Channel;

use crate::closed;
use crate::pb::EchoRequest;
use crate::pb::echo_service_client::EchoServiceClient;
use crate::tokens::{Kind, Mint, PARENT};

/// Row of the report: a kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    Echo,
    Check,
    CheckStore,
    Batch,
    Revoke,
}

/// Clients of a worker.
#[derive(Clone)]
pub(super) struct Target {
    echo: Vec<EchoServiceClient<Channel>>,
    service: Vec<RevocationServiceClient<Channel>>,
    checks: Arc<[pb::CheckRequest]>,
    batches: Arc<[pb::BatchCheckRequest]>,
    mint: Mint,
    /// Makes each revocation new.
    revoked: Arc<AtomicU64>,
}

/// Tokens in a batch.
pub(super) const BATCH: u64 = 100;
/// Distinct tokens that single checks are about, and distinct batches.
const CHECKS: u64 = 20_000;
const BATCHES: u64 = 500;

// === impl Row ===

impl Row {
    /// Rows in the order of the report.
    pub(super) const ALL: [Row; 5] = [Row::Echo, Row::Check, Row::CheckStore, Row::Batch, Row::Revoke];
}

impl closed::Row for Row {
    fn label(self) -> &'static str {
        match self {
            Row::Echo => "echo",
            Row::Check => "Check",
            Row::CheckStore => "Check through the store",
            Row::Batch => "BatchCheck of 100",
            Row::Revoke => "RevokeToken",
        }
    }

    fn limit(self) -> Option<Row> {
        match self {
            Row::Echo => None,
            Row::Check | Row::Batch | Row::Revoke => Some(Row::Echo),
            Row::CheckStore => Some(Row::Check),
        }
    }
}

// === impl Target ===

impl Target {
    pub(super) fn new(echo: &[Channel], service: &[Channel], mint: Mint) -> Target {
        let checks = (0..CHECKS).map(|number| mint.check("g", number)).collect();
        let batch = |number| {
            let claims = (0..BATCH).map(|token| mint.claims("g", number * BATCH + token)).collect();
            pb::BatchCheckRequest { parent: PARENT.to_owned(), claims, ..Default::default() }
        };
        Target {
            echo: echo.iter().cloned().map(EchoServiceClient::new).collect(),
            service: service.iter().cloned().map(RevocationServiceClient::new).collect(),
            checks,
            batches: (0..BATCHES).map(batch).collect(),
            mint,
            revoked: Arc::default(),
        }
    }
}

impl closed::Caller for Target {
    type Row = Row;

    /// Makes a check; any answer but ACTIVE is a failure: nobody revoked these tokens.
    async fn call(&mut self, row: Row, worker: usize, number: usize) -> Result<u64, String> {
        let connection = worker % self.service.len();
        let (echo, service) = (&mut self.echo[connection], &mut self.service[connection]);
        let check = || self.checks[number % self.checks.len()].clone();
        match row {
            Row::Echo => size(echo.echo(EchoRequest::default()).await),
            Row::Check => active(reply(service.check(check()).await)?),
            Row::CheckStore => {
                let max_staleness = Some(prost_types::Duration::default());
                active(reply(service.check(pb::CheckRequest { max_staleness, ..check() }).await)?)
            }
            Row::Batch => {
                let reply = service.batch_check(self.batches[number % self.batches.len()].clone()).await;
                let reply = reply.map_err(|status| status.to_string())?.into_inner();
                let good = reply.results.iter().filter(|result| result.verdict() == Verdict::Active).count();
                match good as u64 {
                    BATCH => Ok(reply.encoded_len() as u64),
                    good => Err(format!("{good} of {BATCH} good tokens are active")),
                }
            }
            Row::Revoke => {
                let number = self.revoked.fetch_add(1, Ordering::Relaxed);
                match self.mint.revoke(Kind::Token, "row", number).target {
                    Some(pb::revoke_request::Target::Token(request)) => size(service.revoke_token(request).await),
                    _ => Err("no token to revoke".to_owned()),
                }
            }
        }
    }
}

fn size<T: prost::Message>(result: Result<tonic::Response<T>, tonic::Status>) -> Result<u64, String> {
    result.map(|response| response.get_ref().encoded_len() as u64).map_err(|status| status.to_string())
}

fn reply(result: Result<tonic::Response<pb::CheckResponse>, tonic::Status>) -> Result<pb::CheckResponse, String> {
    result.map(tonic::Response::into_inner).map_err(|status| status.to_string())
}

fn active(reply: pb::CheckResponse) -> Result<u64, String> {
    match reply.verdict() {
        Verdict::Active => Ok(reply.encoded_len() as u64),
        verdict @ (Verdict::Revoked | Verdict::Unknown | Verdict::KeyUnknown | Verdict::Unspecified) => {
            Err(format!("a good token is {}", verdict.as_str_name()))
        }
    }
}
