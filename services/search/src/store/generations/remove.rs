//! Removal of generations.

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_valkey::{Arg, Key, script};

use super::{Lexicon, Partition, Store, unfenced};
use crate::domain::{Build, Definition};
use crate::error::Error;

script!(DROP = "search.drop", ["../scripts/generations/drop.lua"]);
script!(FORGET = "search.forget", ["../scripts/generations/forget.lua"]);
script!(CLOSE = "search.close", ["../scripts/generations/close.lua"]);

// === impl Store ===

impl Store {
    /// Removes documents of a generation that is neither live nor second, of one partition; returns the number of those that
    /// existed. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`] if the definition is outdated, or an error of the store.
    pub async fn drop_documents(
        &self,
        definition: &Definition,
        build: &Build,
        partition: u8,
        ids: &[Id],
    ) -> Result<u64, Error> {
        let keys = Partition::new(self.valkey.app(), &definition.name, partition);
        let mut all = vec![keys.state()];
        all.extend(ids.iter().map(|id| keys.document(&build.generation.placement, id)));
        let all: Vec<&Key> = all.iter().collect();
        let reply = unfenced(self.valkey.run(&DROP, &all, &[Arg::from(definition.epoch)]).await?)?;
        let removed = reply.first().ok_or(Error::Corrupt("a removal has no number"))?.int()?;
        Ok(u64::try_from(removed).unwrap_or(0))
    }

    /// Removes the counters and the lexicon of a generation without documents. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`] if the definition is outdated, or an error of the store.
    pub async fn forget_generation(&self, definition: &Definition, generation: u32) -> Result<(), Error> {
        for partition in 0..crate::domain::spread::PARTITIONS {
            let keys = Partition::new(self.valkey.app(), &definition.name, partition);
            let number = generation.to_string();
            let args = [Arg::from(definition.epoch), (&number).into()];
            unfenced(self.valkey.run(&FORGET, &[&keys.state(), &keys.count(generation)], &args).await?)?;
        }
        self.close_lexicon(&definition.name, generation).await
    }

    /// Removes the states of all partitions of a collection that is being deleted. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`] if the definition is outdated, or an error of the store.
    pub async fn forget_partitions(&self, definition: &Definition) -> Result<(), Error> {
        for partition in 0..crate::domain::spread::PARTITIONS {
            let keys = Partition::new(self.valkey.app(), &definition.name, partition);
            let args = [Arg::from(definition.epoch), "".into()];
            unfenced(self.valkey.run(&FORGET, &[&keys.state(), &keys.expiry(), &keys.gone()], &args).await?)?;
        }
        Ok(())
    }

    async fn close_lexicon(&self, name: &CollectionName, generation: u32) -> Result<(), Error> {
        let lexicon = Lexicon::new(self.valkey.app(), name, generation);
        // The log first: without it, an update changes nothing.
        let keys = [lexicon.log(), lexicon.terms(), lexicon.batches()];
        self.valkey.run(&CLOSE, &keys.each_ref(), &[]).await?;
        Ok(())
    }
}
