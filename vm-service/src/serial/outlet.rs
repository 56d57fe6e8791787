//! Output that a thread of its own writes, so that whoever does not read stops nobody.
//!
//! The rule of every outlet: what the guest prints waits in a buffer of [`MOST_WAITING_BYTES`]. When that is full, the
//! guest waits as long as the reader takes something at least every [`PATIENCE`]; a reader that does not is not waited
//! for, and the oldest waiting output makes room for the newest. When the machine ends, what waits is written by the
//! same patience, and a machine that is stopped from outside has less of it ([`STOP_PATIENCE`], [`MOST_STOP_TIME`]).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vm_device::chardev::CharSink;
use vm_osal::NoThread;

/// How long the writer waits for more after the first byte.
const GATHER: Duration = Duration::from_millis(1);
/// Bytes that may wait to be written.
pub(super) const MOST_WAITING_BYTES: usize = 1 << 20;
/// Bytes that are written at once. A reader that takes fewer in [`PATIENCE`] counts as one that takes nothing.
const PIECE_BYTES: usize = 4096;
/// How long a reader may take nothing before nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same when the machine is being stopped.
const STOP_PATIENCE: Duration = Duration::from_millis(100);
/// How long a machine that is being stopped waits for a reader that does read.
const MOST_STOP_TIME: Duration = Duration::from_secs(2);
/// How long until a target that takes nothing now (a disk that is full) is tried again.
const RETRY: Duration = Duration::from_millis(200);

struct Waiting {
    bytes: VecDeque<u8>,
    /// Bytes that the writer has taken and not yet written.
    writing: usize,
    /// When the reader last took something, or since when there is something to take.
    progress: Instant,
    /// Nobody is there to read.
    deserted: bool,
    /// Since when the machine is being stopped.
    hurried: Option<Instant>,
    /// No more will come.
    finished: bool,
    /// What waits is not going to be written.
    given_up: bool,
    /// The writer's thread has ended.
    ended: bool,
    /// Bytes that were thrown away.
    dropped: u64,
    /// Why the last write failed, while it is being tried again or when nothing can be written any more.
    failed: Option<io::Error>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.writing == 0
    }

    /// Until when the guest waits for the reader; `None` when it does not.
    fn guest_waits_until(&self) -> Option<Instant> {
        let until = self.progress + PATIENCE;
        let waits = !self.deserted && self.hurried.is_none() && !self.finished;
        (waits && Instant::now() < until).then_some(until)
    }

    /// Until when the end of the machine waits for the reader.
    fn end_waits_until(&self) -> Instant {
        match self.hurried {
            _ if self.deserted => self.progress,
            None => self.progress + PATIENCE,
            Some(since) => (self.progress.max(since) + STOP_PATIENCE).min(since + MOST_STOP_TIME),
        }
    }

    /// Puts bytes behind the others; the oldest make room.
    fn push(&mut self, bytes: &[u8]) {
        let newest = &bytes[bytes.len().saturating_sub(MOST_WAITING_BYTES)..];
        let excess = (self.bytes.len() + newest.len()).saturating_sub(MOST_WAITING_BYTES);
        self.bytes.drain(..excess);
        self.bytes.extend(newest);
        self.dropped += (excess + bytes.len() - newest.len()) as u64;
    }
}

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Shared {
    /// What to write next; `None` when there is nothing more to do.
    fn next_piece(&self) -> Option<Vec<u8>> {
        let mut waiting = self.waiting.lock();
        while waiting.bytes.is_empty() && !waiting.finished {
            self.changed.wait(&mut waiting);
        }
        if !waiting.finished && waiting.bytes.len() < PIECE_BYTES {
            drop(waiting);
            std::thread::sleep(GATHER);
            waiting = self.waiting.lock();
        }
        if waiting.bytes.is_empty() || waiting.given_up {
            return None;
        }
        let count = waiting.bytes.len().min(PIECE_BYTES);
        waiting.writing = count;
        Some(waiting.bytes.drain(..count).collect())
    }

    /// The reader has taken bytes of the piece.
    fn took(&self, count: usize) {
        let mut waiting = self.waiting.lock();
        // The end may have given the bytes up meanwhile.
        waiting.writing = waiting.writing.saturating_sub(count);
        waiting.progress = Instant::now();
        waiting.failed = None;
        drop(waiting);
        self.changed.notify_all();
    }

    /// The target takes nothing now. False when it need not be tried again.
    fn retry(&self, error: io::Error) -> bool {
        let mut waiting = self.waiting.lock();
        if error.kind() != ErrorKind::WouldBlock {
            waiting.failed = Some(error);
        }
        if !waiting.given_up {
            self.changed.wait_for(&mut waiting, RETRY);
        }
        !waiting.given_up
    }

    /// Nothing can be written any more.
    fn fail(&self, error: io::Error) {
        let mut waiting = self.waiting.lock();
        waiting.failed = Some(error);
        waiting.finished = true;
        waiting.given_up = true;
    }
}

