//! Runtime on a thread of its own: a helper keeps working while a test blocks its runtime, or has none.

use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// Future on a thread of its own, until this value is dropped.
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Background ===

impl Background {
    /// Calls `make` on the new runtime. Everything that it spawns ends with this value.
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
