//! Gives back the charges of a call that another limit denies.

use std::time::Duration;

use super::{Decision, OwnerPart};
use crate::app::limiter::outcome::Verdict;
use crate::domain::Outage;
use crate::store::{Bucket, Group, Op, Reply, Room, Status};

// === impl Decision ===

impl<'a> Decision<'a> {
    /// Gives back the charges of this call. Goes on in the background if the caller stops waiting.
    pub(super) async fn give_back(&self, parts: &[OwnerPart<'a>]) {
        for (index, limit) in self.call.limits.iter().enumerate() {
            if self.is_leased(index) {
                self.shared.leases.put_back(&limit.key, limit.cost, limit.lease());
            }
        }
        if !self.commits {
            return;
        }
        let mut groups = Vec::new();
        for part in parts {
            match &part.result {
                // A replayed charge is given back too, unless an earlier call of its request id was admitted.
                Ok(reply) if matches!(reply.status, Status::Done | Status::Replayed) => {
                    groups.push(self.charge_to_give_back(part, reply));
                }
                Ok(_) => {}
                Err(_) => self.give_back_to_local_buckets(part),
            }
        }
        if groups.is_empty() {
            return;
        }
        let (store, left) = (self.shared.store.clone(), keyplane_deadline::remaining());
        let task = tokio::spawn(async move {
            for result in futures::future::join_all(groups.into_iter().map(|group| store.decide(group))).await {
                if let Err(error) = result {
                    tracing::debug!(%error, "a charge could not be given back; it leaks away");
                }
            }
        });
        // The task completes in any case; the caller waits for it within its deadline.
        let _ = tokio::time::timeout(left.unwrap_or(Duration::from_secs(1)), task).await;
        for query in parts.iter().flat_map(|part| &part.queries) {
            if self.states[query.index].is_none_or(|state| state.verdict != Verdict::Denied) {
                self.shared.forget(&query.limit.key);
            }
        }
    }

    /// Gives back to local buckets. A charge without room stays: how much of it was charged is unknown.
    fn give_back_to_local_buckets(&self, part: &OwnerPart<'_>) {
        for query in &part.queries {
            let admitted = self.states[query.index].is_some_and(|state| state.verdict == Verdict::Admitted);
            if admitted && self.commits && self.shared.outage(query.limit) == Outage::Local {
                self.shared.local.give(&query.limit.key, query.meter, query.limit.cost);
            }
        }
    }

    /// Group that gives back the charge of an owner.
    fn charge_to_give_back(&self, part: &OwnerPart<'a>, reply: &Reply) -> Group {
        let record = self.call.idempotency.as_ref().and_then(|idempotency| self.record(&part.queries, idempotency));
        let charged = part.queries.iter().zip(&reply.buckets);
        // A record holds the places of its charges. Hits leased beyond the cost stay leased.
        let charged = charged.filter(|(_, bucket)| record.is_some() || bucket.room != Room::None);
        let buckets = charged.map(|(query, bucket)| {
            // The charge up to the bound is unknown, and giving back more would take the charges of others.
            let cost = if bucket.room == Room::PartlyCharged { 0 } else { query.limit.cost };
            Bucket { end: bucket.end, ..self.shared.bucket(query.limit, query.meter, cost, true) }
        });
        let buckets = buckets.collect();
        Group { op: Op::Give { nonce: self.nonce }, record, buckets }
    }
}
