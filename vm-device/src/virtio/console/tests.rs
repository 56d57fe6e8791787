use std::sync::atomic::{AtomicU32, Ordering};

use vm_core::AccessWidth;

use super::*;
use crate::virtio::driver::*;
use crate::virtio::spec::{isr, status};

/// What a driver accepts that knows nothing of ports.
const WITHOUT_PORTS: u64 = !spec::F_MULTIPORT;

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
    rig.start(WITHOUT_PORTS);
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
    rig.start(WITHOUT_PORTS);
    assert_eq!(rig.registers.config(0, AccessWidth::Word), 0, "not known");
    console.resize(132, 43);
    assert_eq!(rig.registers.take_interrupt() & isr::CONFIG, isr::CONFIG);
    assert_eq!(rig.registers.config(0, AccessWidth::Word), 132 | 43 << 16);
    assert_eq!(rig.registers.config(0, AccessWidth::Half), 132);
}

/// A driver that knows of ports.
struct Ports {
    rig: Rig<Arc<crate::virtio::VirtioMmio>>,
    console: Arc<VirtioConsole>,
}

impl Ports {
    const MESSAGE_BYTES: u32 = 128;

    fn new(console: &Arc<VirtioConsole>) -> Self {
        let mut rig = Rig::mmio(console.clone());
        rig.start(u64::MAX);
        Self {
            rig,
            console: console.clone(),
        }
    }

    /// Sends a message about the console without waiting for anything.
    fn send(&mut self, event: u16, value: u16) {
        self.send_of(0, event, value);
    }

    fn send_of(&mut self, port: u32, event: u16, value: u16) {
        let at = BUFFERS + 0x1000;
        let mut message = port.to_le_bytes().to_vec();
        message.extend(event.to_le_bytes());
        message.extend(value.to_le_bytes());
        self.rig.put(at, &message);
        self.rig.rings[spec::CONTROL_TRANSMIT].add(&[readable(at, message.len() as u32)]);
        self.rig.registers.notify(spec::CONTROL_TRANSMIT as u16);
    }

    /// The next message, which is about the console: event, value, and what follows.
    fn hear(&mut self) -> (u16, u16, Vec<u8>) {
        let (port, event, value, more) = self.hear_of();
        assert_eq!(port, 0);
        (event, value, more)
    }

    fn hear_of(&mut self) -> (u32, u16, u16, Vec<u8>) {
        let at = BUFFERS + 0x2000;
        let ring = &mut self.rig.rings[spec::CONTROL_RECEIVE];
        ring.add(&[writable(at, Self::MESSAGE_BYTES)]);
        self.rig.registers.notify(spec::CONTROL_RECEIVE as u16);
        let (_, bytes) = self.rig.rings[spec::CONTROL_RECEIVE].wait_used();
        let message = self.rig.get(at, bytes as usize);
        let half = |at: usize| u16::from_le_bytes([message[at], message[at + 1]]);
        assert_eq!(half(2), 0);
        (half(0).into(), half(4), half(6), message[8..].to_vec())
    }

    /// The port is there and open.
    fn open(&mut self) {
        self.send(spec::event::DEVICE_READY, 1);
        assert_eq!(self.hear(), (spec::event::DEVICE_ADD, 0, vec![]));
        self.send(spec::event::PORT_READY, 1);
        assert_eq!(self.hear(), (spec::event::CONSOLE_PORT, 1, vec![]));
        assert_eq!(self.hear(), (spec::event::PORT_OPEN, 1, vec![]));
        self.send(spec::event::PORT_OPEN, 1);
        self.rig.rings[spec::CONTROL_TRANSMIT].wait_used();
    }
}

