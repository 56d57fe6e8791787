//! Output that is written in large pieces by a thread of its own.

use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vm_device::chardev::CharSink;

/// How long the writer waits for more after the first byte.
const GATHER: Duration = Duration::from_millis(1);
/// Bytes that may wait; a guest that prints faster than the reader reads waits for it.
const MOST_WAITING_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Bytes that the writer has taken and not yet written.
    writing: bool,
    /// No more will come.
    finished: bool,
    /// The guest no longer waits for a slow reader.
    hurried: bool,
    /// Why nothing can be written any more.
    failed: Option<std::io::Error>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// A sink that never makes the guest wait for a single byte to be written.
pub struct Outlet {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Outlet {
    /// Writes to `target`.
    pub fn new(target: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let writer = std::thread::Builder::new()
            .name("serial-out".into())
            .spawn(move || drain(&for_thread, target))
            .expect("invariant: the host can start a thread");
        Self {
            shared,
            writer: Mutex::new(Some(writer)),
        }
    }

    /// From now on output beyond the buffer is dropped instead of making the guest wait: the machine is to stop.
    pub fn hurry(&self) {
        self.shared.waiting.lock().hurried = true;
        self.shared.changed.notify_all();
    }

    /// Waits until all that was printed so far is written.
    pub fn flush(&self) {
        let mut waiting = self.shared.waiting.lock();
        while (!waiting.bytes.is_empty() || waiting.writing) && waiting.failed.is_none() {
            self.shared.changed.wait(&mut waiting);
        }
    }

    /// Writes what is left and ends the thread; later output is dropped. May be called again.
    pub fn finish(&self) {
        self.shared.waiting.lock().finished = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.lock().take() {
            let ended = writer.join();
            debug_assert!(ended.is_ok(), "invariant: the writer does not panic");
        }
    }

    /// Why output could not be written, if so.
    pub fn failure(&self) -> Option<String> {
        let waiting = self.shared.waiting.lock();
        waiting.failed.as_ref().map(ToString::to_string)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.finish();
    }
}

impl CharSink for Outlet {
    fn write(&self, bytes: &[u8]) {
        let mut waiting = self.shared.waiting.lock();
        while waiting.bytes.len() >= MOST_WAITING_BYTES && !waiting.hurried && !waiting.finished {
            self.shared.changed.wait(&mut waiting);
        }
        if waiting.finished || waiting.failed.is_some() || waiting.bytes.len() >= MOST_WAITING_BYTES
        {
            return;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(bytes);
        drop(waiting);
        if first {
            self.shared.changed.notify_all();
        }
    }
}

fn drain(shared: &Shared, mut target: impl Write) {
    loop {
        let mut waiting = shared.waiting.lock();
        while waiting.bytes.is_empty() && !waiting.finished {
            shared.changed.wait(&mut waiting);
        }
        if !waiting.finished {
            drop(waiting);
            std::thread::sleep(GATHER);
            waiting = shared.waiting.lock();
        }
        let bytes = std::mem::take(&mut waiting.bytes);
        if bytes.is_empty() && waiting.finished {
            return;
        }
        waiting.writing = true;
        drop(waiting);
        shared.changed.notify_all();
        let written = target.write_all(&bytes).and_then(|()| target.flush());
        let mut waiting = shared.waiting.lock();
        waiting.writing = false;
        if let Err(error) = written {
            waiting.failed = Some(error);
            waiting.bytes = Vec::new();
            waiting.finished = true;
        }
        drop(waiting);
        shared.changed.notify_all();
    }
}
