//! Socket between Envoy and the guard.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;

/// Path of a Unix socket in a private folder.
///
/// No other user can enter the folder and take Envoy's requests, and two gateways on a machine never collide. Dropping it
/// removes the folder.
#[derive(Debug)]
pub struct Socket {
    folder: TempDir,
}

// === impl Socket ===

impl Socket {
    /// Makes a new folder; nothing listens in it yet.
    ///
    /// # Errors
    ///
    /// [`Error::Folder`] when the folder can't be made.
    pub fn new() -> Result<Socket, Error> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("keyplane-guard-");
        let folder = builder.permissions(Permissions::from_mode(0o700)).tempdir().map_err(Error::Folder)?;
        Ok(Socket { folder })
    }

    /// Path of the socket, whether the guard listens or not.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("guard.sock")
    }

    /// Listens at `path`, and replaces a socket that an earlier guard left.
    pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => UnixListener::bind(path),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
