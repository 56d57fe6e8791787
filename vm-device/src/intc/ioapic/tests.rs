use super::*;
use crate::intc::lapic::{ApicIdentity, ApicLines, ApicTime, LocalApic};
use crate::testing::ManualTime;
use AccessWidth::{Byte, Word};
use vm_core::{Clock, LocalIrq, NoIrq, TimeBase};

struct Board {
    ioapic: Arc<IoApic>,
    apic: Arc<LocalApic>,
}

fn board() -> Board {
    let bus = ApicBus::new();
    let time = Arc::new(ManualTime::default());
    let clock: Arc<dyn Clock> = time.clone();
    let base = Arc::new(TimeBase::new(clock.clone(), 1_000_000_000));
    let lines = ApicLines {
        intr: Arc::new(NoIrq),
        nmi: Arc::new(NoIrq),
        init: Arc::new(NoIrq),
        startup: Arc::new(NoIrq),
    };
    let who = ApicIdentity {
        id: 0,
        bootstrap: true,
        physical_bits: 40,
        x2apic: true,
    };
    let bases = ApicTime {
        clock,
        alarms: &*time,
        tsc: base.clone(),
        timer: base,
    };
    let apic = LocalApic::new(who, lines, &bus, &bases);
    apic.write(0xf0, Word, 0x1ff);
    Board {
        ioapic: IoApic::new(&bus),
        apic,
    }
}

impl Board {
    fn get(&self, register: u8) -> u32 {
        self.ioapic.write(SELECT, Word, register.into());
        self.ioapic.read(DATA, Word) as u32
    }
    fn put(&self, register: u8, value: u32) {
        self.ioapic.write(SELECT, Byte, register.into());
        self.ioapic.write(DATA, Word, value.into());
    }
    fn route(&self, input: u8, low: u32) {
        self.put(REDIRECTION + 2 * input + 1, 0);
        self.put(REDIRECTION + 2 * input, low);
    }
    fn take(&self) -> Option<u32> {
        self.apic.acknowledge()
    }
    fn eoi(&self) {
        self.apic.write(0xb0, Word, 0);
    }
}

#[test]
fn registers_sit_where_drivers_expect_them() {
    let board = board();
    assert_eq!(board.get(1), 0x0017_0020);
    assert_eq!(board.get(0x10), 0x1_0000);
    board.put(0, 0xff00_0000);
    assert_eq!([board.get(0), board.get(2)], [0x0f00_0000; 2]);
    board.put(0x3f, 0xabcd_ef01);
    assert_eq!(board.get(0x3f), 0xab00_0000);
    board.put(0x3e, 0xffff_ffff);
    assert_eq!(board.get(0x3e), 0x1_afff);
    assert_eq!([board.get(0x40), board.get(0x0f)], [0, 0]);
    board.ioapic.reset();
    assert_eq!(board.get(0x3e), 0x1_0000);
}

#[test]
fn edge_is_sent_once_and_lost_when_masked() {
    let board = board();
    let line = board.ioapic.input(4);
    line.pulse();
    board.route(4, 0x31);
    assert_eq!(board.take(), None);
    line.set(true);
    line.set(true);
    assert_eq!(board.take(), Some(0x31));
    board.eoi();
    assert_eq!(board.take(), None);
    line.set(false);
    line.pulse();
    assert_eq!(board.take(), Some(0x31));
}

#[test]
fn level_is_sent_again_until_it_falls() {
    let board = board();
    let line = board.ioapic.input(20);
    line.set(true);
    board.route(20, 0xa032);
    assert_eq!(board.take(), Some(0x32));
    assert_eq!(board.get(REDIRECTION + 40), 0xe032);
    assert_eq!(board.take(), None);
    board.eoi();
    assert_eq!(board.take(), Some(0x32));
    line.set(false);
    board.eoi();
    assert_eq!(board.take(), None);
    assert_eq!(board.get(REDIRECTION + 40), 0xa032);
    // Masked while it waits: nothing after the end, but again when unmasked.
    line.set(true);
    assert_eq!(board.take(), Some(0x32));
    board.route(20, 0x1_a032);
    board.eoi();
    assert_eq!(board.take(), None);
    board.route(20, 0xa032);
    assert_eq!(board.take(), Some(0x32));
}

#[test]
fn eoi_register_ends_one_vector() {
    let board = board();
    let line = board.ioapic.input(20);
    board.apic.write(0xf0, Word, 0x11ff);
    board.route(20, 0x8032);
    line.set(true);
    assert_eq!(board.take(), Some(0x32));
    board.eoi();
    assert_eq!(board.take(), None, "the broadcast is suppressed");
    board.ioapic.write(EOI, Word, 0x33);
    assert_eq!(board.take(), None);
    board.ioapic.write(EOI, Word, 0x32);
    assert_eq!(board.take(), Some(0x32));
}

#[test]
fn entry_made_an_edge_forgets_the_remote_irr() {
    let board = board();
    board.route(20, 0x8032);
    board.ioapic.input(20).set(true);
    board.route(20, 0x1_0032);
    assert_eq!(board.get(REDIRECTION + 40), 0x1_0032);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.route(20, 0x8032);
    first.ioapic.input(20).set(true);
    let saved = first.ioapic.save();
    let other = board();
    other.ioapic.restore(saved.clone()).unwrap();
    assert_eq!(other.get(REDIRECTION + 40), 0xc032);
    assert_eq!(other.take(), None);
    let mut wrong = saved;
    wrong.version = 0;
    assert!(other.ioapic.restore(wrong).is_err());
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board();
        for (step, part) in script.chunks(16).enumerate() {
            crate::fuzzing::drive(&*board.ioapic, RANGE_BYTES, part);
            for select in [0x10, 0x11, 0x30, 0xff] {
                board.put(select, (step as u32).wrapping_mul(0x1357_9bdf));
            }
            board.ioapic.input(step as u8 % INPUTS).set(step % 3 == 0);
            board.take();
            board.eoi();
        }
        board.ioapic.reset();
        proptest::prop_assert_eq!(board.get(1), VERSION_VALUE);
    }
}
