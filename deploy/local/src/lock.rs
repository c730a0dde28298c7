//! Lock that admits one `cargo up` to a folder.

use std::fs::{File, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use crate::{Endpoints, Error};

/// Lock held while the mesh runs. The kernel releases it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock of `folder`, and makes the folder if it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Running`] with the other process's description, if one holds the lock.
    pub(crate) fn take(folder: &Path) -> Result<Lock, Error> {
        std::fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let path = folder.join("up.lock");
        let step = format!("locking {}", path.display());
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = open.map_err(Error::io(step.clone()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Running(std::fs::read_to_string(&path).unwrap_or_default()));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io(step)(error)),
        }
        let mut lock = Lock { file, path };
        lock.write(&format!(", and is starting; stop it with: kill {}", std::process::id()))?;
        Ok(lock)
    }

    /// Writes the description that a second `cargo up` prints.
    pub(crate) fn describe(&mut self, endpoints: &Endpoints) -> Result<(), Error> {
        let gateway = endpoints.gateway.as_ref().map(|url| format!("\n  gateway  {url}")).unwrap_or_default();
        let pid = std::process::id();
        let services = endpoints.services.iter().map(|(name, service)| format!("\n  {name:<8} {}", service.grpc));
        let text = format!(
            ", as process {pid}:{gateway}{}\n  valkey   {}\n\
             Use it, or stop it with Ctrl-C in its terminal or: kill {pid}",
            services.collect::<String>(),
            endpoints.valkey,
        );
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), Error> {
        let written =
            self.file.set_len(0).and_then(|()| self.file.rewind()).and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(Error::io(format!("writing {}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::Lock;

    #[test]
    fn second_lock_reports_how_to_stop_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains("running already"), "{error}");
        assert!(error.contains(&format!("kill {}", std::process::id())), "{error}");
        drop(lock);
        Lock::take(folder.path()).unwrap();
    }
}
