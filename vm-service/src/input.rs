//! Characters typed at a serial port, kept until the guest has room for them. None is lost while the machine runs: who
//! types faster than the guest reads waits ([`SerialInput::send`]), or is told ([`SerialInput::try_send`]).

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vm_device::chardev::CharInput;

/// Characters that may wait for the guest.
const MOST_WAITING_BYTES: usize = 64 << 10;
/// How often somebody who waits for room asks whether there is still a reason to wait.
const ASK: Duration = Duration::from_millis(100);

struct Waiting {
    bytes: VecDeque<u8>,
    /// Nobody takes them any more.
    closed: bool,
}

struct Line {
    port: Arc<dyn CharInput>,
    waiting: Mutex<Waiting>,
    room: Condvar,
}

impl Line {
    /// Hands over as much as the port takes.
    fn push(&self) {
        let mut waiting = self.waiting.lock();
        loop {
            let taken = match waiting.bytes.as_slices().0 {
                [] => break,
                bytes => self.port.offer(bytes),
            };
            if taken == 0 {
                break;
            }
            waiting.bytes.drain(..taken);
        }
        drop(waiting);
        self.room.notify_all();
    }
}

/// The input of a serial port or console; clones lead to the same one.
#[derive(Clone)]
pub struct SerialInput(Arc<Line>);

impl SerialInput {
    pub(crate) fn new(port: Arc<dyn CharInput>) -> Self {
        let line = Arc::new(Line {
            port,
            waiting: Mutex::new(Waiting {
                bytes: VecDeque::new(),
                closed: false,
            }),
            room: Condvar::new(),
        });
        let weak: Weak<Line> = Arc::downgrade(&line);
        line.port.on_ready(Arc::new(move || {
            if let Some(line) = weak.upgrade() {
                line.push();
            }
        }));
        Self(line)
    }

    /// Types `bytes`; waits as long as the guest is far behind. Returns false when the machine has ended.
    pub fn send(&self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(MOST_WAITING_BYTES / 4) {
            let mut waiting = self.0.waiting.lock();
            while waiting.bytes.len() + piece.len() > MOST_WAITING_BYTES && !waiting.closed {
                self.0.room.wait(&mut waiting);
            }
            if waiting.closed {
                return false;
            }
            waiting.bytes.extend(piece);
            drop(waiting);
            self.0.push();
        }
        true
    }

    /// Types `bytes` unless the guest is far behind; then they are dropped and the answer is false.
    pub fn try_send(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.0.waiting.lock();
        if waiting.closed || waiting.bytes.len() + bytes.len() > MOST_WAITING_BYTES {
            return false;
        }
        waiting.bytes.extend(bytes);
        drop(waiting);
        self.0.push();
        true
    }

    /// Types `bytes` at once, however far the guest is behind: for whoever reads ahead, to see an escape key behind a
    /// long paste, and bounds that himself ([`SerialInput::waiting_bytes`]). Returns false when the machine has ended.
    pub fn type_ahead(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.0.waiting.lock();
        if waiting.closed {
            return false;
        }
        waiting.bytes.extend(bytes);
        drop(waiting);
        self.0.push();
        true
    }

    /// Bytes that wait for the guest.
    pub fn waiting_bytes(&self) -> usize {
        self.0.waiting.lock().bytes.len()
    }

    /// Waits until no more than `bytes` wait for the guest; false when the machine has ended.
    pub fn wait_until_below(&self, bytes: usize) -> bool {
        let mut waiting = self.0.waiting.lock();
        while waiting.bytes.len() > bytes && !waiting.closed {
            self.0.room.wait(&mut waiting);
        }
        !waiting.closed
    }

    /// Waits until the guest is no longer far behind, or `no_more` says that there is no reason to wait; false when the
    /// machine has ended.
    pub(crate) fn wait_for_room(&self, no_more: impl Fn() -> bool) -> bool {
        let mut waiting = self.0.waiting.lock();
        while waiting.bytes.len() >= MOST_WAITING_BYTES && !waiting.closed && !no_more() {
            self.0.room.wait_for(&mut waiting, ASK);
        }
        !waiting.closed
    }

    /// Lets go of everyone who waits to send.
    pub(crate) fn close(&self) {
        self.0.waiting.lock().closed = true;
        self.0.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Port {
        got: Mutex<Vec<u8>>,
        room: Mutex<usize>,
        ready: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    }

    impl Port {
        fn make_room(&self, bytes: usize) {
            *self.room.lock() += bytes;
            let ready = self.ready.lock().clone();
            ready.unwrap()();
        }
    }

    impl CharInput for Port {
        fn offer(&self, bytes: &[u8]) -> usize {
            let mut room = self.room.lock();
            let taken = bytes.len().min(*room);
            *room -= taken;
            self.got.lock().extend(&bytes[..taken]);
            taken
        }

        fn on_ready(&self, ready: Arc<dyn Fn() + Send + Sync>) {
            *self.ready.lock() = Some(ready);
        }
    }

    #[test]
    fn send_more_than_fits_arrives_in_order_as_room_appears() {
        let port = Arc::new(Port::default());
        let input = SerialInput::new(port.clone());
        assert!(input.send(b"hello "));
        assert!(input.try_send(b"world"));
        assert_eq!(*port.got.lock(), b"");
        port.make_room(4);
        assert_eq!(*port.got.lock(), b"hell");
        port.make_room(100);
        assert_eq!(*port.got.lock(), b"hello world");
        assert!(input.send(b"!"));
        assert_eq!(*port.got.lock(), b"hello world!");
    }

    #[test]
    fn try_send_to_a_deaf_guest_is_refused() {
        let input = SerialInput::new(Arc::new(Port::default()));
        assert!(input.try_send(&vec![0; MOST_WAITING_BYTES]));
        assert!(!input.try_send(b"x"));
    }

    #[test]
    fn type_ahead_of_a_deaf_guest_keeps_everything_in_order() {
        let port = Arc::new(Port::default());
        let input = SerialInput::new(port.clone());
        let paste: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
        for piece in paste.chunks(4096) {
            assert!(input.type_ahead(piece));
        }
        assert_eq!(input.waiting_bytes(), paste.len());
        port.make_room(100_000);
        assert!(input.wait_until_below(200_000));
        port.make_room(usize::MAX / 2);
        assert_eq!(*port.got.lock(), paste);
        input.close();
        assert!(!input.type_ahead(b"late") && !input.wait_until_below(0));
    }

    #[test]
    fn wait_for_room_ends_when_there_is_no_reason_to_wait() {
        let input = SerialInput::new(Arc::new(Port::default()));
        assert!(input.try_send(&vec![0; MOST_WAITING_BYTES]));
        assert!(input.wait_for_room(|| true));
        input.close();
        assert!(!input.wait_for_room(|| false));
    }

    #[test]
    fn send_blocked_sender_is_let_go_at_the_end() {
        let input = SerialInput::new(Arc::new(Port::default()));
        assert!(input.try_send(&vec![0; MOST_WAITING_BYTES]));
        let sender = input.clone();
        let thread = std::thread::spawn(move || sender.send(b"more"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        input.close();
        assert!(!thread.join().unwrap());
    }
}