#[test]
fn input_waits_until_the_guest_has_opened_the_port() {
    let console = VirtioConsole::new(Arc::new(Screen::default()));
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    console.on_ready(Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let mut ports = Ports::new(&console);
    ports.rig.rings[spec::RECEIVE].add(&[writable(BUFFERS, 16)]);
    ports.rig.registers.notify(spec::RECEIVE as u16);
    assert_eq!(console.offer(b"early"), 0, "Linux would throw it away");
    ports.open();
    eventually("the guest asks for input", || {
        calls.load(Ordering::SeqCst) > 0 && console.offer(b"early") == 5
    });
    assert_eq!(ports.rig.get(BUFFERS, 5), b"early");
    ports.send(spec::event::PORT_OPEN, 0);
    ports.rig.rings[spec::RECEIVE].add(&[writable(BUFFERS, 16)]);
    ports.rig.registers.notify(spec::RECEIVE as u16);
    for _ in 0..3 {
        ports.rig.rings[spec::CONTROL_TRANSMIT].wait_used();
    }
    eventually("the port is closed", || console.offer(b"late") == 0);
}

#[test]
fn resize_is_a_message_to_a_driver_that_knows_of_ports() {
    let console = VirtioConsole::new(Arc::new(Screen::default()));
    let mut ports = Ports::new(&console);
    ports.open();
    for (columns, rows, size) in [(132, 43, [132, 0, 43, 0]), (300, 50, [44, 1, 50, 0])] {
        console.resize(columns, rows);
        assert_eq!(ports.hear(), (spec::event::RESIZE, 0, size.to_vec()));
    }
    // Only the last size is news to a driver that has not listened.
    console.resize(1, 2);
    console.resize(3, 4);
    assert_eq!(ports.hear(), (spec::event::RESIZE, 0, vec![3, 0, 4, 0]));
    ports.send(spec::event::PORT_READY, 1);
    assert_eq!(ports.hear().0, spec::event::CONSOLE_PORT);
}

#[test]
fn size_that_is_known_before_the_driver_is_told_behind_the_port() {
    let console = VirtioConsole::new(Arc::new(Screen::default()));
    console.resize(100, 40);
    let mut ports = Ports::new(&console);
    ports.open();
    assert_eq!(ports.hear(), (spec::event::RESIZE, 0, vec![100, 0, 40, 0]));
}

#[test]
fn messages_without_buffers_for_the_answers_wait() {
    let console = VirtioConsole::new(Arc::new(Screen::default()));
    let mut ports = Ports::new(&console);
    for _ in 0..40 {
        ports.send(spec::event::DEVICE_READY, 1);
    }
    let used = |ports: &Ports| ports.rig.rings[spec::CONTROL_TRANSMIT].used_index();
    eventually("some are taken", || used(&ports) == 16);
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(used(&ports), 16, "and no more");
    for _ in 0..40 {
        assert_eq!(ports.hear(), (spec::event::DEVICE_ADD, 0, vec![]));
    }
    eventually("all are taken", || used(&ports) == 40);
    assert_eq!(ports.rig.registers.status() & status::NEEDS_RESET, 0);
}

#[test]
fn messages_that_make_no_sense_change_nothing() {
    let console = VirtioConsole::new(Arc::new(Screen::default()));
    let mut ports = Ports::new(&console);
    for (event, value) in [(1, 1), (2, 1), (4, 0), (7, 7), (0xffff, 0), (0, 0)] {
        ports.send(event, value);
        ports.rig.rings[spec::CONTROL_TRANSMIT].wait_used();
    }
    for (bytes, at) in [(0, BUFFERS), (7, BUFFERS), (8, 0x10)] {
        let ring = &mut ports.rig.rings[spec::CONTROL_TRANSMIT];
        ring.add(&[readable(at, bytes)]);
        ports.rig.registers.notify(spec::CONTROL_TRANSMIT as u16);
        ports.rig.rings[spec::CONTROL_TRANSMIT].wait_used();
    }
    assert_eq!(ports.rig.registers.status() & status::NEEDS_RESET, 0);
    ports.open();
}

#[test]
fn restore_knows_that_the_port_is_open() {
    let console = VirtioConsole::new(Arc::new(Screen::default()));
    console.resize(90, 30);
    let mut ports = Ports::new(&console);
    ports.open();
    let state = ports.console.save();
    let other = VirtioConsole::new(Arc::new(Screen::default()));
    other.restore(&state);
    assert_eq!(other.save(), state);
    console.reset();
    assert_ne!(console.save(), state, "a reset closes the port");
    let size = TerminalSize {
        columns: 90,
        rows: 30,
    };
    assert_eq!(
        console.shared.control.lock().size,
        size,
        "and keeps the size"
    );
}

/// The port of an agent and one more, with a console or without.
fn named_ports(console: bool) -> (Ports, [Arc<Screen>; 3]) {
    let screens = [(); 3].map(|()| Arc::new(Screen::default()));
    let [first, agent, other] = screens.clone();
    let named = |name: &str, sink: Arc<Screen>| NamedPort {
        name: name.to_owned(),
        sink,
    };
    let ports = vec![named("org.example.agent.0", agent), named("other", other)];
    let first = console.then_some(first as Arc<dyn CharSink>);
    (
        Ports::new(&VirtioConsole::with_ports(first, ports)),
        screens,
    )
}

#[test]
fn named_ports_are_told_behind_the_console_and_have_streams_of_their_own() {
    let (mut ports, screens) = named_ports(true);
    assert_eq!(ports.rig.registers.config(4, AccessWidth::Word), 3);
    ports.send(spec::event::DEVICE_READY, 1);
    for port in 0..3 {
        assert_eq!(ports.hear_of(), (port, spec::event::DEVICE_ADD, 0, vec![]));
    }
    for (port, name) in [(1, "org.example.agent.0"), (2, "other")] {
        ports.send_of(port, spec::event::PORT_READY, 1);
        let named = (port, spec::event::PORT_NAME, 0, name.into());
        assert_eq!(ports.hear_of(), named);
        assert_eq!(ports.hear_of(), (port, spec::event::PORT_OPEN, 1, vec![]));
    }
    let inputs = ports.console.port_inputs();
    assert_eq!(inputs.len(), 2);
    ports.rig.rings[spec::receive(2)].add(&[writable(BUFFERS, 16)]);
    ports.rig.registers.notify(spec::receive(2) as u16);
    assert_eq!(inputs[1].offer(b"early"), 0, "nobody has opened it");
    ports.send_of(2, spec::event::PORT_OPEN, 1);
    eventually("it is open", || inputs[1].offer(b"request") == 7);
    assert_eq!(ports.rig.get(BUFFERS, 7), b"request");
    assert_eq!(inputs[0].offer(b"not there"), 0, "the other one is closed");
    ports.rig.put(BUFFERS, b"answer");
    let queue = spec::transmit(2);
    assert_eq!(
        ports.rig.roundtrip(queue as u16, &[readable(BUFFERS, 6)]),
        0
    );
    let printed = screens.map(|screen| screen.0.lock().clone());
    assert_eq!(printed, [&b""[..], b"", b"answer"]);
}

#[test]
fn named_ports_without_a_console_begin_at_one() {
    let (mut ports, screens) = named_ports(false);
    ports.send(spec::event::DEVICE_READY, 1);
    for port in 1..3 {
        assert_eq!(ports.hear_of(), (port, spec::event::DEVICE_ADD, 0, vec![]));
    }
    // Of ports that are not there nothing is said.
    for port in [0, 3, u32::MAX] {
        ports.send_of(port, spec::event::PORT_READY, 1);
        ports.send_of(port, spec::event::PORT_OPEN, 1);
    }
    ports.send_of(1, spec::event::PORT_READY, 1);
    assert_eq!(ports.hear_of().1, spec::event::PORT_NAME);
    ports.rig.put(BUFFERS, b"nobody's");
    assert_eq!(ports.rig.roundtrip(1, &[readable(BUFFERS, 8)]), 0);
    assert!(screens.iter().all(|screen| screen.0.lock().is_empty()));
}

#[test]
fn ports_beyond_the_most_are_left_out() {
    let named = |number| NamedPort {
        name: format!("port{number}"),
        sink: Arc::new(NoSink),
    };
    let console = VirtioConsole::with_ports(None, (0..40).map(named).collect());
    assert_eq!(console.port_inputs().len(), spec::MOST_PORTS - 1);
    assert_eq!(console.queue_sizes().len(), spec::queues(spec::MOST_PORTS));
    assert!(console.queue_sizes().len() < crate::virtio::QUEUE_EVENTS as usize);
}
