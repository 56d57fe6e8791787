//! The virtio console (VIRTIO 1.3, 5.3): port 0, which is a console, and ports with names, which are streams of bytes
//! between programs in the guest and on the host.
//!
//! A driver that knows of ports (`VIRTIO_CONSOLE_F_MULTIPORT`) says when it takes input, and is told the ports' names and
//! the terminal's size by messages ([`ports`]); others find the console alone, take input as soon as they give buffers,
//! and find the size in the configuration. What is typed before waits with whoever has it: [`CharInput::offer`] takes
//! nothing. To the guest the host's end of a port is always open.

mod ports;
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
use crate::chardev::{CharInput, CharSink, NoSink};

use ports::Kind;
pub use ports::{PortsState, TerminalSize};

/// The console's port.
const CONSOLE: usize = 0;
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

struct Port {
    kind: Kind,
    sink: Arc<dyn CharSink>,
    input: Inbound,
    ready: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Port {
    fn new(kind: Kind, sink: Arc<dyn CharSink>) -> Self {
        Self {
            kind,
            sink,
            input: Inbound::default(),
            ready: Mutex::new(None),
        }
    }

    /// Tells whoever was left with input that the guest takes it.
    fn call_for_input(&self) {
        let ready = self.ready.lock().clone();
        if let Some(ready) = ready {
            ready();
        }
    }
}

struct Shared {
    /// By number, the console first.
    ports: Vec<Port>,
    control: Mutex<PortsState>,
    driver: Mutex<Option<Driver>>,
}

impl Shared {
    fn takes_input(&self, port: usize) -> bool {
        let driver = self.driver.lock().clone();
        driver.is_some_and(|driver| self.control.lock().takes_input(port, driver.features))
    }

    /// Takes a message of the driver's.
    fn hear(&self, message: [u8; spec::CONTROL_BYTES]) {
        let kinds = self.ports.iter().map(|port| &port.kind);
        let flows = self.control.lock().hear(message, kinds);
        if let Some(port) = flows {
            self.ports[port].call_for_input();
        }
    }

