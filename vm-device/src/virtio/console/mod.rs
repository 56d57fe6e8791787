//! The virtio console (VIRTIO 1.3, 5.3) with one port, which is a console.
//!
//! A driver that knows of ports (`VIRTIO_CONSOLE_F_MULTIPORT`) says when it takes input, and is told the terminal's size
//! by messages ([`port`]); others take input as soon as they give buffers, and find the size in the configuration. What
//! is typed before waits with whoever has it: [`CharInput::offer`] takes nothing.

mod port;
pub mod spec;

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
use super::worker::{Doorbell, device_event};
use crate::chardev::{CharInput, CharSink};

pub use port::{PortState, TerminalSize};

const QUEUE_SIZE: u16 = 64;
/// Bytes that move from the guest at once.
const PIECE_BYTES: usize = 4096;
/// The device's own event: there is a message for the driver.
const MESSAGE: u64 = device_event(0);

/// The driver that is ready.
#[derive(Clone)]
struct Driver {
    features: u64,
    signal: Arc<GuestSignal>,
    doorbell: Arc<Doorbell>,
}

struct Shared {
    sink: Arc<dyn CharSink>,
    input: Inbound,
    ready: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    port: Mutex<PortState>,
    driver: Mutex<Option<Driver>>,
}

impl Shared {
    /// Tells whoever was left with input that the guest takes it.
    fn call_for_input(&self) {
        let ready = self.ready.lock().clone();
        if let Some(ready) = ready {
            ready();
        }
    }

    fn takes_input(&self) -> bool {
        let driver = self.driver.lock().clone();
        driver.is_some_and(|driver| self.port.lock().takes_input(driver.features))
    }
}

/// A console port. Its input side is a [`CharInput`].
pub struct VirtioConsole {
    shared: Arc<Shared>,
}

impl VirtioConsole {
    /// A console whose output goes to `sink`, and whose terminal has no known size.
    pub fn new(sink: Arc<dyn CharSink>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared {
                sink,
                input: Inbound::default(),
                ready: Mutex::new(None),
                port: Mutex::default(),
                driver: Mutex::new(None),
            }),
        })
    }

    /// Tells the guest the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        let changed = self
            .shared
            .port
            .lock()
            .resize(TerminalSize { columns, rows });
        let driver = self.shared.driver.lock().clone();
        if changed && let Some(driver) = driver {
            driver.signal.config_changed();
            driver.doorbell.ring(MESSAGE);
        }
    }
}

impl CharInput for VirtioConsole {
    fn offer(&self, bytes: &[u8]) -> usize {
        if !self.shared.takes_input() {
            return 0;
        }
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
        spec::F_SIZE | spec::F_MULTIPORT | spec::F_EMERG_WRITE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE; spec::QUEUES]
    }

    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let mut config = [0; spec::CONFIG_BYTES];
        let TerminalSize { columns, rows } = self.shared.port.lock().size;
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
        *self.shared.driver.lock() = Some(Driver {
            features: activation.features,
            signal: activation.signal,
            doorbell: activation.doorbell.clone(),
        });
        let mut queue = |at: usize| activation.queues[at].take();
        self.shared.input.open(queue(spec::RECEIVE));
        Box::new(Worker {
            shared: self.shared.clone(),
            transmit: queue(spec::TRANSMIT),
            control_receive: queue(spec::CONTROL_RECEIVE),
            control_transmit: queue(spec::CONTROL_TRANSMIT),
            chain: Chain::new(),
            piece: vec![0; PIECE_BYTES],
            doorbell: activation.doorbell,
        })
    }

    fn reset(&self) {
        self.shared.input.close();
        *self.shared.driver.lock() = None;
        self.shared.port.lock().reset();
    }

    fn save(&self) -> DeviceState {
        DeviceState::Console(self.shared.port.lock().clone())
    }

    fn restore(&self, state: &DeviceState) {
        if let DeviceState::Console(port) = state {
            self.shared.port.lock().clone_from(port);
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    transmit: Option<VirtQueue>,
    control_receive: Option<VirtQueue>,
    control_transmit: Option<VirtQueue>,
    chain: Chain,
    piece: Vec<u8>,
    doorbell: Arc<Doorbell>,
}

impl Worker {
    /// Hands the driver the messages that wait, as far as it has given buffers.
    fn send_messages(&mut self) -> Result<(), RingError> {
        let Some(queue) = &mut self.control_receive else {
            return Ok(());
        };
        queue.disable_notification()?;
        while self.shared.port.lock().has_message() && queue.pop_or_wait(&mut self.chain)? {
            let message = self.shared.port.lock().next_message();
            let message = message.unwrap_or_default();
            // What does not fit, or is not RAM, is lost to a driver that wants it so.
            let mut writer = self.chain.writer(queue.memory());
            let fits = writer.left().min(message.len() as u64) as usize;
            let wrote = writer.write(&message[..fits]).unwrap_or(0);
            queue.push_used(self.chain.head, wrote as u32)?;
            queue.signal()?;
        }
        Ok(())
    }

    /// Takes the driver's messages, as long as there is room for the answers.
    fn hear_messages(&mut self) -> Result<(), RingError> {
        let Some(queue) = &mut self.control_transmit else {
            return Ok(());
        };
        while self.shared.port.lock().has_room() && queue.pop_or_wait(&mut self.chain)? {
            let mut message = [0; spec::CONTROL_BYTES];
            let read = self.chain.reader(queue.memory()).read(&mut message);
            queue.push_used(self.chain.head, 0)?;
            queue.signal()?;
            let whole = read.is_ok_and(|bytes| bytes == message.len());
            if whole && self.shared.port.lock().hear(message) {
                self.shared.call_for_input();
            }
        }
        Ok(())
    }
}

impl QueueWorker for Worker {
    fn work(&mut self, events: u64) -> Result<(), RingError> {
        if events & (1 << spec::RECEIVE) != 0 && self.shared.input.take_room() {
            self.shared.call_for_input();
        }
        self.send_messages()?;
        self.hear_messages()?;
        self.send_messages()?;
        let Self {
            shared,
            transmit,
            chain,
            piece,
            doorbell,
            ..
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
        vec![
            self.shared.input.close(),
            self.transmit,
            self.control_receive,
            self.control_transmit,
        ]
    }
}

#[cfg(test)]
mod tests;
