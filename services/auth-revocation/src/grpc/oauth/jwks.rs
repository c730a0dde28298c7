//! The key set in a file: read when it changes, and when a token names a key that it lacked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use super::keys::{Keys, Refused, Verdict};
use crate::error::Error;

const SETTING: &str = "KEYPLANE_REVOCATION_JWKS";
/// The file is looked at this often, for keys that were taken out of it.
const LOOK: Duration = Duration::from_secs(1);
/// Between two lines in the log that say the same of the file.
const COMPLAIN: Duration = Duration::from_secs(60);
/// Between two looks for a key that was not there: whoever makes up names must not keep the disk busy.
const SEARCH: Duration = Duration::from_millis(100);
/// Signatures that are verified at a time: anyone may send them, and checks need the cores more.
const AT_A_TIME: usize = 2;

/// The key set in a file.
#[derive(Debug)]
pub(crate) struct Jwks {
    file: Mutex<File>,
    room: Semaphore,
}

/// The file, and what was read of it last.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Whether keys may lack a `kid`.
    without_kid: bool,
    keys: Option<Arc<Keys>>,
    stamp: Option<Stamp>,
    looked_at: Option<Instant>,
    complained: Option<(Instant, Option<Stamp>)>,
}

/// Time of the last change, and length.
type Stamp = (SystemTime, u64);

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
        let (keys, stamp, looked_at, complained) = (None, None, None, None);
        let mut file = File { path, without_kid, keys, stamp, looked_at, complained };
        if let Err(Unread::Refused(refused @ (Refused::WithoutKid(_) | Refused::SharedKid(..)))) =
            file.look(false).await
        {
            return Err(refused);
        }
        let jwks = Arc::new(Jwks { file: Mutex::new(file), room: Semaphore::new(AT_A_TIME) });
        let watched = Arc::downgrade(&jwks);
        tokio::spawn(async move {
            while let Some(jwks) = watched.upgrade() {
                let _ = jwks.file.lock().await.current().await;
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
        let keys = self.file.lock().await.current().await?;
        match self.hold_against(&keys, token).await {
            Verdict::Signed(claims) => Ok(Some(claims)),
            Verdict::Unsigned => Ok(None),
            // Perhaps the issuer has just begun to use it. The file is waited for: a revocation must not be lost to haste.
            Verdict::UnknownKey => {
                let keys = self.file.lock().await.as_of(asked_at).await?;
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
    async fn current(&mut self) -> Result<Arc<Keys>, Error> {
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK) {
            self.see(false).await;
        }
        self.keys.clone().ok_or(Error::JwksNotConfigured)
    }

    /// The set as it was at `moment` or later.
    async fn as_of(&mut self, moment: Instant) -> Result<Arc<Keys>, Error> {
        if let Some(at) = self.looked_at.filter(|at| *at < moment) {
            sleep_until(at + SEARCH).await;
            self.see(true).await;
        }
        self.keys.clone().ok_or(Error::JwksNotConfigured)
    }

    /// Reads the file, if it changed or `anyway`. What can't be read, or is refused, leaves the keys as they are.
    async fn see(&mut self, anyway: bool) {
        let Err(error) = self.look(anyway).await else { return };
        let stamp = self.stamp_now().await.ok();
        let said = |(at, of): (Instant, Option<Stamp>)| of == stamp && at.elapsed() < COMPLAIN;
        if !self.complained.is_some_and(said) {
            self.complained = Some((Instant::now(), stamp));
            tracing::error!(setting = SETTING, path = %self.path.display(), %error, "the keys stay as they were");
        }
    }

    async fn look(&mut self, anyway: bool) -> Result<(), Unread> {
        self.looked_at = Some(Instant::now());
        let stamp = self.stamp_now().await?;
        if !anyway && Some(stamp) == self.stamp {
            return Ok(());
        }
        let json = tokio::fs::read(&self.path).await?;
        let (keys, useless) = Keys::parse(&json, self.without_kid)?;
        if useless > 0 && Some(stamp) != self.stamp {
            tracing::warn!(setting = SETTING, useless, path = %self.path.display(), "keys of the set cannot verify tokens");
        }
        (self.keys, self.stamp, self.complained) = (Some(Arc::new(keys)), Some(stamp), None);
        Ok(())
    }

    async fn stamp_now(&self) -> std::io::Result<Stamp> {
        let metadata = tokio::fs::metadata(&self.path).await?;
        Ok((metadata.modified()?, metadata.len()))
    }
}
