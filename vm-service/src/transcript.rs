//! What the guest has printed, kept for programs that wait for a word of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vm_device::chardev::CharSink;

/// Bytes that are kept for who has not waited for them yet; the oldest go first.
const MOST_KEPT_BYTES: usize = 1 << 18;

/// Why a text did not come. Each has what was printed since the last text that came.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoText {
    /// It did not come in time.
    #[error("the guest did not print '{wanted}' in time; it printed {printed:?}")]
    TimedOut {
        /// What was waited for.
        wanted: String,
        /// What came instead.
        printed: String,
    },
    /// The machine has ended, or there is no such line.
    #[error("the machine ended without having printed '{wanted}'; it printed {printed:?}")]
    Ended {
        /// What was waited for.
        wanted: String,
        /// What came instead.
        printed: String,
    },
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// Bytes that were printed before these.
    forgotten: u64,
    ended: bool,
}

impl Kept {
    fn forget(&mut self, count: usize) -> Vec<u8> {
        self.forgotten += count as u64;
        self.bytes.drain(..count).collect()
    }

    /// Where the first `wanted` ends that begins behind `searched` bytes of all that was printed.
    fn end_of(&self, wanted: &[u8], searched: u64) -> Option<usize> {
        if wanted.is_empty() {
            return Some(0);
        }
        let from = searched.saturating_sub(self.forgotten) as usize;
        let mut windows = self.bytes.get(from..)?.windows(wanted.len());
        let at = windows.position(|window| window == wanted)?;
        Some(from + at + wanted.len())
    }
}

/// Passes output on and keeps the newest of it.
pub(crate) struct Transcript {
    inner: Arc<dyn CharSink>,
    kept: Mutex<Kept>,
    changed: Condvar,
}

impl Transcript {
    pub(crate) fn of(inner: Arc<dyn CharSink>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            kept: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// No more will come: lets go of everyone who waits.
    pub(crate) fn end(&self) {
        self.kept.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits until `text` has been printed; gives what was printed up to its end, and forgets that.
    pub(crate) fn wait_for(&self, text: &str, within: Duration) -> Result<String, NoText> {
        // One too far away to be told is none.
        let deadline = Instant::now().checked_add(within);
        let wanted = text.as_bytes();
        let mut kept = self.kept.lock();
        let mut searched = 0;
        let mut timed_out = false;
        loop {
            if let Some(end) = kept.end_of(wanted, searched) {
                return Ok(lossy(&kept.forget(end)));
            }
            if kept.ended || timed_out {
                let (wanted, printed) = (text.to_owned(), lossy(&kept.bytes));
                return Err(match kept.ended {
                    true => NoText::Ended { wanted, printed },
                    false => NoText::TimedOut { wanted, printed },
                });
            }
            // The text may have begun already.
            let all = kept.forgotten + kept.bytes.len() as u64;
            searched = (all + 1).saturating_sub(wanted.len() as u64);
            match deadline {
                Some(at) => timed_out = self.changed.wait_until(&mut kept, at).timed_out(),
                None => self.changed.wait(&mut kept),
            }
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl CharSink for Transcript {
    fn write(&self, bytes: &[u8]) {
        self.inner.write(bytes);
        let mut kept = self.kept.lock();
        kept.bytes.extend_from_slice(bytes);
        // In large steps, so that a byte does not cost a move of all the others.
        if kept.bytes.len() > 2 * MOST_KEPT_BYTES {
            let excess = kept.bytes.len() - MOST_KEPT_BYTES;
            kept.forget(excess);
        }
        drop(kept);
        self.changed.notify_all();
    }

    fn hurry(&self) {
        self.inner.hurry();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_device::chardev::NoSink;

    const SOON: Duration = Duration::from_millis(20);

    fn transcript() -> Arc<Transcript> {
        Transcript::of(Arc::new(NoSink))
    }

    #[test]
    fn wait_for_gives_what_came_before_and_forgets_it() {
        let text = transcript();
        text.write(b"one two ");
        text.write(b"three");
        assert_eq!(text.wait_for("two", SOON), Ok("one two".to_owned()));
        assert_eq!(text.wait_for("three", SOON), Ok(" three".to_owned()));
        let (wanted, printed) = ("one".to_owned(), String::new());
        let gone = text.wait_for("one", SOON);
        assert_eq!(gone, Err(NoText::TimedOut { wanted, printed }));
    }

    #[test]
    fn wait_for_sees_a_text_that_comes_in_pieces_from_another_thread() {
        let text = transcript();
        let printer = text.clone();
        let thread = std::thread::spawn(move || {
            for byte in b"debian login: " {
                printer.write(&[*byte]);
                std::thread::yield_now();
            }
        });
        let long = Duration::from_secs(60);
        assert_eq!(
            text.wait_for("login: ", long),
            Ok("debian login: ".to_owned())
        );
        thread.join().unwrap();
    }

    #[test]
    fn wait_for_ends_with_the_machine() {
        let text = transcript();
        text.write(b"panic");
        text.end();
        assert_eq!(
            text.wait_for("panic", Duration::MAX),
            Ok("panic".to_owned())
        );
        let waiting = text.wait_for("login", Duration::MAX);
        assert!(matches!(waiting, Err(NoText::Ended { .. })), "{waiting:?}");
    }

    #[test]
    fn output_that_nobody_waits_for_is_bounded() {
        let text = transcript();
        for _ in 0..40 {
            text.write(&[b'x'; 1 << 16]);
        }
        text.write(b"end");
        assert!(text.kept.lock().bytes.len() <= 2 * MOST_KEPT_BYTES + 3);
        assert!(text.wait_for("end", SOON).is_ok());
    }
}
