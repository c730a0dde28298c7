//! Swap of a collection's generations: the end of a rebuild, and a rollback.

use std::time::Duration;

use super::Definitions;
use crate::domain::Definition;
use crate::error::Error;
use crate::store::Store;
use crate::store::definitions::Defined;
use crate::store::generations::PartitionState;

/// Outcome of a swap.
pub(in crate::app) struct Swapped {
    /// Definition in force.
    pub(in crate::app) definition: Definition,
    /// Reason against the swap; none if it took place.
    pub(in crate::app) rejected: Option<String>,
}

/// Concludes the swap that `definition` announces. Cancel safe: a repetition goes on from the same definition.
///
/// The fence ends all writes by earlier definitions. Those by this one go to both generations, or wait: so generations that are
/// equal in each partition, at the moment of its fence, stay equal until the swapped definition is in force. Nothing is published
/// that might have to be taken back.
///
/// # Errors
///
/// [`Error::WriteConflict`] if the definition is outdated, or announces no swap; or an error of the store.
pub(in crate::app) async fn swap(
    store: &Store,
    definitions: &Definitions,
    definition: Definition,
    age: Duration,
) -> Result<Swapped, Error> {
    let states = store.fence(&definition, false).await?;
    let rejected = reason_against(&definition, &states);
    let reserved = store.reserve(&definition.name.tenant).await?;
    let before = definition.revision;
    let next = Definition { revision: reserved.number, ..definition };
    let after = next.confirmed(rejected.clone(), reserved.now, age).ok_or(Error::WriteConflict)?;
    match store.redefine(before, &after).await? {
        Defined::Done => definitions.forget(&after.name),
        Defined::Exists | Defined::Missing | Defined::Changed { .. } | Defined::Full => {
            return Err(Error::WriteConflict);
        }
    }
    store.fence(&after, false).await?;
    Ok(Swapped { definition: after, rejected })
}

/// Difference between the two generations in the partitions' states: a document that fits one alone, or its lack.
fn reason_against(definition: &Definition, states: &[PartitionState]) -> Option<String> {
    let second = definition.second()?.generation.number;
    let live = definition.live.generation.number;
    let differs = states.iter().position(|state| state.checksum(live) != state.checksum(second))?;
    let misfit = states.iter().find_map(PartitionState::misfit).map(str::to_owned);
    Some(misfit.unwrap_or_else(|| format!("the generations differ in partition {differs}")))
}
