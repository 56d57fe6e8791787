use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use proptest::prelude::*;
use vm_core::{AccessWidth, IrqLine, NoIrq};

use super::spec::{command, reg};
use super::*;
use crate::BusDevice;

const WORD: AccessWidth = AccessWidth::Word;
const MMIO_BASE: u64 = 0x4000_0000;

fn no_lines() -> [Arc<dyn IrqLine>; LINES] {
    std::array::from_fn(|_| Arc::new(NoIrq) as Arc<dyn IrqLine>)
}

/// A function with one BAR of each kind that answers with what was asked.
struct Probe(Mutex<ConfigSpace>);

impl Probe {
    fn new() -> Arc<Self> {
        let identity = Identity {
            vendor: 0x1234,
            device: 0x5678,
            revision: 9,
            class: 0x0a_0b0c,
            subsystem: (0x1111, 0x2222),
        };
        let space = ConfigSpace::new(identity)
            .with_interrupt_pin(0)
            .with_bar(
                0,
                BarKind::Memory32 {
                    prefetchable: false,
                },
                0x1000,
            )
            .with_bar(1, BarKind::Io, 0x20)
            .with_bar(4, BarKind::Memory64 { prefetchable: true }, 0x2_0000_0000);
        Arc::new(Self(Mutex::new(space)))
    }
}

impl PciFunction for Probe {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.0.lock().read(offset, width)
    }
    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        self.0.lock().write(offset, width, value);
    }
    fn mappings(&self) -> Vec<Mapping> {
        self.0.lock().mappings().collect()
    }
    fn read_bar(&self, bar: u8, offset: u64, _width: AccessWidth) -> u64 {
        u64::from(bar) << 56 | offset
    }
    fn write_bar(&self, _bar: u8, _offset: u64, _width: AccessWidth, _value: u64) {}
    fn reset(&self) {
        self.0.lock().reset();
    }
}

struct Machine {
    ecam: Arc<dyn BusDevice>,
    memory: Arc<dyn BusDevice>,
    high: Arc<dyn BusDevice>,
    io: Arc<dyn BusDevice>,
}

const HIGH_BASE: u64 = 0x4_0000_0000;

fn machine() -> Machine {
    let root = PciRoot::new(no_lines());
    root.insert(2, Probe::new()).unwrap();
    assert_eq!(root.insert(2, Probe::new()), Err(SlotTaken(2)));
    assert_eq!(root.insert(0, Probe::new()), Err(SlotTaken(0)));
    assert_eq!(root.insert(32, Probe::new()), Err(SlotTaken(32)));
    Machine {
        ecam: root.ecam(),
        memory: root.window(Space::Memory, MMIO_BASE),
        high: root.window(Space::Memory, HIGH_BASE),
        io: root.window(Space::Io, 0),
    }
}

impl Machine {
    fn read(&self, slot: u64, register: u16) -> u64 {
        self.ecam.read(slot << 15 | u64::from(register), WORD)
    }
    fn write(&self, slot: u64, register: u16, value: u64) {
        self.ecam
            .write(slot << 15 | u64::from(register), WORD, value);
    }
}

#[test]
fn ecam_shows_functions_and_all_ones_elsewhere() {
    let machine = machine();
    assert_eq!(machine.read(0, reg::VENDOR_ID), 0x0008_1b36);
    assert_eq!(machine.read(0, reg::REVISION_CLASS), 0x0600_0000);
    assert_eq!(machine.read(2, reg::VENDOR_ID), 0x5678_1234);
    assert_eq!(machine.read(2, reg::REVISION_CLASS), 0x0a0b_0c09);
    assert_eq!(machine.read(2, reg::SUBSYSTEM), 0x2222_1111);
    assert_eq!(machine.read(1, reg::VENDOR_ID), 0xffff_ffff);
    // Function 1 of slot 2, bus 1, and an offset of the last bus.
    for offset in [2 << 15 | 1 << 12, 1 << 20 | 2 << 15, 0xfff_fffc] {
        assert_eq!(machine.ecam.read(offset, AccessWidth::Half), 0xffff);
    }
    assert_eq!(machine.ecam.read(2 << 15, AccessWidth::Double), 0x5678_1234);
    machine.write(2, reg::VENDOR_ID, 0);
    assert_eq!(machine.ecam.read(2 << 15 | 2, AccessWidth::Byte), 0x78);
}

