//! Watches console output for the message of a kernel that panics.

use std::sync::{Arc, Mutex, PoisonError};

use vm_device::chardev::CharSink;

/// What Linux prints when it gives up (kernel/panic.c, stable since 2.x).
const MESSAGE: &[u8] = b"Kernel panic - not syncing";

#[derive(Debug, Default)]
struct Progress {
    matched: usize,
    seen: bool,
}

/// A console sink that passes everything on and remembers whether a panic message went by.
pub(super) struct PanicWatch {
    behind: Arc<dyn CharSink>,
    progress: Mutex<Progress>,
}

impl PanicWatch {
    pub(super) fn new(behind: Arc<dyn CharSink>) -> Self {
        Self {
            behind,
            progress: Mutex::default(),
        }
    }

    /// Whether the message went by since the last reset.
    pub(super) fn seen(&self) -> bool {
        self.progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .seen
    }

    pub(super) fn reset(&self) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress::default();
    }
}

impl CharSink for PanicWatch {
    fn write(&self, bytes: &[u8]) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        for &byte in bytes {
            // The message's first byte occurs in it only once, so a mismatch can restart at the first byte only.
            progress.matched = match () {
                () if byte == MESSAGE[progress.matched] => progress.matched + 1,
                () => usize::from(byte == MESSAGE[0]),
            };
            if progress.matched == MESSAGE.len() {
                progress.seen = true;
                progress.matched = 0;
            }
        }
        drop(progress);
        self.behind.write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_device::chardev::NoSink;

    #[test]
    fn message_in_pieces_is_seen_until_reset() {
        let watch = PanicWatch::new(Arc::new(NoSink));
        watch.write(b"KKernel panic - not sync");
        assert!(!watch.seen());
        watch.write(b"ing: VFS");
        assert!(watch.seen());
        watch.reset();
        assert!(!watch.seen());
        watch.write(b"Kernel panic - Kernel panic - not syncin");
        assert!(!watch.seen());
    }
}
