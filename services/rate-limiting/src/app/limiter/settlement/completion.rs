//! Completes settlements in the background, within 5 s of an owner's return.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::repairs::{Claim, SettlementId};
use super::{Resolution, Settling};
use crate::error::Error;
use crate::store::{Settlement, Status};

/// Pause before the first attempt, and the longest one between two.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];
/// Longest time to try: no record lives longer.
const PATIENCE: Duration = Duration::from_hours(1);

// === impl Settling ===

impl Settling {
    /// Completes the settlement in the background, until every owner has answered or its record has expired.
    pub(super) fn complete_later(self: &Arc<Self>) {
        let Some(first) = self.parts.first() else { return };
        let id = (first.record.as_str().to_owned(), self.fingerprint);
        match self.shared.repairs.claim(id.clone()) {
            Claim::Taken | Claim::Rejected { first: false } => {}
            Claim::Rejected { first: true } => {
                tracing::warn!("too many incomplete settlements; further ones are completed when their callers retry");
            }
            Claim::Granted => {
                let settling = self.clone();
                tokio::spawn(async move { settling.repair(&id).await });
            }
        }
    }

    async fn repair(&self, id: &SettlementId) {
        let (until, [mut pause, longest]) = (Instant::now() + PATIENCE, PAUSES);
        while Instant::now() < until {
            tokio::time::sleep(pause).await;
            match self.complete().await {
                Err(error) if error.is_outage() => pause = (pause * 2).min(longest),
                Err(error) => {
                    tracing::warn!(%error, "a settlement stays incomplete until its charge leaks away");
                    break;
                }
                Ok(()) if self.shared.repairs.is_done(id) => return,
                Ok(()) => {}
            }
        }
        self.shared.repairs.give_up(id);
    }

    /// Reads the first owner's decision, if there is one, and applies it at the others.
    async fn complete(&self) -> Result<(), Error> {
        let Some((first, reply)) = self.ask_first(Settlement::Query, 0).await? else { return Ok(()) };
        let open = Resolution::Left { left: reply.left, from: self.cost };
        let resolution = if reply.status == Status::Settled { Resolution::Final(reply.left) } else { open };
        self.follow(first, resolution).await.into_iter().try_for_each(|reply| reply.map(drop))
    }
}
