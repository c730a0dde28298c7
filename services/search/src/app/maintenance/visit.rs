//! Visit of one collection: all steps that it needs, then the regular looks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use keyplane_contracts::names::CollectionName;
use tokio::time::Instant;

use super::slots::Slot;
use super::{AGAIN, Worker};
use crate::app::reconciler::Mark;
use crate::app::turn::{Interrupt, Turn};
use crate::domain::step::Step;
use crate::domain::{CollectionState, Definition, Job, JobCause, JobState, Second};
use crate::error::Error;
use crate::store::definitions::{Claim, Defined};

/// Maximum of steps of one visit.
const STEPS: u32 = 64;
/// Pause after a failed move to an index of its own, in microseconds.
const MOVE_AGAIN: i64 = 3_600_000_000;

// === impl Worker ===

impl Worker {
    /// Visits a claimed collection. `now` is the time of the claim, in microseconds since 1970.
    pub(super) async fn visit(&self, name: CollectionName, claim: Claim, now: i64, mut slot: Slot) {
        // A visit that outlives its claim must keep a later one away, also of this instance.
        let visit = self.visits.fetch_add(1, Ordering::Relaxed);
        let owner = format!("{}-{visit}", self.owner);
        let lease = match self.store.lease(&name, &owner, self.settings.lease).await {
            Ok(Some(lease)) => lease,
            // Another visit is at it: the claim's end is the moment to look again.
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, %name, "no lease for the maintenance"),
        };
        let mut turn = Turn::new(lease, self.stop.clone());
        let start = Instant::now();
        let delay = match self.maintain(&name, now, start, &mut turn, &mut slot).await {
            Ok(delay) => delay,
            Err(Interrupt::Lost) => return,
            Err(Interrupt::Stopped) => Some(Duration::ZERO),
            Err(Interrupt::Failed(error)) => {
                tracing::warn!(%error, %name, "maintenance failed, and will be resumed");
                Some(AGAIN)
            }
        };
        turn.end(delay.is_none()).await;
        if let Err(error) = self.store.conclude(&name, &claim, delay).await {
            tracing::debug!(%error, %name, "the next maintenance waits for the end of the claim");
        }
    }

    /// Time until the next visit; `None` if the collection is gone.
    async fn maintain(
        &self,
        name: &CollectionName,
        claimed: i64,
        start: Instant,
        turn: &mut Turn,
        slot: &mut Slot,
    ) -> Result<Option<Duration>, Interrupt> {
        for _ in 0..STEPS {
            let now = claimed + i64::try_from(start.elapsed().as_micros()).unwrap_or(0);
            let Some(definition) = self.store.definition(name).await? else { return Ok(None) };
            let result = match Step::next(&definition, now) {
                Some(step) if step.is_long() && !slot.lengthen() => return Ok(Some(self.settings.poll)),
                Some(step) => self.rebuilds.take(step, definition, turn).boxed().await,
                None if definition.state == CollectionState::Creating => return Ok(Some(self.settings.look_every)),
                None => match self.look(&definition, now, turn, slot).boxed().await {
                    Ok(Some(delay)) => return Ok(Some(delay)),
                    Ok(None) => Ok(()),
                    Err(interrupt) => Err(interrupt),
                },
            };
            match result {
                // A caller has changed the definition meanwhile: look again.
                Ok(()) | Err(Interrupt::Failed(Error::WriteConflict)) => {}
                Err(interrupt) => return Err(interrupt),
            }
        }
        Ok(Some(Duration::ZERO))
    }

    /// Regular looks at a collection that needs no step; `None` if it needs one now.
    async fn look(
        &self,
        definition: &Definition,
        now: i64,
        turn: &mut Turn,
        slot: &mut Slot,
    ) -> Result<Option<Duration>, Interrupt> {
        let (name, live) = (&definition.name, &definition.live.generation);
        self.store.ensure_index(name, &live.placement, u64::MAX).await?;
        let swept = self.sweeper.run(definition, turn).await?;
        if self.grow(definition, now).await? {
            return Ok(None);
        }
        let settled = self.reconcile(definition, now, turn, slot).await?;
        let mut delay = settled.unwrap_or(Duration::MAX).min(self.settings.look_every);
        let grace = Step::grace(definition, now);
        if !grace.is_zero() {
            delay = delay.min(grace);
        }
        if let Some(Second::Previous { until, .. }) = &definition.second {
            let left = u64::try_from(until - now / 1_000).unwrap_or(0);
            delay = delay.min(Duration::from_millis(left));
        }
        Ok(Some(swept.next.map_or(delay, |next| delay.min(next))))
    }

    /// Requests the move to an index of its own for a collection that has outgrown the shared one.
    async fn grow(&self, definition: &Definition, now: i64) -> Result<bool, Interrupt> {
        let live = &definition.live.generation;
        let failed = definition.rebuild.as_ref().filter(|job| {
            job.cause == JobCause::Growth && job.state != JobState::Done && now - job.finished < MOVE_AGAIN
        });
        if !live.placement.is_shared() || definition.second.is_some() || failed.is_some() {
            return Ok(false);
        }
        let size = self.store.size(&definition.name, live.number).await?;
        if size.documents <= self.settings.own_index_documents {
            return Ok(false);
        }
        let reserved = self.store.reserve(&definition.name.tenant).await?;
        let job = Job::new(JobCause::Growth, definition.live.schema.clone(), reserved.now);
        let grown = Definition { revision: reserved.number, rebuild: Some(job), ..definition.clone() };
        Ok(self.store.redefine(definition.revision, &grown).await? == Defined::Done)
    }

    /// Recounts the counters once in an interval: marks the collection, and recounts in a visit after the time that writes
    /// take to settle. Returns the rest of that time.
    async fn reconcile(
        &self,
        definition: &Definition,
        now: i64,
        turn: &mut Turn,
        slot: &mut Slot,
    ) -> Result<Option<Duration>, Interrupt> {
        if definition.second.is_some() {
            return Ok(None);
        }
        let number = definition.live.generation.number;
        let checkpoint = self.store.checkpoint(&definition.name).await?;
        let checkpoint = Some(checkpoint).filter(|checkpoint| checkpoint.is_for(number)).unwrap_or_default();
        let now = u64::try_from(now / 1_000).unwrap_or(0);
        let Some(last) = checkpoint.number("reconciled") else {
            turn.save(number, &[("reconciled", now / 1_000)]).await?;
            return Ok(None);
        };
        if now / 1_000 < last + self.settings.reconcile_every.as_secs() {
            return Ok(None);
        }
        let Some(mark) = Mark::read(&checkpoint) else {
            let mark = self.reconciler.mark(definition, now).await?;
            turn.save(number, &mark.fields()).await?;
            return Ok(Some(self.settings.settle));
        };
        let left = self.settings.settle.saturating_sub(Duration::from_millis(now.saturating_sub(mark.at)));
        if !left.is_zero() {
            return Ok(Some(left));
        }
        if !slot.lengthen() {
            return Ok(None);
        }
        match self.reconciler.run(definition, mark, turn).await {
            Ok(_) => {}
            // Repeated at once, the same walk would meet the same document.
            Err(Interrupt::Failed(error @ Error::Corrupt(_))) => {
                tracing::error!(%error, collection = %definition.name, "a recount met damaged data, and ended");
            }
            Err(interrupt) => return Err(interrupt),
        }
        turn.save(number, &[("reconciled", now / 1_000), Mark::none()]).await?;
        Ok(None)
    }
}
