//! A controller's own thread, which takes commands as they come and ends with the controller.

use std::ops::Deref;
use std::sync::Arc;
use std::thread::JoinHandle;

use vm_osal::NoThread;

/// What the thread works on.
pub(super) trait Commands: Send + Sync + 'static {
    /// Takes commands until it is told to stop.
    fn run(&self);
    /// Has [`Self::run`] give up what it is at, and return.
    fn stop(&self);
}

/// A controller's inside with its thread, which ends when this is dropped.
pub(super) struct Running<C: Commands> {
    core: Arc<C>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Commands> Running<C> {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the host refuses it.
    pub(super) fn start(name: &str, core: C) -> Result<Self, NoThread> {
        let core = Arc::new(core);
        let own = core.clone();
        let thread = vm_osal::spawn(name, move || own.run())?;
        Ok(Self {
            core,
            thread: Some(thread),
        })
    }
}

impl<C: Commands> Deref for Running<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.core
    }
}

impl<C: Commands> Drop for Running<C> {
    fn drop(&mut self) {
        self.core.stop();
        if let Some(thread) = self.thread.take() {
            // It has panicked then, and has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use parking_lot::{Condvar, Mutex};

    use super::*;

    #[derive(Default)]
    struct Waiting {
        stopping: Mutex<bool>,
        told: Condvar,
        returned: AtomicBool,
    }

    impl Commands for Waiting {
        fn run(&self) {
            let mut stopping = self.stopping.lock();
            while !*stopping {
                self.told.wait(&mut stopping);
            }
            self.returned.store(true, Ordering::Relaxed);
        }
        fn stop(&self) {
            *self.stopping.lock() = true;
            self.told.notify_all();
        }
    }

    #[test]
    fn running_dropped_ends_its_thread_first() {
        let running = Running::start("waiting", Waiting::default()).unwrap();
        let core = running.core.clone();
        drop(running);
        assert!(core.returned.load(Ordering::Relaxed));
        assert_eq!(Arc::strong_count(&core), 1);
    }
}
