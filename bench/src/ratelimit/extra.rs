//! Counts besides the rows: commands of a flood of denials, and bytes in Valkey.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::future::join_all;
use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use keyplane_engine::Valkey;
use serde::Serialize;
use tonic::transport::Channel;

use super::row::Row;
use super::target::{PARENT, Target, acquire};
use crate::closed::Caller as _;
use crate::rig::APP;
use crate::usage::{self, Commands};
use crate::{Error, rig};

/// Flood of denied calls.
#[derive(Debug, Serialize)]
pub(super) struct Flood {
    pub(super) calls: usize,
    pub(super) seconds: f64,
    pub(super) cached: u64,
    /// Calls that were admitted or failed.
    pub(super) others: u64,
    /// Calls of the script that the server ran meanwhile.
    pub(super) scripts: u64,
    /// Commands during the flood, by name; those within the script count too.
    pub(super) commands: BTreeMap<String, u64>,
}

/// Bytes in Valkey.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    pub(super) count: usize,
    /// `MEMORY USAGE` of one, in bytes.
    pub(super) bucket: u64,
    pub(super) record: u64,
    /// Growth of `used_memory` for each, in bytes.
    pub(super) bucket_all: f64,
    pub(super) record_all: f64,
}

/// Calls in a batch, and batches at a time.
const BATCH: usize = 500;
const AT_A_TIME: usize = 4;

/// Makes `calls` calls of denied users.
pub(super) async fn flood(valkey: &Valkey, target: &Target, calls: usize, workers: usize) -> Result<Flood, Error> {
    let tally = &target.tallies[Row::Denied as usize];
    let counts = || [&tally.denied, &tally.cached].map(|count| count.load(Ordering::Relaxed));
    // Each is denied at least once before.
    for number in 0..super::target::DENIED * 2 {
        target.clone().call(Row::Denied, number, number).await?;
    }
    let (before, commands, start) = (counts(), Commands::now(valkey)?, Instant::now());
    let work = join_all((0..workers).map(|worker| {
        let mut target = target.clone();
        tokio::spawn(async move {
            for number in (worker..calls).step_by(workers) {
                target.call(Row::Denied, worker, number).await?;
            }
            Ok::<_, String>(())
        })
    }));
    for worker in work.await {
        worker??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let commands = Commands::now(valkey)?.calls_since(&commands);
    let [denied, cached] = counts();
    let (denied, cached) = (denied - before[0], cached - before[1]);
    let scripts = commands.get("evalsha").copied().unwrap_or(0);
    Ok(Flood { calls, seconds, cached, others: calls as u64 - denied, scripts, commands })
}

/// Makes `count` buckets, and as many again that are remembered too.
pub(super) async fn memory(valkey: &Valkey, channels: &[Channel], count: usize) -> Result<Memory, Error> {
    let start = rig::used_memory(valkey)?;
    fill(channels, "mb", count, false).await?;
    let plain = rig::used_memory(valkey)?;
    fill(channels, "mr", count, true).await?;
    let remembered = rig::used_memory(valkey)?;
    let each = |from: u64, to: u64| (to as f64 - from as f64) / count as f64;
    let key = |user: &str, rest: &str| format!("{APP}:ratelimit:{{bench:u.{user}}}:{rest}");
    let last = count - 1;
    Ok(Memory {
        count,
        bucket: usage::key(valkey, &key(&format!("mb-{last}"), "b:memory"))?,
        record: usage::key(valkey, &key(&format!("mr-{last}"), &format!("q:request-{last}")))?,
        bucket_all: each(start, plain),
        record_all: each(plain, remembered) - each(start, plain),
    })
}

async fn fill(channels: &[Channel], kind: &str, count: usize, remembered: bool) -> Result<(), Error> {
    let request = |number: usize| {
        let hour = prost_types::Duration { seconds: 3600, nanos: 0 };
        pb::AcquireRequest {
            request_id: if remembered { format!("request-{number}") } else { String::new() },
            ttl: remembered.then_some(hour),
            ..acquire(format!("{kind}-{number}"), &["memory"])
        }
    };
    let calls = (0..count).step_by(BATCH).map(|first| {
        let requests = (first..count.min(first + BATCH)).map(request).collect();
        let mut client = RateLimitServiceClient::new(channels[first / BATCH % channels.len()].clone());
        async move {
            let request = pb::BatchAcquireRequest { parent: PARENT.to_owned(), requests };
            let results = client.batch_acquire(request).await?.into_inner().results;
            let admitted = |result: &&pb::BatchAcquireResult| result.response.as_ref().is_some_and(|it| it.admitted);
            match results.iter().find(|result| !admitted(result)) {
                None => Ok::<_, Error>(()),
                Some(other) => Err(format!("a first call is not admitted: {:?}", other.error).into()),
            }
        }
    });
    iter(calls).buffer_unordered(AT_A_TIME).try_collect::<()>().await
}
