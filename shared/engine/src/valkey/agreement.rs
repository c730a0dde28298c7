//! Waits until servers agree with each other.

use std::time::{Duration, Instant};

use super::Valkey;
use crate::Error;

/// Longest time until servers agree with each other.
const AGREEMENT: Duration = Duration::from_secs(60);

// === impl Valkey ===

impl Valkey {
    /// Waits until a replica is in sync with its primary.
    pub(crate) fn wait_in_sync(&self) -> Result<(), Error> {
        self.wait("be in sync with its primary", &|replica| {
            let info = replica.command(&["INFO", "replication"])?;
            Ok(info.text().is_some_and(|text| text.contains("master_link_status:up")))
        })
    }

    /// Waits until `test` holds, for at most a minute. `goal` names it in the error.
    pub(crate) fn wait(&self, goal: &str, test: &dyn Fn(&Valkey) -> Result<bool, Error>) -> Result<(), Error> {
        let start = Instant::now();
        while !test(self)? {
            if !self.runs_on_for(Duration::from_millis(20)) || start.elapsed() > AGREEMENT {
                let detail = format!("the node did not {goal} within {AGREEMENT:?}");
                return Err(Error::Start { program: "valkey-server".to_owned(), detail, log: self.log() });
            }
        }
        Ok(())
    }
}
