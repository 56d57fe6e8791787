use std::sync::Arc;

use AccessWidth::{Byte, Half, Word};
use parking_lot::Mutex;
use vm_core::AccessWidth;

use super::*;
use crate::intc::i8259::I8259;
use crate::intc::ioapic::IoApic;
use crate::intc::isa::IsaIrqs;
use crate::intc::lapic::ApicBus;
use crate::movable::Movable;
use crate::pci::ConfigPorts;
use crate::power::acpi_pm::AcpiPm;
use crate::power::{SystemEvent, recorded};
use crate::testing::{Level, ManualTime};
use crate::{Bus, BusDevice};

struct Board {
    ports: Arc<Bus>,
    memory: Arc<Bus>,
    root: Arc<PciRoot>,
    lpc: Arc<Lpc>,
    ioapic: Arc<IoApic>,
    intr: Arc<Level>,
    shadows: Arc<Mutex<Vec<ShadowRange>>>,
    log: Arc<Mutex<Vec<SystemEvent>>>,
}

/// Wired as a machine does it.
fn board() -> Board {
    let (ports, memory) = (Arc::new(Bus::new()), Arc::new(Bus::new()));
    let time = Arc::new(ManualTime::default());
    let (events, log) = recorded();
    let apics = ApicBus::new();
    let ioapic = IoApic::new(&apics);
    let intr = Arc::new(Level::default());
    let pic = I8259::new(intr.clone());
    let isa = IsaIrqs::new(&pic, &ioapic);
    let pm = AcpiPm::new(time.clone(), &*time, isa.line(9), events.clone());
    let ranges = LpcRanges::new(&ports, &memory, &pm);
    let lpc = Lpc::new(ranges, pm, &isa, &ioapic);
    let shadows = Arc::new(Mutex::new(Vec::new()));
    let into = shadows.clone();
    let mch = Mch::new(Box::new(move |range| into.lock().push(range)));
    let lines = std::array::from_fn(|line| lpc.pirq(4 + line as u8));
    let root = PciRoot::with_host_bridge(lines, mch.clone());
    let weak = Arc::downgrade(&root);
    mch.set_ecam(Movable::made(&memory, "ecam", move || {
        Some(weak.upgrade()?.ecam())
    }));
    root.insert_function(31, 0, lpc.clone()).unwrap();
    root.insert_function(31, 3, Smbus::new(lpc.pirq(1)))
        .unwrap();
    let config = ConfigPorts::new(&root, events);
    ports.insert("pci", 0xcf8, 8, config).unwrap();
    ports
        .insert(
            "pci-io",
            0xc000,
            0x4000,
            root.window(crate::pci::Space::Io, 0xc000),
        )
        .unwrap();
    ports.insert("pic", 0x20, 2, pic.master()).unwrap();
    Board {
        ports,
        memory,
        root,
        lpc,
        ioapic,
        intr,
        shadows,
        log,
    }
}

impl Board {
    fn out(&self, port: u64, width: AccessWidth, value: u64) {
        assert!(self.ports.write(port, width, value));
    }
    fn select(&self, slot: u64, function: u64, register: u64) {
        let address = 1 << 31 | slot << 11 | function << 8 | register & 0xfc;
        assert!(self.ports.write(0xcf8, Word, address));
    }
    fn get(&self, slot: u64, function: u64, register: u64, width: AccessWidth) -> u64 {
        self.select(slot, function, register);
        self.ports.read(0xcfc + register % 4, width).unwrap()
    }
    fn put(&self, slot: u64, function: u64, register: u64, width: AccessWidth, value: u64) {
        self.select(slot, function, register);
        assert!(self.ports.write(0xcfc + register % 4, width, value));
    }
}

#[test]
fn ports_show_the_chipset_as_firmware_expects_it() {
    let board = board();
    assert_eq!(board.get(0, 0, 0, Word), 0x29c0_8086);
    assert_eq!(board.get(0, 0, 0x2c, Word), 0x1100_1af4);
    assert_eq!(board.get(31, 0, 0, Word), 0x2918_8086);
    assert_eq!(board.get(31, 0, 0x0a, Half), 0x0601);
    assert_eq!(board.get(31, 0, 0x0e, Byte), 0x80);
    assert_eq!(board.get(31, 3, 2, Half), 0x2930);
    assert_eq!(board.get(31, 3, 0x3d, Byte), 2);
    for (slot, function) in [(1, 0), (31, 1), (0, 1)] {
        assert_eq!(board.get(slot, function, 0, Word), 0xffff_ffff);
    }
    assert_eq!(board.ports.read(0xcf8, Word), Some(1 << 31 | 1 << 8));
    // Two bytes out of the middle, and nothing while the address is off.
    board.select(0, 0, 0);
    assert_eq!(board.ports.read(0xcfd, Half), Some(0xc080));
    board.out(0xcf8, Word, 0);
    assert_eq!(board.ports.read(0xcfc, Word), Some(0xffff_ffff));
}

#[test]
fn reset_control_resets_at_its_edge() {
    let board = board();
    for value in [2, 6, 6, 2, 0xe] {
        board.out(0xcf9, Byte, value);
    }
    assert_eq!(*board.log.lock(), [SystemEvent::Reset; 2]);
    assert_eq!(board.ports.read(0xcf9, Byte), Some(0xe));
}

