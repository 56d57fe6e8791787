//! The virtio console (VIRTIO 1.3, 5.3) with one port.

use std::sync::Arc;

use parking_lot::Mutex;

use super::block::copy_config;
use super::chain::Chain;
use super::device::{Activation, QueueWorker, VirtioDevice};
use super::inbound::Inbound;
use super::queue::{RingError, VirtQueue};
use super::save::DeviceState;
use super::signal::GuestSignal;
use super::spec::DeviceType;
use super::worker::Doorbell;
use crate::chardev::{CharInput, CharSink};

/// Numbers of the console (VIRTIO 1.3, 5.3).
pub mod spec {
    /// The size of the terminal is known (5.3.3).
    pub const F_SIZE: u64 = 1 << 0;
    /// The driver may write a character through the configuration (5.3.3).
    pub const F_EMERG_WRITE: u64 = 1 << 2;
    /// Queue towards the guest (5.3.2).
    pub const RECEIVE: usize = 0;
    /// Queue from the guest (5.3.2).
    pub const TRANSMIT: usize = 1;
    /// Offset of the columns and rows, 16 bits each (5.3.4).
    pub const CONFIG_SIZE: usize = 0;
    /// Offset of the number of ports, 32 bits (5.3.4).
    pub const CONFIG_PORTS: usize = 4;
    /// Offset of the emergency character (5.3.4).
    pub const CONFIG_EMERG_WRITE: u64 = 8;
    /// Bytes of the configuration.
    pub const CONFIG_BYTES: usize = 12;
}

const QUEUE_SIZE: u16 = 64;
/// Bytes that move from the guest at once.
const PIECE_BYTES: usize = 4096;

struct Shared {
    sink: Arc<dyn CharSink>,
    input: Inbound,
    ready: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    size: Mutex<(u16, u16)>,
    signal: Mutex<Option<Arc<GuestSignal>>>,
}

/// A console port. Its input side is a [`CharInput`].
pub struct VirtioConsole {
    shared: Arc<Shared>,
}

impl VirtioConsole {
    /// A console whose output goes to `sink`.
    pub fn new(sink: Arc<dyn CharSink>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared {
                sink,
                input: Inbound::default(),
                ready: Mutex::new(None),
                size: Mutex::new((80, 25)),
                signal: Mutex::new(None),
            }),
        })
    }

    /// Tells the guest the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        let before = std::mem::replace(&mut *self.shared.size.lock(), (columns, rows));
        let signal = self.shared.signal.lock().clone();
        if before != (columns, rows)
            && let Some(signal) = signal
        {
            signal.config_changed();
        }
    }
}

impl CharInput for VirtioConsole {
    fn offer(&self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let here = self.shared.input.deliver(|queue, chain| {
                if !queue.pop_or_wait(chain)? {
                    return Ok(None);
                }
                // A buffer that is not RAM swallows what was meant for it.
                let room = chain.writer(queue.memory()).left();
                let here = room.min((bytes.len() - taken) as u64) as usize;
                let wrote = chain
                    .writer(queue.memory())
                    .write(&bytes[taken..taken + here]);
                queue.push_used(chain.head, wrote.unwrap_or(0) as u32)?;
                queue.signal()?;
                Ok(Some(here))
            });
            match here {
                Some(here) => taken += here,
                None => break,
            }
        }
        taken
    }

    fn on_ready(&self, ready: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.ready.lock() = Some(ready);
    }
}

impl VirtioDevice for VirtioConsole {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn features(&self) -> u64 {
        spec::F_SIZE | spec::F_EMERG_WRITE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let mut config = [0; spec::CONFIG_BYTES];
        let (columns, rows) = *self.shared.size.lock();
        config[spec::CONFIG_SIZE..][..2].copy_from_slice(&columns.to_le_bytes());
        config[spec::CONFIG_SIZE + 2..][..2].copy_from_slice(&rows.to_le_bytes());
        config[spec::CONFIG_PORTS] = 1;
        copy_config(&config, offset, into);
    }

    fn write_config(&self, offset: u64, from: &[u8]) {
        if offset == spec::CONFIG_EMERG_WRITE {
            self.shared.sink.write(&from[..1]);
        }
    }

    fn activate(&self, mut activation: Activation) -> Box<dyn QueueWorker> {
        *self.shared.signal.lock() = Some(activation.signal);
        self.shared
            .input
            .open(activation.queues[spec::RECEIVE].take());
        Box::new(Worker {
            shared: self.shared.clone(),
            transmit: activation.queues[spec::TRANSMIT].take(),
            chain: Chain::new(),
            piece: vec![0; PIECE_BYTES],
            doorbell: activation.doorbell,
        })
    }

    fn reset(&self) {
        self.shared.input.close();
        *self.shared.signal.lock() = None;
    }

    fn save(&self) -> DeviceState {
        let (columns, rows) = *self.shared.size.lock();
        DeviceState::Console { columns, rows }
    }

