//! Waiting until servers agree with each other.

use std::time::{Duration, Instant};

use crate::{Error, Valkey};

/// How long servers may take to agree with each other.
const AGREEMENT: Duration = Duration::from_secs(60);

// === impl Valkey ===

impl Valkey {
    /// Waits until a replica has all that its primary has.
    pub(crate) fn wait_in_sync(&self) -> Result<(), Error> {
        self.wait("be in sync with its primary", &|replica| {
            let info = replica.command(&["INFO", "replication"])?;
            Ok(info.text().is_some_and(|text| text.contains("master_link_status:up")))
        })
    }

    /// Waits until `test` holds, for a minute at most.
    pub(crate) fn wait(&self, what: &str, test: &dyn Fn(&Valkey) -> Result<bool, Error>) -> Result<(), Error> {
        let start = Instant::now();
        while !test(self)? {
            if !self.runs_on_for(Duration::from_millis(20)) || start.elapsed() > AGREEMENT {
                let detail = format!("the node did not {what} within {AGREEMENT:?}");
                return Err(Error::Start { program: "valkey-server".to_owned(), detail, log: self.log() });
            }
        }
        Ok(())
    }
}