/// What an outlet tells while it goes on: the host's disk is full, say. Called on the outlet's thread.
type Trouble = Box<dyn Fn(&io::Error) + Send>;

/// A sink that buffers and writes from a thread of its own, by the rule in the [module](self).
pub struct Outlet {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Ends a write that is under way.
    release: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Outlet {
    /// Writes to `target`, which may block. A write that nobody ends keeps its thread, and nothing else.
    ///
    /// # Errors
    /// When the host refuses the thread.
    pub fn new(target: impl Write + Send + 'static) -> Result<Self, NoThread> {
        Self::with_trouble(target, Box::new(|_| ()))
    }

    /// The same; `trouble` is told when the target has no room and will be tried again.
    pub(super) fn with_trouble(
        target: impl Write + Send + 'static,
        trouble: Trouble,
    ) -> Result<Self, NoThread> {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                bytes: VecDeque::new(),
                writing: 0,
                progress: Instant::now(),
                deserted: false,
                hurried: None,
                finished: false,
                given_up: false,
                ended: false,
                dropped: 0,
                failed: None,
            }),
            changed: Condvar::new(),
        });
        let for_thread = shared.clone();
        let work = move || {
            drain(&for_thread, target, &trouble);
            for_thread.waiting.lock().ended = true;
            for_thread.changed.notify_all();
        };
        let writer = vm_osal::spawn("serial-out", work)?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
            release: None,
        })
    }

    /// Names what ends a write that is under way, so that the thread ends with the outlet.
    pub(super) fn released_by(mut self, release: impl Fn() + Send + Sync + 'static) -> Self {
        self.release = Some(Box::new(release));
        self
    }

    /// Says whether somebody is there to read. Nobody waits for a reader that is not there.
    pub(super) fn set_deserted(&self, deserted: bool) {
        let mut waiting = self.shared.waiting.lock();
        waiting.deserted = deserted;
        waiting.progress = Instant::now();
        drop(waiting);
        self.shared.changed.notify_all();
    }

    /// Writes what is left, as long as the reader takes it, and ends the thread; later output is dropped. May be called
    /// again.
    pub fn finish(&self) {
        let mut waiting = self.shared.waiting.lock();
        waiting.finished = true;
        // The reader gets its time, even if it has read nothing for long.
        waiting.progress = Instant::now();
        self.shared.changed.notify_all();
        while !waiting.ended && !waiting.given_up {
            let until = waiting.end_waits_until();
            if self
                .shared
                .changed
                .wait_until(&mut waiting, until)
                .timed_out()
                && Instant::now() >= waiting.end_waits_until()
            {
                waiting.given_up = true;
            }
        }
        let lost = waiting.bytes.len() + waiting.writing;
        waiting.dropped += lost as u64;
        waiting.bytes.clear();
        waiting.writing = 0;
        let ended = waiting.ended;
        drop(waiting);
        self.shared.changed.notify_all();
        if let Some(release) = &self.release {
            release();
        }
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && (ended || self.release.is_some())
        {
            let joined = writer.join();
            debug_assert!(joined.is_ok(), "invariant: the writer does not panic");
        }
    }

    /// Why output could not be written, if so.
    pub fn failure(&self) -> Option<String> {
        let waiting = self.shared.waiting.lock();
        waiting.failed.as_ref().map(ToString::to_string)
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.shared.waiting.lock().bytes.len()
    }

    /// Bytes that were thrown away because nobody read them.
    pub fn dropped(&self) -> u64 {
        self.shared.waiting.lock().dropped
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
        let first = waiting.is_empty();
        if first {
            waiting.progress = Instant::now();
        }
        while waiting.bytes.len() + bytes.len() > MOST_WAITING_BYTES
            && let Some(until) = waiting.guest_waits_until()
        {
            self.shared.changed.wait_until(&mut waiting, until);
        }
        if waiting.finished {
            waiting.dropped += bytes.len() as u64;
            return;
        }
        waiting.push(bytes);
        drop(waiting);
        if first {
            self.shared.changed.notify_all();
        }
    }

    fn hurry(&self) {
        self.shared
            .waiting
            .lock()
            .hurried
            .get_or_insert_with(Instant::now);
        self.shared.changed.notify_all();
    }
}

fn drain(shared: &Shared, mut target: impl Write, trouble: &Trouble) {
    let mut in_trouble = false;
    while let Some(piece) = shared.next_piece() {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let written = target
                .write(rest)
                .and_then(|count| target.flush().map(|()| count));
            let error = match written {
                Ok(count @ 1..) => {
                    rest = &rest[count..];
                    in_trouble = false;
                    shared.took(count);
                    continue;
                }
                Ok(0) => ErrorKind::WriteZero.into(),
                Err(error) => error,
            };
            let goes_on = match error.kind() {
                ErrorKind::Interrupted => true,
                ErrorKind::WouldBlock => shared.retry(error),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    if !std::mem::replace(&mut in_trouble, true) {
                        trouble(&error);
                    }
                    shared.retry(error)
                }
                _ => {
                    shared.fail(error);
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    }
}