    fn restore(&self, state: &DeviceState) {
        if let DeviceState::Console { columns, rows } = *state {
            *self.shared.size.lock() = (columns, rows);
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    transmit: Option<VirtQueue>,
    chain: Chain,
    piece: Vec<u8>,
    doorbell: Arc<Doorbell>,
}

impl QueueWorker for Worker {
    fn work(&mut self, events: u64) -> Result<(), RingError> {
        if events & (1 << spec::RECEIVE) != 0 && self.shared.input.take_room() {
            let ready = self.shared.ready.lock().clone();
            if let Some(ready) = ready {
                ready();
            }
        }
        let Self {
            shared,
            transmit,
            chain,
            piece,
            doorbell,
        } = self;
        if let Some(transmit) = transmit {
            transmit.drain(chain, |chain, memory| {
                let mut reader = chain.reader(memory);
                let mut moved = 0;
                // A buffer that is not RAM ends the output that names it.
                while doorbell.may_go_on(moved)
                    && let Ok(bytes @ 1..) = reader.read(piece)
                {
                    shared.sink.write(&piece[..bytes]);
                    moved += bytes as u64;
                }
                Ok(0)
            })?;
        }
        Ok(())
    }

    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>> {
        vec![self.shared.input.close(), self.transmit]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use vm_core::AccessWidth;

    use super::*;
    use crate::virtio::driver::*;
    use crate::virtio::spec::{isr, status};

    #[derive(Default)]
    struct Screen(Mutex<Vec<u8>>);
    impl CharSink for Screen {
        fn write(&self, bytes: &[u8]) {
            self.0.lock().extend_from_slice(bytes);
        }
    }

    #[test]
    fn output_reaches_the_sink_in_order() {
        let screen = Arc::new(Screen::default());
        let mut rig = Rig::mmio(VirtioConsole::new(screen.clone()));
        rig.start(u64::MAX);
        rig.put(BUFFERS, b"hello, ");
        rig.put(BUFFERS + 0x100, b"world");
        let pieces = [readable(BUFFERS, 7), readable(BUFFERS + 0x100, 5)];
        assert_eq!(rig.roundtrip(1, &pieces), 0);
        rig.registers
            .set_config(8, AccessWidth::Word, u64::from(b'!'));
        assert_eq!(*screen.0.lock(), b"hello, world!");
        assert_eq!(rig.roundtrip(1, &[readable(0x10, 5)]), 0);
        assert_eq!(rig.registers.status() & status::NEEDS_RESET, 0);
    }

    #[test]
    fn output_of_the_same_memory_over_and_over_ends_with_a_reset() {
        #[derive(Default)]
        struct Slow(AtomicU32);
        impl CharSink for Slow {
            fn write(&self, _: &[u8]) {
                self.0.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        }
        let slow = Arc::new(Slow::default());
        let mut rig = Rig::mmio(VirtioConsole::new(slow.clone()));
        rig.start(u64::MAX);
        rig.rings[1].add(&[readable(RAM_BASE, RAM_BYTES as u32); 60]);
        rig.registers.notify(1);
        eventually("it begins", || slow.0.load(Ordering::SeqCst) > 0);
        let registers = rig.registers.clone();
        let reset = std::thread::spawn(move || registers.set_status(0));
        eventually("the reset is done", || reset.is_finished());
    }

    #[test]
    fn input_waits_for_buffers_and_is_told_when_they_come() {
        let console = VirtioConsole::new(Arc::new(Screen::default()));
        let calls = Arc::new(AtomicU32::new(0));
        let count = calls.clone();
        console.on_ready(Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        assert_eq!(console.offer(b"early"), 0);
        let mut rig = Rig::mmio(console.clone());
        rig.start(u64::MAX);
        eventually("the driver is announced", || {
            calls.load(Ordering::SeqCst) == 1
        });
        assert_eq!(console.offer(b"x"), 0);
        rig.rings[0].add(&[writable(BUFFERS, 3)]);
        rig.registers.notify(0);
        eventually("room is announced", || calls.load(Ordering::SeqCst) == 2);
        assert_eq!(console.offer(b"typed"), 3);
        assert_eq!(rig.rings[0].wait_used().1, 3);
        assert_eq!(rig.get(BUFFERS, 3), b"typ");
        rig.rings[0].add(&[writable(BUFFERS, 3)]);
        assert_eq!(console.offer(b"e"), 1);
        assert_eq!(rig.rings[0].wait_used().1, 1);
    }

    #[test]
    fn resize_changes_the_configuration_and_interrupts() {
        let console = VirtioConsole::new(Arc::new(Screen::default()));
        let mut rig = Rig::mmio(console.clone());
        rig.start(u64::MAX);
        console.resize(132, 43);
        assert_eq!(rig.registers.take_interrupt() & isr::CONFIG, isr::CONFIG);
        assert_eq!(rig.registers.config(0, AccessWidth::Word), 132 | 43 << 16);
        assert_eq!(rig.registers.config(0, AccessWidth::Half), 132);
    }
}
