use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Time for which new contents must stand still: a writer in place has not finished at the first look.
const SETTLE: Duration = Duration::from_millis(100);
/// Interval of log lines for one and the same rejection.
const REMIND: Duration = Duration::from_secs(60);

/// File of an operator that a service reads again while it runs. Contents that are rejected leave the last accepted ones in
/// force, are logged at once, and once a minute until the file is mended.
///
/// Contents are compared, not times: a Kubernetes ConfigMap changes by a symlink to another folder.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    /// Kind of the file, for the log: `policy file`.
    kind: &'static str,
    /// Contents that were judged last; `None` if the file could not be read.
    seen: Option<Vec<u8>>,
    rejection: watch::Sender<Option<String>>,
    logged_at: Instant,
}

// === impl WatchedFile ===

impl WatchedFile {
    /// Longest file that `parse` gets whole, in bytes: of a longer one it gets one byte more.
    pub const MAX_BYTES: usize = 1024 * 1024;

    /// Reads the file for the first time, and has `parse` judge it. A rejection here is the caller's to report.
    pub async fn open<T, E: From<io::Error>>(
        path: PathBuf,
        kind: &'static str,
        parse: impl AsyncFnOnce(Vec<u8>) -> Result<T, E>,
    ) -> (WatchedFile, Result<T, E>) {
        let mut seen = None;
        let parsed = match read(&path).await {
            Ok(bytes) => {
                let parsed = parse(bytes.clone()).await;
                seen = parsed.is_ok().then_some(bytes);
                parsed
            }
            Err(error) => Err(error.into()),
        };
        (WatchedFile { path, kind, seen, rejection: watch::Sender::new(None), logged_at: Instant::now() }, parsed)
    }

    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reason for which the file is rejected; `None` while its contents are in force.
    #[must_use]
    pub fn rejection(&self) -> watch::Receiver<Option<String>> {
        self.rejection.subscribe()
    }

    /// Reads the file again. Returns what `parse` makes of new contents; `None` if the contents are the old ones or rejected.
    ///
    /// Cancel safe: a look that is dropped is repeated by the next one.
    pub async fn look<T, E: Display + From<io::Error>>(
        &mut self,
        parse: impl AsyncFnOnce(Vec<u8>) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = match self.settled().await {
            Ok(bytes) if self.seen.as_ref() == Some(&bytes) => {
                self.remind();
                return None;
            }
            Ok(bytes) => {
                let parsed = parse(bytes.clone()).await;
                self.seen = Some(bytes);
                parsed
            }
            Err(error) => {
                self.seen = None;
                Err(error.into())
            }
        };
        match parsed {
            Ok(contents) => {
                self.rejection.send_replace(None);
                Some(contents)
            }
            Err(error) => {
                self.reject(error.to_string());
                None
            }
        }
    }

    /// Contents of the file; new ones once they have stood still for [`SETTLE`].
    async fn settled(&self) -> io::Result<Vec<u8>> {
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

    fn reject(&mut self, reason: String) {
        let reason = Some(reason);
        if *self.rejection.borrow() == reason {
            return self.remind();
        }
        self.rejection.send_replace(reason);
        self.log();
    }

    fn remind(&mut self) {
        if self.rejection.borrow().is_some() && self.logged_at.elapsed() >= REMIND {
            self.log();
        }
    }

    fn log(&mut self) {
        let rejection = self.rejection.borrow();
        let reason = rejection.as_deref().unwrap_or_default();
        tracing::error!(file = self.kind, path = %self.path.display(), reason, "file rejected; its last valid contents stay in force");
        self.logged_at = Instant::now();
    }
}

/// Contents of a file, cut one byte after [`WatchedFile::MAX_BYTES`].
async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    file.take(WatchedFile::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