    fn offer(&self, number: usize, bytes: &[u8]) -> usize {
        if !self.takes_input(number) {
            return 0;
        }
        let mut taken = 0;
        while taken < bytes.len() {
            let here = self.ports[number].input.deliver(|queue, chain| {
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
}

/// A port that programs in the guest find by its name: udev of Linux makes `/dev/virtio-ports/NAME` of it.
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// Where what is written to it goes.
    pub sink: Arc<dyn CharSink>,
}

/// A console and named ports. Its own input side is the console's.
pub struct VirtioConsole {
    shared: Arc<Shared>,
    queue_sizes: Vec<u16>,
}

/// The input side of a named port.
struct PortInput {
    shared: Arc<Shared>,
    number: usize,
}

impl VirtioConsole {
    /// A console whose output goes to `sink`, and whose terminal has no known size.
    pub fn new(sink: Arc<dyn CharSink>) -> Arc<Self> {
        Self::with_ports(Some(sink), Vec::new())
    }

    /// The same with `named` ports, and perhaps without a console. There is room for [`spec::MOST_PORTS`] less one of
    /// them; those after are left out.
    pub fn with_ports(console: Option<Arc<dyn CharSink>>, named: Vec<NamedPort>) -> Arc<Self> {
        let first = match console {
            Some(sink) => Port::new(Kind::Console, sink),
            None => Port::new(Kind::Absent, Arc::new(NoSink)),
        };
        let named = named
            .into_iter()
            .map(|port| Port::new(Kind::Named(port.name), port.sink));
        let ports: Vec<_> = std::iter::once(first)
            .chain(named)
            .take(spec::MOST_PORTS)
            .collect();
        Arc::new(Self {
            queue_sizes: vec![QUEUE_SIZE; spec::queues(ports.len())],
            shared: Arc::new(Shared {
                ports,
                control: Mutex::default(),
                driver: Mutex::new(None),
            }),
        })
    }

    /// Whether there is a console, or named ports alone.
    pub fn has_console(&self) -> bool {
        self.shared.ports[CONSOLE].kind == Kind::Console
    }

    /// The input sides of the named ports, in order.
    pub fn port_inputs(&self) -> Vec<Arc<dyn CharInput>> {
        let input = |number| {
            let shared = self.shared.clone();
            Arc::new(PortInput { shared, number }) as Arc<dyn CharInput>
        };
        (1..self.shared.ports.len()).map(input).collect()
    }

    /// Tells the guest the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        let changed = self
            .shared
            .control
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
        self.shared.offer(CONSOLE, bytes)
    }

    fn on_ready(&self, ready: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.ports[CONSOLE].ready.lock() = Some(ready);
    }
}

impl CharInput for PortInput {
    fn offer(&self, bytes: &[u8]) -> usize {
        self.shared.offer(self.number, bytes)
    }

    fn on_ready(&self, ready: Arc<dyn Fn() + Send + Sync>) {
        *self.shared.ports[self.number].ready.lock() = Some(ready);
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
        &self.queue_sizes
    }

    fn read_config(&self, offset: u64, into: &mut [u8]) {
        let mut config = [0; spec::CONFIG_BYTES];
        let TerminalSize { columns, rows } = self.shared.control.lock().size;
        config[spec::CONFIG_SIZE..][..2].copy_from_slice(&columns.to_le_bytes());
        config[spec::CONFIG_SIZE + 2..][..2].copy_from_slice(&rows.to_le_bytes());
        config[spec::CONFIG_PORTS] = self.shared.ports.len() as u8;
        copy_config(&config, offset, into);
    }

    fn write_config(&self, offset: u64, from: &[u8]) {
        if offset == spec::CONFIG_EMERG_WRITE {
            self.shared.ports[CONSOLE].sink.write(&from[..1]);
        }
    }

    fn activate(&self, mut activation: Activation) -> Box<dyn QueueWorker> {
        *self.shared.driver.lock() = Some(Driver {
            features: activation.features,
            signal: activation.signal,
            doorbell: activation.doorbell.clone(),
        });
        let mut queue = |at: usize| activation.queues[at].take();
        let mut transmit = Vec::new();
        for (number, port) in self.shared.ports.iter().enumerate() {
            port.input.open(queue(spec::receive(number)));
            transmit.push(queue(spec::transmit(number)));
        }
        Box::new(Worker {
            shared: self.shared.clone(),
            transmit,
            control_receive: queue(spec::CONTROL_RECEIVE),
            control_transmit: queue(spec::CONTROL_TRANSMIT),
            chain: Chain::new(),
            piece: vec![0; PIECE_BYTES],
            doorbell: activation.doorbell,
        })
    }

    fn reset(&self) {
        for port in &self.shared.ports {
            port.input.close();
        }
        *self.shared.driver.lock() = None;
        self.shared.control.lock().reset();
    }

    fn save(&self) -> DeviceState {
        DeviceState::Console(self.shared.control.lock().clone())
    }

    fn restore(&self, state: &DeviceState) {
        if let DeviceState::Console(control) = state {
            self.shared.control.lock().clone_from(control);
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    /// By port.
    transmit: Vec<Option<VirtQueue>>,
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
        while self.shared.control.lock().has_message() && queue.pop_or_wait(&mut self.chain)? {
            let message = self.shared.control.lock().next_message();
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
        while self.shared.control.lock().has_room() && queue.pop_or_wait(&mut self.chain)? {
            let mut message = [0; spec::CONTROL_BYTES];
            let read = self.chain.reader(queue.memory()).read(&mut message);
            queue.push_used(self.chain.head, 0)?;
            queue.signal()?;
            if read.is_ok_and(|bytes| bytes == message.len()) {
                self.shared.hear(message);
            }
        }
        Ok(())
    }
}

impl QueueWorker for Worker {
    fn work(&mut self, events: u64) -> Result<(), RingError> {
        for (number, port) in self.shared.ports.iter().enumerate() {
            if events & (1 << spec::receive(number)) != 0 && port.input.take_room() {
                port.call_for_input();
            }
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
        for (port, transmit) in shared.ports.iter().zip(transmit) {
            let Some(transmit) = transmit else {
                continue;
            };
            transmit.drain(chain, |chain, memory| {
                let mut reader = chain.reader(memory);
                let mut moved = 0;
                // A buffer that is not RAM ends the output that names it.
                while doorbell.may_go_on(moved)
                    && let Ok(bytes @ 1..) = reader.read(piece)
                {
                    port.sink.write(&piece[..bytes]);
                    moved += bytes as u64;
                }
                Ok(0)
            })?;
        }
        Ok(())
    }

    fn into_queues(self: Box<Self>) -> Vec<Option<VirtQueue>> {
        let mut queues = Vec::new();
        let control = [self.control_receive, self.control_transmit];
        let mut ports = self.shared.ports.iter().zip(self.transmit);
        // The control queues stand behind the console's.
        let pair = |(port, transmit): (&Port, _)| [port.input.close(), transmit];
        queues.extend(ports.by_ref().take(1).flat_map(pair));
        queues.extend(control);
        queues.extend(ports.flat_map(pair));
        queues
    }
}

#[cfg(test)]
mod tests;
