//! Policies file, read again each second.

use std::path::PathBuf;
use std::time::Duration;

use keyplane_server::WatchedFile;
use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Gauge;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Contents, Rejected, parse};

/// Interval of the looks at the file.
const LOOK: Duration = Duration::from_secs(1);

/// Policies file, watched for changes.
pub(crate) struct Watch {
    file: WatchedFile,
    gauge: Gauge<i64>,
}

// === impl Watch ===

impl Watch {
    /// Reads the file for the first time.
    ///
    /// # Errors
    ///
    /// File that can't be used.
    pub(crate) async fn start(path: PathBuf) -> Result<(Watch, Contents), Rejected> {
        let (file, contents) = WatchedFile::open(path, "policy file", parse).await;
        let contents = contents.map_err(|error| Rejected { path: file.path().to_owned(), error })?;
        let description =
            "Whether the policy file was changed to a rejected one, so that the previous policies are in force";
        let gauge = metrics::gauge(semconv::KEYPLANE_RATELIMIT_POLICY_FILE_REFUSED, "1", description);
        gauge.record(0, &[]);
        Ok((Watch { file, gauge }, contents))
    }

    /// Reason for which the file is rejected, while it is.
    pub(crate) fn rejected(&self) -> watch::Receiver<Option<String>> {
        self.file.rejection()
    }

    /// Waits until the file has new contents that are valid.
    ///
    /// # Cancel safety
    ///
    /// Unsafe: a change may be lost.
    pub(crate) async fn changed(&mut self) -> Contents {
        loop {
            sleep(LOOK).await;
            let contents = self.file.look(parse).await;
            self.gauge.record(i64::from(self.file.rejection().borrow().is_some()), &[]);
            if let Some(contents) = contents {
                let path = self.file.path().display();
                tracing::info!(%path, policies = contents.policies.len(), "policy file taken");
                return contents;
            }
        }
    }
}
