//! Many live revocations in the store, and what they cost there.

use std::time::{Duration, Instant};

use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_engine::Valkey;
use serde::Serialize;
use tokio::time::sleep;
use tonic::transport::Channel;

use crate::tokens::{Kind, Mint, PARENT};
use crate::usage::{self, Commands};
use crate::{Error, machine};

/// Cost of the revocations in the store, and in an instance that followed them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Filled {
    pub(super) revocations: u64,
    pub(super) seconds: f64,
    /// Bytes of Valkey that they take, of which the feed, the filters, the audit; the rest are the records.
    pub(super) valkey: u64,
    pub(super) feed: u64,
    pub(super) filters: u64,
    pub(super) audit: u64,
    /// Microseconds of Valkey that the scripts took for each.
    pub(super) script_us: f64,
    /// Resident memory that the instance took for them.
    pub(super) instance_rss: u64,
}

/// Revocations in one call, and calls at a time.
const BATCH: usize = 1_000;
const AT_A_TIME: usize = 4;
/// Attempts of a call some of whose revocations the store did not answer in time.
const ATTEMPTS: u32 = 10;
const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
/// Longest time until the instance has read its own writes.
const SETTLE: Duration = Duration::from_secs(2);

/// Revokes `count` tokens of known expiry.
pub(super) async fn fill(
    valkey: &Valkey,
    channels: &[Channel],
    pid: u32,
    mint: &Mint,
    count: u64,
) -> Result<Filled, Error> {
    let (memory, rss, commands) = (usage::memory(valkey)?, machine::rss(pid)?, Commands::now(valkey)?);
    let start = Instant::now();
    let tokens = (0..count).map(|number| mint.revoke(Kind::Token, "r", number));
    revoke(channels, tokens).await?;
    let seconds = start.elapsed().as_secs_f64();
    let script_us = Commands::now(valkey)?.script_micros_since(&commands) as f64 / count as f64;
    sleep(SETTLE).await;
    Ok(Filled {
        revocations: count,
        seconds,
        valkey: usage::memory(valkey)?.saturating_sub(memory),
        feed: usage::family(valkey, "_:feed")?.0,
        filters: usage::family(valkey, "_:bloom")?.0,
        audit: usage::family(valkey, "bench:audit")?.0,
        script_us,
        instance_rss: machine::rss(pid)?.saturating_sub(rss),
    })
}

/// Adds revocations of every other scope, so that each check has something to look at: `each` sessions and as many users, the
/// clients, a key, the tenant.
pub(super) async fn add_cutoffs(channels: &[Channel], mint: &Mint, each: u64) -> Result<(), Error> {
    let others = [Kind::Session, Kind::Subject].into_iter();
    let others = others.flat_map(|kind| (0..each).map(move |number| mint.revoke(kind, "r", number)));
    revoke(channels, others.chain(mint.revoke_earlier())).await?;
    sleep(SETTLE).await;
    Ok(())
}

async fn revoke(channels: &[Channel], requests: impl Iterator<Item = pb::RevokeRequest>) -> Result<(), Error> {
    let mut requests = requests.peekable();
    let batches = std::iter::from_fn(|| {
        requests.peek()?;
        Some(requests.by_ref().take(BATCH).collect::<Vec<_>>())
    });
    let calls = batches.enumerate().map(|(number, requests)| {
        let client = RevocationServiceClient::new(channels[number % channels.len()].clone());
        let mut client = client.max_decoding_message_size(16 << 20);
        async move {
            let request = pb::BatchRevokeRequest { parent: PARENT.to_owned(), requests };
            let mut attempt = 1;
            loop {
                let results = client.batch_revoke(request.clone()).await?.into_inner().results;
                match results.into_iter().find_map(|result| result.error) {
                    None => return Ok::<_, Error>(()),
                    // On a busy machine a revocation may be repeated.
                    Some(failed) if failed.reason == STORE_UNAVAILABLE && attempt < ATTEMPTS => attempt += 1,
                    Some(failed) => {
                        return Err(format!("a revocation failed: {} {}", failed.reason, failed.message).into());
                    }
                }
            }
        }
    });
    iter(calls).buffer_unordered(AT_A_TIME).try_collect::<()>().await
}