#[test]
fn ecam_access_of_eight_bytes_is_two_of_four() {
    let machine = machine();
    let bars = 2 << 15 | u64::from(reg::BAR0);
    machine
        .ecam
        .write(bars, AccessWidth::Double, 0x1220_4000_0000);
    assert_eq!(machine.read(2, reg::BAR0), 0x4000_0000);
    assert_eq!(machine.read(2, reg::BAR0 + 4), 0x1221);
    let both = machine.ecam.read(bars, AccessWidth::Double);
    assert_eq!(both, 0x1221_4000_0000);
}

#[test]
fn bar_sizing_tells_size_and_kind() {
    let machine = machine();
    let sized = |bar: u16| {
        machine.write(2, reg::BAR0 + 4 * bar, 0xffff_ffff);
        machine.read(2, reg::BAR0 + 4 * bar)
    };
    assert_eq!(sized(0), 0xffff_f000);
    assert_eq!(sized(1), 0xffff_ffe1);
    assert_eq!(sized(2), 0);
    assert_eq!(sized(4), 0x0000_000c);
    assert_eq!(sized(5), 0xffff_fffe);
    // No expansion ROM.
    machine.write(2, 0x30, 0xffff_ffff);
    assert_eq!(machine.read(2, 0x30), 0);
}

#[test]
fn bars_answer_where_they_are_put_when_enabled() {
    let machine = machine();
    machine.write(2, reg::BAR0, MMIO_BASE + 0x5000);
    machine.write(2, reg::BAR0 + 4, 0x1000);
    machine.write(2, reg::BAR0 + 16, 0x0000_0000);
    machine.write(2, reg::BAR0 + 20, 0x6);
    assert_eq!(machine.memory.read(0x5010, WORD), 0xffff_ffff);
    machine.write(2, reg::COMMAND, u64::from(command::MEMORY));
    assert_eq!(machine.memory.read(0x5010, WORD), 0x10);
    assert_eq!(machine.memory.read(0x4fff, AccessWidth::Byte), 0xff);
    assert_eq!(machine.memory.read(0x6000, AccessWidth::Byte), 0xff);
    // Half of the access would leave the range.
    assert_eq!(machine.memory.read(0x5ffe, WORD), 0xffff_ffff);
    assert_eq!(
        machine.high.read(0x2_0000_0008, AccessWidth::Double),
        4 << 56 | 8
    );
    assert_eq!(machine.io.read(0x1004, AccessWidth::Half), 0xffff);
    machine.write(2, reg::COMMAND, u64::from(command::IO));
    assert_eq!(machine.io.read(0x1004, WORD), 1 << 56 | 4);
    assert_eq!(machine.memory.read(0x5010, WORD), 0xffff_ffff);
    // Moved, then reset.
    machine.write(2, reg::COMMAND, u64::from(command::MEMORY));
    machine.write(2, reg::BAR0, MMIO_BASE + 0x9000);
    assert_eq!(machine.memory.read(0x5010, WORD), 0xffff_ffff);
    assert_eq!(machine.memory.read(0x9010, WORD), 0x10);
    machine.ecam.reset();
    assert_eq!(machine.memory.read(0x9010, WORD), 0xffff_ffff);
    assert_eq!(machine.read(2, reg::BAR0), 0);
}

