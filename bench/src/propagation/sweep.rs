//! Last look: every acknowledged revocation must hold everywhere, also long after.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::{Durability, Verdict};
use tokio::time::sleep;

use super::case::{BOUND, Case, Client};
use crate::Error;
use crate::tokens::PARENT;

/// Revocations that are no longer held, by number.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Revocations that must hold: acknowledged as safe, or without a fault that could lose them.
    pub(super) forgotten: BTreeSet<u64>,
    /// Revocations that a failover lost, as their acknowledgement allowed.
    pub(super) lost: BTreeSet<u64>,
}

/// Tokens in one call.
const BATCH: usize = 500;
/// Longest time until an instance answers again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks every instance, and the store through the first.
pub(super) async fn sweep(clients: &[Vec<Client>], cases: &[Arc<Case>], replicated_only: bool) -> Result<Sweep, Error> {
    let mut sweep = Sweep::default();
    sleep(BOUND).await;
    let store = clients.first().map(|of_first| (of_first, Some(prost_types::Duration::default())));
    for (of_instance, max_staleness) in clients.iter().map(|clients| (clients, None)).chain(store) {
        for cases in cases.chunks(BATCH) {
            let claims = cases.iter().filter_map(|case| case.check.claims.clone()).collect();
            let parent = PARENT.to_owned();
            let request = pb::BatchCheckRequest { parent, claims, max_staleness, ..Default::default() };
            let reply = ask(&of_instance[0], &request).await?;
            for (case, result) in cases.iter().zip(&reply.results) {
                if result.verdict() == Verdict::Revoked {
                    continue;
                }
                let safe = case.ack().is_some_and(|ack| ack.durability == Durability::Replicated);
                let set = if safe || !replicated_only { &mut sweep.forgotten } else { &mut sweep.lost };
                set.insert(case.number);
            }
        }
    }
    Ok(sweep)
}

async fn ask(client: &Client, request: &pb::BatchCheckRequest) -> Result<pb::BatchCheckResponse, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        match client.clone().batch_check(request.clone()).await {
            Ok(reply) if reply.get_ref().results.len() == request.claims.len() => return Ok(reply.into_inner()),
            Ok(_) => return Err("BatchCheck has not one result for each token".into()),
            Err(status) if status.code() == tonic::Code::Unavailable && Instant::now() < until => {
                sleep(Duration::from_millis(50)).await;
            }
            Err(status) => return Err(format!("BatchCheck after the run: {status}").into()),
        }
    }
}
