//! The key set in a file: read when it changes, and when a token names a key that it lacked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::keys::{Keys, Verdict};
use crate::error::Error;

/// The file is looked at this often, for keys that were taken out of it.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for a key that was not there: whoever makes up names must not keep the disk busy.
const SEARCH: Duration = Duration::from_millis(100);
/// Signatures that are verified at a time: anyone may send them, and checks need the cores more.
const AT_A_TIME: usize = 2;

/// The key set in a file.
#[derive(Debug)]
pub(crate) struct Jwks {
    path: PathBuf,
    file: Mutex<File>,
    room: Semaphore,
}

/// What was read last.
#[derive(Debug, Default)]
struct File {
    keys: Option<Arc<Keys>>,
    stamp: Option<(SystemTime, u64)>,
    looked_at: Option<Instant>,
}

// === impl Jwks ===

impl Jwks {
    /// The set in the file at `path`, which is read at the first use.
    pub(crate) fn at(path: PathBuf) -> Jwks {
        Jwks { path, file: Mutex::default(), room: Semaphore::new(AT_A_TIME) }
    }

    /// The claims of `token` if a key of the set signed it; `None` if none did.
    ///
    /// # Errors
    ///
    /// [`Error::JwksNotConfigured`] if there is no set that could be read.
    pub(super) async fn verify(&self, token: &str) -> Result<Option<HashMap<String, Value>>, Error> {
        let asked_at = Instant::now();
        let keys = self.file.lock().await.current(&self.path).await?;
        match self.hold_against(&keys, token).await {
            Verdict::Signed(claims) => Ok(Some(claims)),
            Verdict::Unsigned => Ok(None),
            // Perhaps the issuer has just begun to use it. The file is waited for: a revocation must not be lost to haste.
            Verdict::UnknownKey => {
                let keys = self.file.lock().await.as_of(asked_at, &self.path).await?;
                match self.hold_against(&keys, token).await {
                    Verdict::Signed(claims) => Ok(Some(claims)),
                    Verdict::Unsigned | Verdict::UnknownKey => Ok(None),
                }
            }
        }
    }

    /// Verifies aside of the threads that answer checks.
    async fn hold_against(&self, keys: &Arc<Keys>, token: &str) -> Verdict {
        let (keys, token) = (keys.clone(), token.to_owned());
        // The semaphore is never closed.
        let _room = self.room.acquire().await;
        let verified = tokio::task::spawn_blocking(move || keys.verify(&token)).await;
        // A panic in the verification: the token is not verified, and the kit has logged it.
        verified.unwrap_or(Verdict::Unsigned)
    }
}

// === impl File ===

impl File {
    /// The set, at most [`LOOK`] after a change of the file.
    async fn current(&mut self, path: &Path) -> Result<Arc<Keys>, Error> {
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK) {
            self.look(path, false).await;
        }
        self.keys.clone().ok_or(Error::JwksNotConfigured)
    }

    /// The set as it was at `moment` or later.
    async fn as_of(&mut self, moment: Instant, path: &Path) -> Result<Arc<Keys>, Error> {
        if let Some(at) = self.looked_at.filter(|at| *at < moment) {
            sleep_until(at + SEARCH).await;
            self.look(path, true).await;
        }
        self.keys.clone().ok_or(Error::JwksNotConfigured)
    }

    /// Reads the file, if it changed or `anyway`. What can't be read leaves the keys as they are.
    async fn look(&mut self, path: &Path, anyway: bool) {
        self.looked_at = Some(Instant::now());
        let setting = "KEYPLANE_REVOCATION_JWKS";
        let stamp = match tokio::fs::metadata(path).await {
            Ok(metadata) => metadata.modified().ok().map(|at| (at, metadata.len())),
            Err(error) => {
                return tracing::error!(setting, path = %path.display(), %error, "the key set cannot be read");
            }
        };
        if !anyway && stamp.is_some() && stamp == self.stamp {
            return;
        }
        let read = match tokio::fs::read(path).await {
            Ok(json) => Keys::parse(&json).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok((keys, useless)) => {
                if useless > 0 && stamp != self.stamp {
                    tracing::warn!(useless, path = %path.display(), "keys of the set cannot verify tokens");
                }
                self.keys = Some(Arc::new(keys));
                self.stamp = stamp;
            }
            Err(error) => {
                tracing::error!(setting, path = %path.display(), error, "the key set cannot be read");
            }
        }
    }
}
