//! The key set in a file: read when it changes, and when a token names a key that it lacked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyplane_server::WatchedFile;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::keys::{Keys, Refused, Verdict};
use crate::error::Error;

const SETTING: &str = "KEYPLANE_REVOCATION_JWKS";
/// The file is looked at this often, for keys that were taken out of it.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks for a key that was not there: whoever makes up names must not keep the disk busy.
const SEARCH: Duration = Duration::from_millis(100);
/// Signatures that are verified at a time: anyone may send them, and checks need the cores more.
const AT_A_TIME: usize = 2;

/// The key set in a file.
#[derive(Debug)]
pub(crate) struct Jwks {
    set: Mutex<Set>,
    room: Semaphore,
}

/// The keys as of the last look at the file.
#[derive(Debug)]
struct Set {
    file: WatchedFile,
    /// Whether keys may lack a `kid`.
    without_kid: bool,
    keys: Option<Arc<Keys>>,
    looked_at: Instant,
}

/// Fault of a file.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("the key set cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("the key set is refused: {0}")]
    Refused(#[from] Refused),
}

// === impl Jwks ===

impl Jwks {
    /// The set in the file at `path`, whose keys may lack a `kid` if `without_kid`. From now on the file is looked at until the
    /// set is dropped; a set that is refused then leaves the keys as they are, and is logged once a minute.
    ///
    /// # Errors
    ///
    /// [`Refused`] if keys lack or share a `kid`. A file that can't be read, or holds no set, may yet be mended.
    pub(crate) async fn open(path: PathBuf, without_kid: bool) -> Result<Arc<Jwks>, Refused> {
        let looked_at = Instant::now();
        let (file, keys) = WatchedFile::open(path, SETTING, async |json| parse(&json, without_kid)).await;
        let keys = match keys {
            Err(Unread::Refused(refused @ (Refused::WithoutKid(_) | Refused::SharedKid(..)))) => return Err(refused),
            keys => keys.ok(),
        };
        let set = Set { file, without_kid, keys, looked_at };
        let jwks = Arc::new(Jwks { set: Mutex::new(set), room: Semaphore::new(AT_A_TIME) });
        let watched = Arc::downgrade(&jwks);
        tokio::spawn(async move {
            while let Some(jwks) = watched.upgrade() {
                let _ = jwks.set.lock().await.current().await;
                drop(jwks);
                sleep(LOOK).await;
            }
        });
        Ok(jwks)
    }

    /// The claims of `token` if a key of the set signed it; `None` if none did.
    ///
    /// # Errors
    ///
    /// [`Error::JwksNotConfigured`] if there is no set that could be read.
    pub(super) async fn verify(&self, token: &str) -> Result<Option<HashMap<String, Value>>, Error> {
        let asked_at = Instant::now();
        let keys = self.set.lock().await.current().await?;
        match self.hold_against(&keys, token).await {
            Verdict::Signed(claims) => Ok(Some(claims)),
            Verdict::Unsigned => Ok(None),
            // Perhaps the issuer has just begun to use it. The file is waited for: a revocation must not be lost to haste.
            Verdict::UnknownKey => {
                let keys = self.set.lock().await.as_of(asked_at).await?;
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

// === impl Set ===

impl Set {
    /// The set, at most [`LOOK`] after a change of the file.
    async fn current(&mut self) -> Result<Arc<Keys>, Error> {
        if self.looked_at.elapsed() >= LOOK {
            self.look().await;
        }
        self.keys.clone().ok_or(Error::JwksNotConfigured)
    }

    /// The set as it was at `moment` or later.
    async fn as_of(&mut self, moment: Instant) -> Result<Arc<Keys>, Error> {
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

fn parse(json: &[u8], without_kid: bool) -> Result<Arc<Keys>, Unread> {
    let (keys, useless) = Keys::parse(json, without_kid)?;
    if useless > 0 {
        tracing::warn!(setting = SETTING, useless, "keys of the set cannot verify tokens");
    }
    Ok(Arc::new(keys))
}
