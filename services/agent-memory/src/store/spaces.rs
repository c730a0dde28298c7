//! Record of the declared spaces: what the vectors in the store were made with.

use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_valkey::{Arg, Feature, Key, script};

use super::Store;
use crate::domain::Space;

script!(DECLARE = "memory.declare_space", ["scripts/declare_space.lua"]);

/// Life of a record after the last start that declared the space: no memory lives longer.
const LIFE: Duration = Duration::from_secs(800 * 24 * 60 * 60);

// === impl Store ===

impl Store {
    /// Records a space, or compares it with its record: `<app>:memory:{~:spaces}:<space>` is a hash of its facts. Of several
    /// instances the first one decides. Call it at the start, before the space is used.
    ///
    /// # Errors
    ///
    /// An error of [`ErrorKind::Layout`](keyplane_valkey::ErrorKind::Layout) if the space was declared otherwise before; error of the
    /// store. Safe to repeat.
    pub async fn check_space(&self, space: &Space) -> Result<(), keyplane_valkey::Error> {
        let id = space.id.as_str();
        let key = Key::tagged(self.valkey.app(), Feature::MEMORY, "~", "spaces", &[id]);
        let facts = space.facts();
        let mut args = vec![Arg::from(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX))];
        args.extend(facts.iter().flat_map(|(name, value)| [Arg::from(name), Arg::from(value)]));
        let recorded = self.valkey.run(&DECLARE, &[&key], &args).await?.pairs()?;
        let text = |bytes: bytes::Bytes| String::from_utf8_lossy(&bytes).into_owned();
        let recorded = recorded.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        match space.changes(&recorded).as_slice() {
            [] => Ok(()),
            changed => Err(keyplane_valkey::Error::layout(DECLARE.name(), changed_message(id, changed, &recorded))),
        }
    }
}

fn changed_message(id: &str, changed: &[String], recorded: &BTreeMap<String, String>) -> String {
    let before = changed.iter().map(|name| format!("{name} {:?}", recorded.get(name).map_or("", String::as_str)));
    let before: Vec<String> = before.collect();
    format!(
        "space `{id}` is declared with another {} than the stored vectors were made with ({}); a space never changes: \
         restore its declaration, or declare the new one under another id",
        changed.join(", "),
        before.join(", ")
    )
}
