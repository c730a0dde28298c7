//! Guard on a thread of the calling process.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::Guard;
use crate::Error;

/// Guard on a thread of the calling process, for tests and for programs that run Envoy themselves.
///
/// Dropping it stops the guard. The socket is abstract: it leaves no file behind, but every user of the machine may connect.
#[derive(Debug)]
pub struct InProcessGuard {
    name: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl InProcessGuard ===

impl InProcessGuard {
    /// Starts a guard, which listens once this returns.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the socket or the thread can't be made.
    pub fn start() -> Result<InProcessGuard, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("keyplane-guard-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name);
        let listener = address.and_then(|address| UnixListener::bind_addr(&address)).map_err(Error::io("listening"))?;
        let guard = Guard::new()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("starting the guard's runtime"))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let serve = move || {
            // Only the drop ends it, and then nobody reads the result.
            let _ = runtime.block_on(guard.serve(listener, stopped));
        };
        let thread = thread::Builder::new().name("guard".to_owned()).spawn(serve);
        Ok(InProcessGuard { name, stop: Some(stop), thread: Some(thread.map_err(Error::io("starting a thread"))?) })
    }

    /// Socket's address in Envoy's notation.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        format!("@{}", self.name).into()
    }
}

impl Drop for InProcessGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
