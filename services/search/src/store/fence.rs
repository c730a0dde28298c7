//! Fence of the scripts: a writer with an outdated definition changes nothing.

use keyplane_valkey::Arg;

use crate::domain::{Build, CollectionState, Definition};

/// ARGV[1..3] of scripts that a fence guards: epoch, live and second generation.
pub(in crate::store) struct Fence([String; 3]);

// === impl Fence ===

impl Fence {
    /// Fence of a definition. The partitions of a collection that is being deleted have no live generation.
    pub(in crate::store) fn new(definition: &Definition) -> Fence {
        let open = definition.state != CollectionState::Deleting;
        let number = |build: Option<&Build>| {
            build.filter(|_| open).map(|build| build.generation.number.to_string()).unwrap_or_default()
        };
        Fence([definition.epoch.to_string(), number(Some(&definition.live)), number(definition.second())])
    }

    pub(in crate::store) fn args(&self) -> [Arg<'_>; 3] {
        let [epoch, live, second] = &self.0;
        [epoch.into(), live.into(), second.into()]
    }
}
