//! Watches console output for the messages of a kernel that panics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vm_device::chardev::CharSink;

/// What Linux prints when it gives up (kernel/panic.c, stable since 2.x).
const PANIC: &[u8] = b"Kernel panic - not syncing";
/// What is in the line that Linux prints behind all else when it will not ask for a reset (kernel/panic.c, since 3.6).
const END: &[u8] = b"[ end Kernel panic - not syncing";

/// How far a text has gone by. The first byte of each text occurs in it only once, so a mismatch can restart at the first
/// byte only.
#[derive(Debug, Default)]
struct Matched(usize);

impl Matched {
    /// Takes a byte; whether it completes the text.
    fn byte(&mut self, text: &[u8], byte: u8) -> bool {
        self.0 = match byte == text[self.0] {
            true => self.0 + 1,
            false => usize::from(byte == text[0]),
        };
        let complete = self.0 == text.len();
        if complete {
            self.0 = 0;
        }
        complete
    }
}

/// What the kernel's end was told by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// The last line on a console: it has panicked, and stands still.
    LastLine,
    /// The panic device, which it tells before it prints that line or asks for a reset.
    Device,
}

/// What is known of the kernel's end, from all consoles of a machine and from the panic device.
#[derive(Default)]
pub(super) struct PanicWatch {
    seen: AtomicBool,
    stands_still: AtomicBool,
    told: OnceLock<Box<dyn Fn(Told) + Send + Sync>>,
}

impl PanicWatch {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A console sink that passes everything on to another one.
    pub(super) fn over(self: &Arc<Self>, behind: Arc<dyn CharSink>) -> Arc<dyn CharSink> {
        Arc::new(Watched {
            watch: self.clone(),
            behind,
            progress: Mutex::default(),
        })
    }

    /// Names who is told when the kernel has panicked. It is called on the thread that prints, behind the last line, and once
    /// until the next reset; and on that of the virtual CPU that tells the panic device.
    pub(super) fn on_panic(&self, told: impl Fn(Told) + Send + Sync + 'static) {
        self.told.get_or_init(|| Box::new(told));
    }

    /// Whether the panic message went by since the last reset.
    pub(super) fn seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    pub(super) fn reset(&self) {
        self.seen.store(false, Ordering::Relaxed);
        self.stands_still.store(false, Ordering::Relaxed);
    }

    /// The guest tells of its panic itself.
    pub(super) fn guest_tells(&self) {
        self.seen.store(true, Ordering::Relaxed);
        if let Some(told) = self.told.get() {
            told(Told::Device);
        }
    }

    fn tell(&self) {
        if !self.stands_still.swap(true, Ordering::Relaxed)
            && let Some(told) = self.told.get()
        {
            told(Told::LastLine);
        }
    }
}

#[derive(Debug, Default)]
struct Progress {
    panic: Matched,
    end: Matched,
    /// The last line is being printed.
    in_last_line: bool,
}

struct Watched {
    watch: Arc<PanicWatch>,
    behind: Arc<dyn CharSink>,
    progress: Mutex<Progress>,
}

impl CharSink for Watched {
    fn write(&self, bytes: &[u8]) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stands_still = false;
        for &byte in bytes {
            if progress.panic.byte(PANIC, byte) {
                self.watch.seen.store(true, Ordering::Relaxed);
            }
            progress.in_last_line |= progress.end.byte(END, byte);
            if byte == b'\n' && std::mem::take(&mut progress.in_last_line) {
                stands_still = true;
            }
        }
        drop(progress);
        self.behind.write(bytes);
        if stands_still {
            self.watch.tell();
        }
    }

    fn hurry(&self) {
        self.behind.hurry();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use vm_device::chardev::NoSink;

    #[test]
    fn message_in_pieces_is_seen_until_reset() {
        let watch = PanicWatch::new();
        let console = watch.over(Arc::new(NoSink));
        console.write(b"KKernel panic - not sync");
        assert!(!watch.seen());
        console.write(b"ing: VFS");
        assert!(watch.seen());
        watch.reset();
        assert!(!watch.seen());
        console.write(b"Kernel panic - Kernel panic - not syncin");
        assert!(!watch.seen());
    }

    #[test]
    fn panic_that_the_guest_tells_of_is_seen_and_told() {
        let watch = PanicWatch::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        watch.on_panic(move |by| log.lock().unwrap().push(by));
        watch.guest_tells();
        assert!(watch.seen());
        assert_eq!(*told.lock().unwrap(), [Told::Device]);
    }

    #[test]
    fn last_line_of_a_kernel_that_stands_still_is_told_once_whatever_console_it_is_on() {
        let watch = PanicWatch::new();
        let told = Arc::new(AtomicU32::new(0));
        let count = told.clone();
        watch.on_panic(move |by| {
            assert_eq!(by, Told::LastLine);
            count.fetch_add(1, Ordering::SeqCst);
        });
        let consoles = [(); 2].map(|()| watch.over(Arc::new(NoSink)));
        let rebooting =
            b"[ 1.0] Kernel panic - not syncing: VFS\n[ 1.1] Rebooting in 5 seconds..\n";
        let end = b"[ 1.2] ---[ end Kernel panic - not syncing: VFS ]---";
        consoles[0].write(rebooting);
        assert!(watch.seen());
        consoles[0].write(end);
        assert_eq!(told.load(Ordering::SeqCst), 0, "the line is not complete");
        consoles[0].write(b"\r\n");
        consoles[1].write(end);
        consoles[1].write(b"\n");
        assert_eq!(told.load(Ordering::SeqCst), 1);
        watch.reset();
        consoles[1].write(end);
        consoles[1].write(b"\n");
        assert_eq!(told.load(Ordering::SeqCst), 2);
    }
}
