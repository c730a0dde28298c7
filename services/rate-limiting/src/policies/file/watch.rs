//! The file, looked at again and again: by what it holds, since a Kubernetes ConfigMap changes by a symlink to elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyplane_telemetry::{metrics, semconv};
use opentelemetry::metrics::Gauge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Contents, FileError, Refused, parse, read};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long it must have stood still: whoever writes in place has not finished at the first look.
const SETTLE: Duration = Duration::from_millis(100);
/// How often it is said that the file is refused, while the reasons stay the same.
const REMIND: Duration = Duration::from_secs(60);

/// A file and what was last read of it.
pub(crate) struct Watch {
    path: PathBuf,
    /// What it held when it was last judged; nothing if it could not be read.
    seen: Option<Vec<u8>>,
    /// Why it is refused.
    refused: watch::Sender<Option<String>>,
    /// When that was last said.
    said: Instant,
    gauge: Gauge<i64>,
}

// === impl Watch ===

impl Watch {
    /// Reads the file for the first time.
    ///
    /// # Errors
    ///
    /// That it can't be used.
    pub(crate) async fn start(path: &Path) -> Result<(Watch, Contents), Refused> {
        let refuse = |error| Refused { path: path.to_owned(), error };
        let bytes = read(path).await.map_err(refuse)?;
        let contents = parse(bytes.clone()).await.map_err(refuse)?;
        let what = "Whether the policy file was changed to one that is refused, so that the one before is in force";
        let gauge = metrics::gauge(semconv::KEYPLANE_RATELIMIT_POLICY_FILE_REFUSED, "1", what);
        gauge.record(0, &[]);
        let (refused, said) = (watch::Sender::new(None), Instant::now());
        Ok((Watch { path: path.to_owned(), seen: Some(bytes), refused, said, gauge }, contents))
    }

    /// Why the file is refused, while it is.
    pub(crate) fn refused(&self) -> watch::Receiver<Option<String>> {
        self.refused.subscribe()
    }

    /// Waits until the file says something else, and that is valid. What is not is refused, loudly.
    ///
    /// # Cancel safety
    ///
    /// Not safe: a change may be lost.
    pub(crate) async fn changed(&mut self) -> Contents {
        loop {
            sleep(LOOK).await;
            if let Some(contents) = self.look().await {
                return contents;
            }
        }
    }

    async fn look(&mut self) -> Option<Contents> {
        let judged = match self.settled().await {
            Ok(bytes) if self.seen.as_ref() == Some(&bytes) => {
                self.remind();
                return None;
            }
            Ok(bytes) => {
                self.seen = Some(bytes.clone());
                parse(bytes).await
            }
            Err(error) => {
                self.seen = None;
                Err(error)
            }
        };
        match judged {
            Ok(contents) => {
                tracing::info!(path = %self.path.display(), policies = contents.policies.len(), "policy file taken");
                self.refused.send_replace(None);
                self.gauge.record(0, &[]);
                Some(contents)
            }
            Err(error) => {
                self.refuse(&error);
                None
            }
        }
    }

    /// What the file holds; if that is new, once it has stood still for a moment.
    async fn settled(&self) -> Result<Vec<u8>, FileError> {
        let mut bytes = read(&self.path).await?;
        while self.seen.as_ref() != Some(&bytes) {
            sleep(SETTLE).await;
            let again = read(&self.path).await?;
            if again == bytes {
                break;
            }
            bytes = again;
        }
        Ok(bytes)
    }

    fn refuse(&mut self, error: &FileError) {
        let reasons = Some(error.to_string());
        let new = self.refused.send_if_modified(|known| {
            let new = *known != reasons;
            *known = reasons;
            new
        });
        self.gauge.record(1, &[]);
        if new { self.say() } else { self.remind() }
    }

    fn remind(&mut self) {
        if self.refused.borrow().is_some() && self.said.elapsed() >= REMIND {
            self.say();
        }
    }

    fn say(&mut self) {
        let refused = self.refused.borrow();
        let reasons = refused.as_deref().unwrap_or_default();
        tracing::error!(path = %self.path.display(), reasons, "policy file refused, the policies before it stay in force");
        self.said = Instant::now();
    }
}
