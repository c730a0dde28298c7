//! Copies into the second generation.

use keyplane_contracts::names::Id;
use keyplane_valkey::{Arg, Key, script};

use super::{Fence, Partition, Store, unfenced};
use crate::domain::Definition;
use crate::domain::indexed::Indexed;
use crate::error::Error;
use crate::store::documents::flat;

script!(COPY = "search.copy", ["../scripts/common.lua", "../scripts/generations/copy.lua"]);

/// Document to copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// Id.
    pub id: Id,
    /// Revision in the live generation.
    pub revision: i64,
    /// Columns by the second generation's schema.
    pub indexed: Indexed,
}

/// Result of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Copied.
    Done,
    /// Changed or deleted since it was read; its writer has changed the second generation too.
    Changed,
    /// Present already.
    Present,
}

// === impl Store ===

impl Store {
    /// Copies at most 16 documents of one partition into the second generation, with one script. A document that has another
    /// revision is left alone. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`] if the definition is outdated, or an error of the store.
    pub async fn copy(&self, definition: &Definition, partition: u8, copies: &[Copy]) -> Result<Vec<Copied>, Error> {
        let second = definition.second().ok_or(Error::WriteConflict)?;
        let keys = Partition::new(self.valkey.app(), &definition.name, partition);
        let mut all = vec![keys.state(), keys.count(second.generation.number)];
        for copy in copies {
            all.push(keys.document(&definition.live.generation.placement, &copy.id));
            all.push(keys.document(&second.generation.placement, &copy.id));
        }
        let fence = Fence::new(definition);
        let flats: Vec<Vec<(String, Vec<u8>)>> =
            copies.iter().map(|copy| flat(&definition.name, &copy.id, &copy.indexed)).collect();
        let mut args = fence.args().to_vec();
        for (copy, flat) in copies.iter().zip(&flats) {
            args.extend([copy.id.as_str().into(), Arg::Int(copy.revision), Arg::from(2 * flat.len() as u64)]);
            args.extend(flat.iter().flat_map(|(name, value)| [Arg::from(name), Arg::Bytes(value)]));
        }
        let keys: Vec<&Key> = all.iter().collect();
        let reply = unfenced(self.valkey.run(&COPY, &keys, &args).await?)?;
        let results = reply.into_iter().next().ok_or(Error::Corrupt("a copy has no results"))?.array()?;
        results.iter().map(|result| copied(result.int()?)).collect()
    }
}

fn copied(result: i64) -> Result<Copied, Error> {
    match result {
        0 => Ok(Copied::Changed),
        1 => Ok(Copied::Done),
        2 => Ok(Copied::Present),
        _ => Err(Error::Corrupt("a copy has an unknown result")),
    }
}