#[test]
fn bars_that_overlap_leave_the_lower_one() {
    let root = PciRoot::new(no_lines());
    let (one, two) = (Probe::new(), Probe::new());
    root.insert(1, one).unwrap();
    root.insert(2, two).unwrap();
    let (ecam, window) = (root.ecam(), root.window(Space::Memory, MMIO_BASE));
    for slot in [1u64, 2] {
        ecam.write(slot << 15 | 4, WORD, u64::from(command::MEMORY));
        ecam.write(slot << 15 | 0x10, WORD, MMIO_BASE + 0x3000);
    }
    assert_eq!(window.read(0x3008, WORD), 8);
    ecam.write(1 << 15 | 0x10, WORD, MMIO_BASE + 0x8000);
    assert_eq!(window.read(0x3008, WORD), 8);
    assert_eq!(window.read(0x8008, WORD), 8);
}

#[derive(Default)]
struct Level(AtomicBool);
impl IrqLine for Level {
    fn set(&self, high: bool) {
        self.0.store(high, Ordering::SeqCst);
    }
}

#[test]
fn intx_of_slots_is_swizzled_and_shared() {
    let levels: [Arc<Level>; LINES] = Default::default();
    let root = PciRoot::new(std::array::from_fn(|at| {
        levels[at].clone() as Arc<dyn IrqLine>
    }));
    let high = || {
        levels
            .each_ref()
            .map(|level| level.0.load(Ordering::SeqCst))
    };
    let (one, five, six) = (root.intx(1), root.intx(5), root.intx(6));
    one.set(true);
    five.set(true);
    six.set(true);
    assert_eq!(high(), [false, true, true, false]);
    one.set(false);
    assert_eq!(high(), [false, true, true, false]);
    five.set(false);
    six.set(false);
    assert_eq!(high(), [false; 4]);
    assert_eq!([swizzle(1, 0), swizzle(1, 3), swizzle(31, 2)], [1, 0, 1]);
}

#[test]
fn intx_disabled_is_low_but_remembered() {
    let level = Arc::new(Level::default());
    let pin = IntxPin::new(level.clone());
    pin.set_disabled(true);
    pin.set(true);
    assert!(pin.asserted() && !level.0.load(Ordering::SeqCst));
    pin.set_disabled(false);
    assert!(level.0.load(Ordering::SeqCst));
    pin.set(false);
    assert!(!level.0.load(Ordering::SeqCst));
}

#[test]
fn config_space_saved_fits_only_its_own_kind() {
    let probe = Probe::new();
    probe.write_config(reg::BAR0, WORD, 0x4000_1000);
    let saved = probe.0.lock().save();
    let mut other = Probe::new().0.lock().clone();
    assert!(other.fits(&saved));
    other.restore(&saved);
    assert_eq!(other.read(reg::BAR0, WORD), 0x4000_1000);
    let mut wrong = saved.clone();
    wrong[0] ^= 1;
    assert!(!other.fits(&wrong) && !other.fits(&saved[..100]));
}

proptest! {
    #[test]
    fn random_accesses_keep_identity_and_never_panic(
        script in prop::collection::vec(
            (0u64..4, prop_oneof![0u64..0x44, 0u64..0x1000], 0usize..4, any::<u64>()), 1..100),
        probes in prop::collection::vec((any::<u32>(), 0usize..4), 1..50),
    ) {
        const WIDTHS: [AccessWidth; 4] =
            [AccessWidth::Byte, AccessWidth::Half, AccessWidth::Word, AccessWidth::Double];
        let machine = machine();
        for (slot, offset, width, value) in script {
            machine.ecam.write(slot << 15 | offset, WIDTHS[width], value);
            machine.ecam.read(slot << 15 | offset, WIDTHS[width]);
        }
        for (offset, width) in probes {
            for window in [&machine.memory, &machine.high, &machine.io] {
                window.read(offset.into(), WIDTHS[width]);
                window.write(offset.into(), WIDTHS[width], 1);
            }
        }
        prop_assert_eq!(machine.read(2, reg::VENDOR_ID), 0x5678_1234);
        prop_assert_eq!(machine.read(2, reg::BAR0) & 0xfff, 0);
        prop_assert_eq!(machine.read(2, reg::BAR0 + 4) & 0x1f, 1);
    }
}
