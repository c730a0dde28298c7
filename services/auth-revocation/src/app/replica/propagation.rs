//! Propagation: waits until every live instance has applied a sequence.

use std::time::Duration;

use keyplane_revocation::Sequence;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::shared::Shared;
use crate::error::Error;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Extent to which a sequence has arrived at the instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// Set if every live instance has applied it.
    pub complete: bool,
    /// Number of live instances, this one among them.
    pub instances: usize,
    /// Names of the instances that have not reported it.
    pub lagging: Vec<String>,
}

pub(super) async fn wait(shared: &Shared, sequence: &Sequence, within: Duration) -> Result<Propagation, Error> {
    let until = Instant::now() + within;
    let mut seen = None;
    let mut failed = None;
    loop {
        let next = Instant::now() + LOOK;
        // The first look is not cut short: with no time to wait, the caller asks for the current state.
        let look = shared.store.instances();
        let looked = if seen.is_none() && failed.is_none() { Ok(look.await) } else { timeout_at(until, look).await };
        match looked {
            Ok(Ok(instances)) => {
                let propagation = compare(shared, sequence, instances);
                if propagation.complete {
                    return Ok(propagation);
                }
                seen = Some(propagation);
            }
            Ok(Err(error)) => failed = Some(error),
            Err(_) => {}
        }
        if next > until {
            return match (seen, failed) {
                (Some(seen), _) => Ok(seen),
                (None, Some(error)) => Err(error),
                (None, None) => Err(Error::FreshnessUnknown),
            };
        }
        sleep_until(next).await;
    }
}

fn compare(shared: &Shared, sequence: &Sequence, instances: Vec<(String, Sequence)>) -> Propagation {
    let others = instances.into_iter().filter(|(name, _)| **name != *shared.instance);
    // An instance knows its own position better than the store.
    let own = (shared.instance.to_string(), shared.coverage.sequence());
    let (mut count, mut lagging) = (0, Vec::new());
    for (name, applied) in others.chain([own]) {
        count += 1;
        if !applied.covers(sequence) {
            lagging.push(name);
        }
    }
    lagging.sort_unstable();
    Propagation { complete: lagging.is_empty(), instances: count, lagging }
}