#[test]
fn ecam_and_power_management_lie_where_the_guest_puts_them() {
    let board = board();
    assert_eq!(board.memory.read(0xb000_0000, Word), None);
    board.put(0, 0, 0x60, Word, 0xb000_0001);
    assert_eq!(board.memory.read(0xb000_0000, Word), Some(0x29c0_8086));
    assert_eq!(board.memory.read(0xb00f_8000, Word), Some(0x2918_8086));
    board.put(0, 0, 0x60, Word, 0xe000_0001);
    assert_eq!(board.memory.read(0xb000_0000, Word), None);
    assert_eq!(board.memory.read(0xe000_0000, Word), Some(0x29c0_8086));
    assert_eq!(board.get(31, 0, 0x40, Word), 1);
    board.put(31, 0, 0x40, Word, 0x601);
    assert_eq!(board.ports.read(0x630, Word), None);
    board.put(31, 0, 0x44, Byte, 0x80);
    assert_eq!(board.ports.read(0x630, Word), Some(0x20));
    board.put(31, 0, 0xf0, Word, 0xfed1_c001);
    assert_eq!(board.memory.read(0xfed1_f140, Half), Some(0x3210));
    board.ports.reset();
    assert_eq!(board.memory.read(0xe000_0000, Word), None);
    assert_eq!(board.ports.read(0x630, Word), None);
    set_up_without_firmware(&board.root, 0xb000_0000);
    assert_eq!(board.memory.read(0xb000_0000, Word), Some(0x29c0_8086));
    assert_eq!(board.ports.read(0x630, Word), Some(0x20));
}

#[test]
fn attribute_maps_say_what_is_ram() {
    let board = board();
    board.put(0, 0, 0x90, Byte, 0xff);
    board.put(0, 0, 0x96, Byte, 0x12);
    let range = |base, bytes, reads_ram, writes_ram| ShadowRange {
        base,
        bytes,
        reads_ram,
        writes_ram,
    };
    assert_eq!(
        *board.shadows.lock(),
        [
            range(0xf_0000, 0x1_0000, true, true),
            range(0xe_8000, 0x4000, false, true),
            range(0xe_c000, 0x4000, true, false),
        ]
    );
    board.shadows.lock().clear();
    board.put(0, 0, 0x91, Byte, 0x33);
    assert_eq!(
        *board.shadows.lock(),
        [
            range(0xc_0000, 0x4000, true, true),
            range(0xc_4000, 0x4000, true, true),
        ]
    );
    assert_eq!(board.get(0, 0, 0x90, Byte), 0x30);
    board.shadows.lock().clear();
    board.ports.reset();
    assert_eq!(board.shadows.lock().len(), 5);
}

#[test]
fn pirq_reaches_both_controllers() {
    let board = board();
    for (port, value) in [(0x20, 0x11), (0x21, 8), (0x21, 4), (0x21, 1), (0x21, 0)] {
        board.out(port, Byte, value);
    }
    let (one, two) = (board.root.intx(1), board.lpc.pirq(5));
    one.set(true);
    assert!(!board.intr.high());
    board.put(31, 0, 0x69, Byte, 5);
    assert!(board.intr.high(), "slot 1 is on PIRQF");
    board.put(31, 0, 0x69, Byte, 0x80);
    board.out(0x20, Byte, 0x0c);
    assert_eq!(board.ports.read(0x20, Byte), Some(0x85));
    board.out(0x20, Byte, 0x20);
    board.put(31, 0, 0x69, Byte, 2);
    assert!(!board.intr.high(), "2 cannot be had");
    two.set(true);
    one.set(false);
    board.put(31, 0, 0x69, Byte, 6);
    assert!(board.intr.high());
    board.ioapic.write(0, Word, 0x10 + 2 * 21);
    board.ioapic.write(0x10, Word, 0x8033);
    assert_eq!(board.ioapic.read(0x10, Word), 0xc033, "still high there");
}

#[test]
fn smbus_transfers_end_with_nobody() {
    let board = board();
    board.put(31, 3, 0x20, Word, 0xc000);
    board.put(31, 3, 4, Half, 1);
    board.out(0xc002, Byte, 0x49);
    assert_eq!(board.ports.read(0xc000, Byte), Some(4));
    assert_eq!(board.ports.read(0xc002, Byte), Some(9));
    board.ioapic.write(0, Word, 0x10 + 2 * 17);
    board.ioapic.write(0x10, Word, 0x8033);
    assert_eq!(board.ioapic.read(0x10, Word), 0xc033);
    board.out(0xc000, Byte, 0xff);
    assert_eq!(board.ports.read(0xc000, Byte), Some(0));
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board();
        board.memory.insert("fixed", 0xf000_0000, 0x1000, board.ioapic.clone()).unwrap();
        for part in script.chunks(6) {
            let [slot, register, value @ ..] = part else { continue };
            let value = value.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            let slot = [0, 31][usize::from(slot & 1)];
            board.put(slot, u64::from(slot == 31) * 3 * (value & 1), (register & 0xfc).into(), Word, value);
            board.get(slot, 0, (*register).into(), Byte);
            board.root.intx(*register).set(value & 1 != 0);
        }
        let ports = ConfigPorts::new(&board.root, Arc::new(|_| ()));
        crate::fuzzing::drive(&*ports, 8, &script);
        board.ports.reset();
        proptest::prop_assert_eq!(board.get(0, 0, 0, Word), 0x29c0_8086);
    }
}
