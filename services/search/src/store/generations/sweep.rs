//! Removal of expired documents.

use std::time::Duration;

use keyplane_contracts::names::Id;
use keyplane_valkey::{Arg, Key, Value, script};

use super::{Fence, Partition, Store, unfenced};
use crate::domain::Definition;
use crate::error::Error;

script!(DUE = "search.due", ["../scripts/generations/due.lua"]);
script!(SWEEP = "search.sweep", ["../scripts/common.lua", "../scripts/generations/sweep.lua"]);

/// Result of a sweep of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Terms of each removed document in the live generation, and in the second; empty without one.
    pub terms: Vec<(String, String)>,
    /// Time until the partition's next expiry; none without one.
    pub next: Option<Duration>,
}

// === impl Store ===

impl Store {
    /// Removes at most `maximum` expired documents of a partition, from the live and the second generation. Idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::WriteConflict`] if the definition is outdated, or an error of the store.
    pub async fn sweep(&self, definition: &Definition, partition: u8, maximum: u32) -> Result<Swept, Error> {
        let keys = Partition::new(self.valkey.app(), &definition.name, partition);
        let reply = self.valkey.run(&DUE, &[&keys.expiry()], &[maximum.into()]).await?.array()?;
        let [ids, left] = <[Value; 2]>::try_from(reply).map_err(|_| Error::Corrupt("expiries have another form"))?;
        let next = u64::try_from(left.int()?).ok().map(Duration::from_millis);
        let id = |value: &Value| Id::parse(value.text()?, "id").map_err(|_| Error::Corrupt("an id breaks its rule"));
        let ids: Vec<Id> = ids.array()?.iter().map(id).collect::<Result<_, Error>>()?;
        if ids.is_empty() {
            return Ok(Swept { next, ..Swept::default() });
        }
        let live = &definition.live;
        let second = definition.second().unwrap_or(live);
        let (of_live, of_second) = (live.generation.number, second.generation.number);
        let mut all = vec![keys.state(), keys.expiry(), keys.count(of_live), keys.count(of_second)];
        for id in &ids {
            all.push(keys.document(&live.generation.placement, id));
            all.push(keys.document(&second.generation.placement, id));
        }
        let fence = Fence::new(definition);
        let mut args: Vec<Arg<'_>> = fence.args().to_vec();
        args.extend(ids.iter().map(|id| Arg::from(id.as_str())));
        let all: Vec<&Key> = all.iter().collect();
        let reply = unfenced(self.valkey.run(&SWEEP, &all, &args).await?)?;
        let terms = reply.into_iter().next().ok_or(Error::Corrupt("a sweep has no terms"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let terms = terms.pairs()?.iter().map(|(live, second)| (text(live), text(second))).collect();
        Ok(Swept { terms, next })
    }
}
