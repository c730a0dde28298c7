//! Issuers' key set: read again when its file changes, and when a token names a key that it lacks.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyplane_server::WatchedFile;
use keyplane_telemetry::{metrics, semconv};
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use crate::domain::keys::{KeySetError, Keys, Verdict};
use crate::error::Error;

const SETTING: &str = "KEYPLANE_REVOCATION_JWKS";
/// Interval of looks at the file, for keys that were removed from it.
const LOOK: Duration = Duration::from_secs(1);
/// Pause between two looks for a missing key: made-up names must not keep the disk busy.
const SEARCH: Duration = Duration::from_millis(100);
/// Signatures that are verified at the same time: anyone may send them, and checks need the cores more.
const AT_A_TIME: usize = 2;

/// Key set in a file.
#[derive(Debug)]
pub(crate) struct KeySet {
    current: Mutex<Current>,
    room: Semaphore,
}

/// Keys as of the last look at the file.
#[derive(Debug)]
struct Current {
    file: WatchedFile,
    /// Set if keys may lack a `kid`.
    without_kid: bool,
    keys: Option<Arc<Keys>>,
    looked_at: Instant,
}

/// Fault of a file.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the key set cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the key set is rejected: {0}")]
    Rejected(#[from] KeySetError),
}

// === impl KeySet ===

impl KeySet {
    /// Opens the set in the file at `path`, whose keys may lack a `kid` if `without_kid`. The file is watched until the
    /// set is dropped. Contents that are rejected then leave the keys as they are, and are logged once a minute.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] if keys lack or share a `kid`. A file that can't be read, or holds no set, is no error: it may
    /// be mended.
    pub(crate) async fn open(path: PathBuf, without_kid: bool) -> Result<Arc<KeySet>, KeySetError> {
        let looked_at = Instant::now();
        let (file, keys) = WatchedFile::open(path, SETTING, async |json| parse(&json, without_kid)).await;
        let keys = match keys {
            Err(ReadError::Rejected(error @ (KeySetError::WithoutKid(_) | KeySetError::SharedKid(..)))) => {
                return Err(error);
            }
            keys => keys.ok(),
        };
        let rejection = file.rejection();
        let description = "Whether the key set was changed to a rejected one, so that the previous keys are in force";
        metrics::observed(semconv::KEYPLANE_REVOCATION_KEY_SET_REFUSED, "1", description, move || {
            Some(i64::from(rejection.borrow().is_some()))
        });
        let current = Current { file, without_kid, keys, looked_at };
        let set = Arc::new(KeySet { current: Mutex::new(current), room: Semaphore::new(AT_A_TIME) });
        let watched = Arc::downgrade(&set);
        tokio::spawn(async move {
            while let Some(set) = watched.upgrade() {
                let _ = set.current.lock().await.keys().await;
                drop(set);
                sleep(LOOK).await;
            }
        });
        Ok(set)
    }

    /// Claims of `token`, if a key of the set signed it.
    ///
    /// # Errors
    ///
    /// [`Error::JwksNotConfigured`] if no set could be read yet. Cancel safe.
    pub(crate) async fn verify(&self, token: &str) -> Result<Option<HashMap<String, Value>>, Error> {
        let called = Instant::now();
        let keys = self.current.lock().await.keys().await?;
        match self.verify_with(&keys, token).await {
            Verdict::Signed(claims) => Ok(Some(claims)),
            Verdict::Unsigned => Ok(None),
            // Perhaps the issuer has just begun to use the key. Wait for the file: a revocation must not be lost to
            // haste.
            Verdict::UnknownKey => {
                let keys = self.current.lock().await.keys_as_of(called).await?;
                match self.verify_with(&keys, token).await {
                    Verdict::Signed(claims) => Ok(Some(claims)),
                    Verdict::Unsigned | Verdict::UnknownKey => Ok(None),
                }
            }
        }
    }

    /// Verifies on threads other than those that answer checks.
    async fn verify_with(&self, keys: &Arc<Keys>, token: &str) -> Verdict {
        let (keys, token) = (keys.clone(), token.to_owned());
        // The semaphore is never closed.
        let _room = self.room.acquire().await;
        let verified = tokio::task::spawn_blocking(move || keys.verify(&token)).await;
        // A panic in the verification: the token is not verified, and the kit has logged it.
        verified.unwrap_or(Verdict::Unsigned)
    }
}

// === impl Current ===

impl Current {
    /// Keys of the file, at most [`LOOK`] after a change of it.
    async fn keys(&mut self) -> Result<Arc<Keys>, Error> {
        if self.looked_at.elapsed() >= LOOK {
            self.look().await;
        }
        self.keys.clone().ok_or(Error::JwksNotConfigured)
    }

    /// Keys of the file at `moment` or later.
    async fn keys_as_of(&mut self, moment: Instant) -> Result<Arc<Keys>, Error> {
        if self.looked_at < moment {
            sleep_until(self.looked_at + SEARCH).await;
            self.look().await;
        }
        self.keys.clone().ok_or(Error::JwksNotConfigured)
    }

    async fn look(&mut self) {
        self.looked_at = Instant::now();
        let without_kid = self.without_kid;
        if let Some(keys) = self.file.look(async |json| parse(&json, without_kid)).await {
            self.keys = Some(keys);
        }
    }
}

fn parse(json: &[u8], without_kid: bool) -> Result<Arc<Keys>, ReadError> {
    let (keys, unusable) = Keys::parse(json, without_kid)?;
    if unusable > 0 {
        tracing::warn!(setting = SETTING, unusable, "keys of the set cannot verify tokens");
    }
    Ok(Arc::new(keys))
}
