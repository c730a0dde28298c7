//! The guard as a part of this process.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::Error;
use crate::guard::Guard;

/// A guard on a thread of this process: for tests, and for programs that run Envoy themselves. Dropping it stops it.
///
/// Its socket is an abstract one, which leaves no file behind, but which every user of the machine may use.
#[derive(Debug)]
pub struct Here {
    name: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Here ===

impl Here {
    /// Starts it; it listens when this returns.
    ///
    /// # Errors
    ///
    /// When there can be no socket, or no thread.
    pub fn start() -> Result<Here, Error> {
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
            // What ends it is the drop, and then nobody listens.
            let _ = runtime.block_on(guard.serve(listener, stopped));
        };
        let thread = thread::Builder::new().name("guard".to_owned()).spawn(serve);
        Ok(Here { name, stop: Some(stop), thread: Some(thread.map_err(Error::io("starting a thread"))?) })
    }

    /// Address of its socket, as Envoy writes it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        format!("@{}", self.name).into()
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
