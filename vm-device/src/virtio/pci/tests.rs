use std::io;

use proptest::prelude::*;
use vm_core::NoIrq;

use super::*;
use crate::BusDevice;
use crate::block::BlockBackend;
use crate::chardev::{CharInput, NoSink};
use crate::host_room::HostRoom;
use crate::pci::{Mailbox, PciRoot, Space};
use crate::virtio::block::VirtioBlock;
use crate::virtio::console::VirtioConsole;
use crate::virtio::driver::*;
use crate::virtio::spec::{isr, status};

const WORD: AccessWidth = AccessWidth::Word;
const BYTE: AccessWidth = AccessWidth::Byte;
const HALF: AccessWidth = AccessWidth::Half;
const WINDOW: u64 = 0x4_0000_0000;
const SLOT: u64 = 3;

/// Sector n is full of n.
struct Pattern;
impl BlockBackend for Pattern {
    fn len(&self) -> u64 {
        64 * 512
    }
    fn read_only(&self) -> bool {
        true
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        into.iter_mut()
            .zip(offset..)
            .for_each(|(byte, at)| *byte = (at / 512) as u8);
        Ok(())
    }
    fn write_at(&self, _offset: u64, _from: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A function as a driver has found it by walking the bus.
struct Found {
    function: Arc<VirtioPci>,
    ecam: Arc<dyn BusDevice>,
    window: Arc<dyn BusDevice>,
    /// Offsets in the window of the structures, by type.
    structures: [u64; 6],
    notify_multiplier: u64,
    access: u16,
    /// Where the capability for messages lies; zero without it.
    messages: u16,
}

impl Found {
    fn config_read(&self, register: u16, width: AccessWidth) -> u64 {
        self.ecam.read(SLOT << 15 | u64::from(register), width)
    }
    fn config_write(&self, register: u16, width: AccessWidth, value: u64) {
        self.ecam
            .write(SLOT << 15 | u64::from(register), width, value);
    }
    fn common_read(&self, offset: u64, width: AccessWidth) -> u64 {
        self.window.read(self.structures[1] + offset, width)
    }
    fn common_write(&self, offset: u64, width: AccessWidth, value: u64) {
        self.window.write(self.structures[1] + offset, width, value);
    }

    /// Finds the function, sizes and places its BAR, walks its capabilities, enables it.
    fn probe(
        function: Arc<VirtioPci>,
        ecam: Arc<dyn BusDevice>,
        window: Arc<dyn BusDevice>,
    ) -> Self {
        let mut found = Self {
            function,
            ecam,
            window,
            structures: [0; 6],
            notify_multiplier: 0,
            access: 0,
            messages: 0,
        };
        let id = 0x1040 + found.function.control.device().device_type() as u64;
        assert_eq!(found.config_read(0, WORD), id << 16 | 0x1af4);
        assert_eq!(found.config_read(0x3d, BYTE), 1);
        for at in [0x20, 0x24] {
            found.config_write(at, WORD, 0xffff_ffff);
        }
        assert_eq!(found.config_read(0x20, WORD), 0xffff_c00c);
        assert_eq!(found.config_read(0x24, WORD), 0xffff_ffff);
        found.config_write(0x20, WORD, 0x10_0000);
        found.config_write(0x24, WORD, WINDOW >> 32);
        found.config_write(4, HALF, u64::from(command::MEMORY | command::BUS_MASTER));
        assert_ne!(found.config_read(6, HALF) & 0x10, 0);
        let mut at = found.config_read(0x34, BYTE) as u16;
        while at != 0 {
            let kind = found.config_read(at + 3, BYTE) as usize;
            if found.config_read(at, BYTE) == 0x11 {
                found.messages = at;
                at = found.config_read(at + 1, BYTE) as u16;
                continue;
            }
            assert_eq!(found.config_read(at, BYTE), 9);
            if kind == 5 {
                found.access = at;
            } else {
                assert_eq!(found.config_read(at + 4, BYTE), 4);
                found.structures[kind] = 0x10_0000 + found.config_read(at + 8, WORD);
            }
            if kind == 2 {
                found.notify_multiplier = found.config_read(at + 16, WORD);
            }
            at = found.config_read(at + 1, BYTE) as u16;
        }
        found
    }
}

impl Registers for Found {
    fn status(&self) -> u8 {
        self.common_read(0x14, BYTE) as u8
    }
    fn set_status(&self, value: u8) {
        self.common_write(0x14, BYTE, value.into());
    }
    fn device_features(&self) -> u64 {
        [0, 1].iter().fold(0, |features, &sel| {
            self.common_write(0, WORD, sel);
            features | self.common_read(4, WORD) << (32 * sel)
        })
    }
    fn set_driver_features(&self, features: u64) {
        for sel in [0, 1] {
            self.common_write(8, WORD, sel);
            self.common_write(0xc, WORD, features >> (32 * sel) & 0xffff_ffff);
        }
    }
    fn queue_max(&self, queue: u16) -> u16 {
        self.common_write(0x16, HALF, queue.into());
        self.common_read(0x18, HALF) as u16
    }
    fn enable_queue(&self, queue: u16, size: u16, areas: [u64; 3]) {
        self.common_write(0x16, HALF, queue.into());
        self.common_write(0x18, HALF, size.into());
        for (at, area) in [0x20, 0x28, 0x30].into_iter().zip(areas) {
            self.common_write(at, WORD, area & 0xffff_ffff);
            self.common_write(at + 4, WORD, area >> 32);
            assert_eq!(self.common_read(at + 4, WORD), area >> 32);
        }
        assert_eq!(self.common_read(0x1a, HALF), 0xffff);
        self.common_write(0x1c, HALF, 1);
        assert_eq!(self.common_read(0x1c, HALF), 1);
    }
    fn notify(&self, queue: u16) {
        self.common_write(0x16, HALF, queue.into());
        let offset = self.common_read(0x1e, HALF) * self.notify_multiplier;
        self.window
            .write(self.structures[2] + offset, HALF, queue.into());
    }
    fn take_interrupt(&self) -> u8 {
        self.window.read(self.structures[3], BYTE) as u8
    }
    fn config(&self, offset: u64, width: AccessWidth) -> u64 {
        self.window.read(self.structures[4] + offset, width)
    }
    fn set_config(&self, offset: u64, width: AccessWidth, value: u64) {
        self.window.write(self.structures[4] + offset, width, value);
    }
}

fn rig() -> Rig<Found> {
    rig_of(VirtioBlock::new(
        Arc::new(Pattern),
        "pci-disk",
        HostRoom::unwatched(),
    ))
}

fn rig_of(device: Arc<dyn VirtioDevice>) -> Rig<Found> {
    rig_with(device, None)
}

fn rig_with(device: Arc<dyn VirtioDevice>, messages: Option<Arc<dyn MsiTarget>>) -> Rig<Found> {
    let memory = guest_ram();
    let irq = Arc::new(Wire::default());
    let lines = std::array::from_fn(|line| match line {
        3 => irq.clone() as Arc<dyn IrqLine>,
        _ => Arc::new(NoIrq),
    });
    let root = PciRoot::new(lines);
    let intx = root.intx(SLOT as u8);
    let function = VirtioPci::with_messages("pci-device", device, memory.clone(), intx, messages);
    root.insert(SLOT as u8, function.clone()).unwrap();
    let window = root.window(Space::Memory, WINDOW);
    let registers = Found::probe(function, root.ecam(), window);
    Rig {
        memory,
        irq,
        registers,
        rings: Vec::new(),
        features: 0,
        refused: 0,
    }
}

const STATUS: u64 = BUFFERS + 0x8000;

fn read_sector(rig: &mut Rig<Found>, sector: u8) -> (u8, u8) {
    rig.put(
        BUFFERS,
        &[0, 0, 0, 0, 0, 0, 0, 0, sector, 0, 0, 0, 0, 0, 0, 0],
    );
    let data = BUFFERS + 0x1000;
    let pieces = [
        readable(BUFFERS, 16),
        writable(data, 512),
        writable(STATUS, 1),
    ];
    rig.roundtrip(0, &pieces);
    (rig.get(STATUS, 1)[0], rig.get(data, 1)[0])
}

#[test]
fn disk_over_pci_reads_and_interrupts_by_intx() {
    let mut rig = rig();
    rig.start(u64::MAX);
    assert_eq!(rig.registers.config(0, AccessWidth::Double), 64);
    assert_eq!(read_sector(&mut rig, 7), (0, 7));
    eventually("an interrupt", || rig.irq.high());
    assert_ne!(rig.registers.config_read(6, HALF) & 8, 0);
    // The disable bit lowers the line and leaves the status.
    let enabled = u64::from(command::MEMORY | command::BUS_MASTER);
    rig.registers
        .config_write(4, HALF, enabled | u64::from(command::INTX_DISABLE));
    assert!(!rig.irq.high());
    assert_ne!(rig.registers.config_read(4, WORD) >> 16 & 8, 0);
    rig.registers.config_write(4, HALF, enabled);
    assert!(rig.irq.high());
    assert_eq!(rig.registers.take_interrupt(), isr::QUEUE);
    assert!(!rig.irq.high());
    assert_eq!(rig.registers.take_interrupt(), 0);
}

#[test]
fn disk_over_pci_interrupts_by_messages() {
    let mailbox = Arc::new(Mailbox::default());
    let disk = VirtioBlock::new(Arc::new(Pattern), "pci-disk", HostRoom::unwatched());
    let mut rig = rig_with(disk, Some(mailbox.clone()));
    let at = rig.registers.messages;
    assert_eq!(rig.registers.config_read(at + 2, HALF), 1, "two vectors");
    assert_eq!(rig.registers.config_read(at + 4, WORD), 1);
    assert_eq!(rig.registers.config_read(at + 8, WORD), 0x801);
    rig.start(u64::MAX);
    let table = |vector: u64, field: u64, value: u64| {
        rig.registers
            .function
            .write_bar(1, vector * 16 + field, WORD, value);
    };
    for (vector, data) in [(0, 0x40), (1, 0x41)] {
        table(vector, 0, 0xfee0_0000);
        table(vector, 8, data);
        table(vector, 12, 0);
    }
    rig.registers.common_write(0x10, HALF, 0);
    rig.registers.common_write(0x16, HALF, 0);
    rig.registers.common_write(0x1a, HALF, 2);
    assert_eq!(
        rig.registers.common_read(0x1a, HALF),
        0xffff,
        "no such vector"
    );
    rig.registers.common_write(0x1a, HALF, 1);
    assert_eq!(rig.registers.common_read(0x1a, HALF), 1);
    assert_eq!(rig.registers.common_read(0x10, HALF), 0);
    rig.registers.config_write(at + 2, HALF, 0x8000);
    assert_eq!(read_sector(&mut rig, 7), (0, 7));
    let mut got = Vec::new();
    eventually("a message", || {
        got.extend(mailbox.take());
        !got.is_empty()
    });
    assert_eq!(got, [(0xfee0_0000, 0x41)]);
    assert!(!rig.irq.high());
    assert_eq!(rig.registers.take_interrupt(), 0);
    rig.registers.function.control().signal().config_changed();
    assert_eq!(mailbox.take(), [(0xfee0_0000, 0x40)]);
    assert!(!rig.irq.high());
    assert_eq!(rig.registers.take_interrupt(), isr::CONFIG);
    let saved = rig.registers.function.save();
    rig.registers.set_status(0);
    assert_eq!(rig.registers.common_read(0x10, HALF), 0xffff);
    assert_eq!(rig.registers.common_read(0x1a, HALF), 0xffff);
    rig.registers.function.restore(&saved).unwrap();
    assert_eq!(rig.registers.common_read(0x1a, HALF), 1);
    rig.registers.function.control().signal().config_changed();
    assert_eq!(mailbox.take(), [(0xfee0_0000, 0x40)]);
}

#[test]
fn disk_without_bus_mastering_waits_for_it() {
    let mut rig = rig();
    rig.start(u64::MAX);
    assert_eq!(read_sector(&mut rig, 1), (0, 1));
    rig.registers
        .config_write(4, HALF, u64::from(command::MEMORY));
    rig.put(BUFFERS, &[0; 16]);
    rig.rings[0].add(&[readable(BUFFERS, 16), writable(STATUS, 1)]);
    rig.registers.notify(0);
    // Long enough for the device's thread to misbehave.
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(rig.rings[0].take_used(), None);
    let both = command::MEMORY | command::BUS_MASTER;
    rig.registers.config_write(4, HALF, u64::from(both));
    assert_eq!(rig.rings[0].wait_used().1, 1);
}

#[test]
fn input_without_bus_mastering_waits_for_it() {
    let console = VirtioConsole::new(Arc::new(NoSink));
    let mut rig = rig_of(console.clone());
    rig.start(!crate::virtio::console::spec::F_MULTIPORT);
    rig.rings[0].add(&[writable(BUFFERS, 8)]);
    rig.registers
        .config_write(4, HALF, u64::from(command::MEMORY));
    assert_eq!(console.offer(b"abc"), 0);
    assert_eq!((rig.rings[0].used_index(), rig.get(BUFFERS, 1)[0]), (0, 0));
    let (sender, ready) = std::sync::mpsc::channel();
    console.on_ready(Arc::new(move || _ = sender.send(())));
    let both = command::MEMORY | command::BUS_MASTER;
    rig.registers.config_write(4, HALF, u64::from(both));
    ready
        .recv_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    assert_eq!(console.offer(b"abc"), 3);
    assert_eq!(rig.rings[0].wait_used().1, 3);
}

#[test]
fn configuration_change_moves_the_generation_on() {
    let rig = rig();
    let before = rig.registers.common_read(0x15, BYTE);
    rig.registers.function.control().signal().config_changed();
    assert_ne!(rig.registers.common_read(0x15, BYTE), before);
}

#[test]
fn structures_are_reached_through_configuration_space() {
    let mut rig = rig();
    rig.start(u64::MAX);
    let at = rig.registers.access;
    let describe = |bar: u64, offset: u64, length: u64| {
        rig.registers.config_write(at + 4, BYTE, bar);
        rig.registers.config_write(at + 8, WORD, offset);
        rig.registers.config_write(at + 12, WORD, length);
    };
    describe(4, region::DEVICE, 4);
    assert_eq!(rig.registers.config_read(at + 16, WORD), 64);
    describe(4, region::COMMON + common::DEVICE_STATUS, 1);
    let running = rig.registers.config_read(at + 16, WORD);
    assert_eq!(
        running & u64::from(status::DRIVER_OK),
        u64::from(status::DRIVER_OK)
    );
    rig.registers.config_write(at + 16, WORD, 0);
    assert_eq!(rig.registers.status(), 0);
    for (bar, offset, length) in [
        (4, 1, 4),
        (0, 0, 4),
        (4, BAR_BYTES, 4),
        (4, 0, 8),
        (4, 0, 0),
    ] {
        describe(bar, offset, length);
        rig.registers.config_write(at + 16, WORD, 0x55);
        assert_eq!(rig.registers.config_read(at + 16, WORD), 0x55);
    }
}

#[test]
fn save_and_restore_keeps_place_and_rings() {
    let mut rig = rig();
    rig.start(u64::MAX);
    assert_eq!(read_sector(&mut rig, 1), (0, 1));
    let state = rig.registers.function.save();
    rig.registers.ecam.reset();
    assert_eq!(rig.registers.config_read(0x20, WORD), 0xc);
    rig.registers.function.restore(&state).unwrap();
    // A write to a base address makes the root look again.
    rig.registers.config_write(0x20, WORD, 0x10_0000);
    assert_eq!(read_sector(&mut rig, 9), (0, 9));
    let mut wrong = state;
    wrong.config[0] ^= 0xff;
    assert!(rig.registers.function.restore(&wrong).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_register_scripts_never_wedge_the_device(
        script in prop::collection::vec(
            (
                prop_oneof![0u64..0x40, 0x1000u64..0x1004, 0x2000u64..0x2040, 0x3000u64..0x3010, 0u64..0x4000],
                0usize..4,
                prop_oneof![0u64..16, any::<u64>()],
                any::<bool>(),
            ),
            1..200,
        ),
        config in prop::collection::vec((0u16..0x100, any::<u32>()), 0..50),
    ) {
        const WIDTHS: [AccessWidth; 4] = [BYTE, HALF, WORD, AccessWidth::Double];
        let mut rig = rig();
        for (offset, width, value, write) in script {
            let offset = 0x10_0000 + offset;
            match write {
                true => rig.registers.window.write(offset, WIDTHS[width], value),
                false => { rig.registers.window.read(offset, WIDTHS[width]); }
            }
        }
        for (offset, value) in config {
            rig.registers.config_write(offset & !3, WORD, value.into());
        }
        let Found { function, ecam, window, .. } = rig.registers;
        ecam.reset();
        rig.registers = Found::probe(function, ecam, window);
        rig.start(u64::MAX);
        prop_assert_eq!(read_sector(&mut rig, 5), (0, 5));
    }
}
