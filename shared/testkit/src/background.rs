//! A runtime on a thread of its own, so that a helper keeps working while a test blocks its own runtime, or has none.

use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// Runs one future until it is dropped.
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Background ===

impl Background {
    /// `make` is called on the new runtime; everything that it spawns ends with this value.
    pub(crate) fn run<F: Future<Output = ()>>(make: impl FnOnce() -> F + Send + 'static) -> Background {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime can be built: the test itself needs as much");
            runtime.block_on(async {
                tokio::select! {
                    () = make() => {}
                    _ = stopped => {}
                }
            });
        });
        Background { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was already printed.
            let _ = thread.join();
        }
    }
}
