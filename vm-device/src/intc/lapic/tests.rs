use super::*;
use crate::BusDevice;
use crate::intc::{ExternalController, MsiTarget};
use crate::testing::{Level, ManualTime};
use AccessWidth::Word;

const TSC_HZ: u64 = 2_000_000_000;
const TIMER_HZ: u64 = 1_000_000_000;

struct Cpu {
    apic: Arc<LocalApic>,
    intr: Arc<Level>,
    nmi: Arc<Level>,
    init: Arc<Level>,
    startup: Arc<Level>,
}

impl Cpu {
    fn put(&self, register: u8, value: u32) {
        self.apic
            .write(u64::from(register) << 4, Word, value.into());
    }
    fn get(&self, register: u8) -> u32 {
        self.apic.read(u64::from(register) << 4, Word) as u32
    }
    fn msr(&self, register: u8) -> Option<u64> {
        self.apic
            .register_read(msr::X2APIC_FIRST + u32::from(register))
    }
    fn set_msr(&self, register: u8, value: u64) -> bool {
        self.apic
            .register_write(msr::X2APIC_FIRST + u32::from(register), value)
    }
    fn enable(&self) {
        self.put(reg::SVR, 0x1ff);
    }
    fn to_x2apic(&self) {
        let base = self.apic.register_read(msr::APIC_BASE).unwrap();
        assert!(
            self.apic
                .register_write(msr::APIC_BASE, base | base::X2APIC)
        );
    }
    fn take(&self) -> Option<u32> {
        assert!(self.intr.high());
        self.apic.acknowledge()
    }
}

struct Board {
    time: Arc<ManualTime>,
    bus: Arc<ApicBus>,
    cpus: Vec<Cpu>,
}

fn board(cpus: u32) -> Board {
    board_with(cpus, true)
}

fn board_with(cpus: u32, x2apic: bool) -> Board {
    let time = Arc::new(ManualTime::default());
    let bus = ApicBus::new();
    let clock: Arc<dyn Clock> = time.clone();
    let bases = ApicTime {
        clock: clock.clone(),
        alarms: &*time,
        tsc: Arc::new(TimeBase::new(clock.clone(), TSC_HZ)),
        timer: Arc::new(TimeBase::new(clock, TIMER_HZ)),
    };
    let cpus = (0..cpus).map(|id| {
        let [intr, nmi, init, startup]: [Arc<Level>; 4] = Default::default();
        let who = ApicIdentity {
            id,
            bootstrap: id == 0,
            physical_bits: 40,
            x2apic,
        };
        let lines = ApicLines {
            intr: intr.clone(),
            nmi: nmi.clone(),
            init: init.clone(),
            startup: startup.clone(),
        };
        let apic = LocalApic::new(who, lines, &bus, &bases);
        Cpu {
            apic,
            intr,
            nmi,
            init,
            startup,
        }
    });
    let cpus = cpus.collect();
    Board { time, bus, cpus }
}

fn fixed(to: Destination, vector: u8) -> Message {
    Message {
        to,
        mode: mode::FIXED,
        vector,
        level: false,
        assert: true,
    }
}

#[test]
fn x2apic_mode_that_is_not_there_is_refused() {
    let board = board_with(1, false);
    let apic = &board.cpus[0].apic;
    let base = apic.register_read(msr::APIC_BASE).unwrap();
    assert!(!apic.register_write(msr::APIC_BASE, base | base::X2APIC));
    assert!(apic.register_write(msr::APIC_BASE, base));
    assert_eq!(apic.register_read(msr::APIC_BASE), Some(base));
}

#[test]
fn power_on_registers_are_the_manuals() {
    let board = board(2);
    let cpu = &board.cpus[1];
    assert_eq!(cpu.get(reg::ID), 1 << 24);
    assert_eq!(cpu.get(reg::VERSION), 0x0106_0014);
    assert_eq!([cpu.get(reg::SVR), cpu.get(reg::DFR)], [0xff, u32::MAX]);
    assert_eq!(cpu.get(reg::LVT_TIMER + 3), 0x1_0000);
    assert_eq!(board.cpus[0].get(reg::LVT_TIMER + 3), 0x700);
    assert_eq!(cpu.apic.register_read(msr::APIC_BASE), Some(0xfee0_0800));
    assert_eq!(
        board.cpus[0].apic.register_read(msr::APIC_BASE),
        Some(0xfee0_0900)
    );
    assert_eq!(cpu.apic.window(), Some((0xfee0_0000, 0x1000)));
}

#[test]
fn request_is_taken_by_priority_and_ended() {
    let board = board(1);
    let cpu = &board.cpus[0];
    board.bus.deliver(&fixed(Destination::Physical(0), 0x30));
    assert!(!cpu.intr.high(), "disabled by software");
    cpu.enable();
    for vector in [0x30, 0x52, 0x51] {
        board.bus.deliver(&fixed(Destination::Physical(0), vector));
    }
    assert_eq!(cpu.get(reg::IRR + 2), 1 << 0x12 | 1 << 0x11);
    assert_eq!(cpu.take(), Some(0x52));
    assert_eq!(cpu.get(reg::PPR), 0x50);
    assert!(!cpu.intr.high(), "the same class waits");
    assert_eq!(cpu.apic.acknowledge(), None);
    cpu.put(reg::EOI, 0);
    assert_eq!(cpu.take(), Some(0x51));
    cpu.put(reg::EOI, 0);
    cpu.put(reg::TPR, 0x30);
    assert!(!cpu.intr.high());
    cpu.put(reg::TPR, 0x2f);
    assert_eq!(cpu.take(), Some(0x30));
    cpu.put(reg::EOI, 0);
    assert_eq!(cpu.get(reg::PPR), 0x2f);
    cpu.put(reg::EOI, 0);
}

#[test]
fn command_reaches_each_kind_of_destination() {
    let board = board(4);
    board.cpus.iter().for_each(Cpu::enable);
    let send = |high: u32, low: u32| {
        board.cpus[0].put(reg::ICR_HIGH, high);
        board.cpus[0].put(reg::ICR, low);
        board
            .cpus
            .iter()
            .map(|cpu| {
                let got = cpu.apic.acknowledge() == Some(0x40);
                cpu.put(reg::EOI, 0);
                got
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(send(2 << 24, 0x4040), [false, false, true, false]);
    assert_eq!(send(0xff << 24, 0x4040), [true; 4]);
    assert_eq!(send(0, 0x4_4040), [true, false, false, false]);
    assert_eq!(send(0, 0x8_4040), [true; 4]);
    assert_eq!(send(0, 0xc_4040), [false, true, true, true]);
    // Logical, flat: a bit for each.
    for (cpu, bit) in board.cpus.iter().zip(0..) {
        cpu.put(reg::LDR, 1 << (24 + bit));
    }
    assert_eq!(send(0b1010 << 24, 0x4840), [false, true, false, true]);
    // Cluster model: two of two.
    for (cpu, (cluster, bit)) in board.cpus.iter().zip([(1, 1), (1, 2), (2, 1), (2, 2)]) {
        cpu.put(reg::DFR, 0x0fff_ffff);
        cpu.put(reg::LDR, cluster << 28 | bit << 24);
    }
    assert_eq!(send(0x23 << 24, 0x4840), [false, false, true, true]);
    assert_eq!(send(0xf1 << 24, 0x4840), [true, false, true, false]);
    assert_eq!(send(0x41 << 24, 0x4840), [false; 4]);
}

#[test]
fn lowest_priority_goes_to_the_least_busy_in_turn() {
    let board = board(3);
    board.cpus.iter().for_each(Cpu::enable);
    board.cpus[1].put(reg::TPR, 0x80);
    let message = Message {
        mode: mode::LOWEST,
        ..fixed(Destination::All, 0x61)
    };
    let mut counts = [0; 3];
    for _ in 0..10 {
        board.bus.deliver(&message);
        for (cpu, count) in board.cpus.iter().zip(&mut counts) {
            if cpu.apic.acknowledge().is_some() {
                *count += 1;
                cpu.put(reg::EOI, 0);
            }
        }
    }
    assert_eq!(counts, [5, 0, 5]);
}

#[test]
fn init_and_startup_bring_a_processor_up() {
    let board = board(2);
    let [boot, other] = &board.cpus[..] else {
        unreachable!()
    };
    other.enable();
    other.put(reg::TPR, 0x70);
    boot.put(reg::ICR_HIGH, 1 << 24);
    boot.put(reg::ICR, 0xc500);
    assert_eq!(other.init.rises(), 1);
    // The level is taken back: nothing more happens.
    boot.put(reg::ICR, 0x8500);
    boot.put(reg::ICR, 0x4609);
    assert_eq!((other.init.rises(), other.startup.rises()), (1, 1));
    other.apic.init();
    assert_eq!((other.get(reg::SVR), other.get(reg::TPR)), (0xff, 0));
    assert_eq!(other.apic.take_startup(), Some(9));
    assert_eq!(other.apic.take_startup(), None);
    boot.put(reg::ICR, 0x4400);
    assert_eq!(other.nmi.rises(), 1);
    assert_eq!(boot.init.rises() + boot.nmi.rises(), 0);
}

#[test]
fn errors_are_latched_by_a_write_and_interrupt_once() {
    let board = board(1);
    let cpu = &board.cpus[0];
    cpu.enable();
    cpu.put(reg::LVT_ERROR, 0x55);
    cpu.put(reg::ICR, 0x4_4008);
    assert_eq!(cpu.get(reg::ESR), 0);
    cpu.put(reg::ESR, 0);
    assert_eq!(cpu.get(reg::ESR), esr::SEND_ILLEGAL_VECTOR);
    assert_eq!(cpu.take(), Some(0x55));
    cpu.put(reg::EOI, 0);
    cpu.put(0x60, 0);
    board.bus.deliver(&fixed(Destination::All, 3));
    cpu.put(reg::ESR, 0);
    assert_eq!(
        cpu.get(reg::ESR),
        esr::ILLEGAL_REGISTER | esr::RECEIVED_ILLEGAL_VECTOR
    );
    cpu.put(reg::ESR, 0);
    assert_eq!(cpu.get(reg::ESR), 0);
    // An error interrupt that is itself an error ends.
    cpu.put(reg::LVT_ERROR, 1);
    cpu.put(reg::ICR, 0x4_4008);
}

#[test]
fn timer_once_counts_down_and_interrupts() {
    let board = board(1);
    let cpu = &board.cpus[0];
    cpu.enable();
    cpu.put(reg::LVT_TIMER, 0x40);
    cpu.put(reg::DIVIDE, 0x3);
    cpu.put(reg::INITIAL_COUNT, 1000);
    assert_eq!(board.time.deadlines(), [Some(16_000)]);
    board.time.advance_to(8_000);
    assert_eq!(cpu.get(reg::CURRENT_COUNT), 500);
    cpu.put(reg::DIVIDE, 0xb);
    assert_eq!(board.time.deadlines(), [Some(8_500)]);
    board.time.advance_to(8_500);
    assert_eq!((cpu.take(), cpu.get(reg::CURRENT_COUNT)), (Some(0x40), 0));
    cpu.put(reg::EOI, 0);
    assert_eq!(board.time.deadlines(), [None]);
    // Masked at its end: lost.
    cpu.put(reg::LVT_TIMER, 0x1_0040);
    cpu.put(reg::INITIAL_COUNT, 1000);
    board.time.advance_to(20_000);
    cpu.put(reg::LVT_TIMER, 0x40);
    assert!(!cpu.intr.high());
}

#[test]
fn timer_periodic_stays_in_step_and_is_not_too_fast() {
    let board = board(1);
    let cpu = &board.cpus[0];
    cpu.enable();
    cpu.put(reg::LVT_TIMER, 0x2_0040);
    cpu.put(reg::DIVIDE, 0xb);
    cpu.put(reg::INITIAL_COUNT, 100_000);
    // Late by two and a half periods.
    board.time.advance_to(350_000);
    assert_eq!(
        (cpu.take(), cpu.get(reg::CURRENT_COUNT)),
        (Some(0x40), 50_000)
    );
    cpu.put(reg::EOI, 0);
    assert_eq!(board.time.deadlines(), [Some(400_000)]);
    cpu.put(reg::INITIAL_COUNT, 1);
    assert_eq!(board.time.deadlines(), [Some(350_000 + SHORTEST_PERIOD_NS)]);
    cpu.put(reg::INITIAL_COUNT, 0);
    assert_eq!(board.time.deadlines(), [None]);
}

#[test]
fn deadline_of_the_time_stamp_interrupts_at_it() {
    let board = board(1);
    let cpu = &board.cpus[0];
    cpu.enable();
    assert!(cpu.apic.register_write(msr::TSC_DEADLINE, 100));
    assert_eq!(cpu.apic.register_read(msr::TSC_DEADLINE), Some(0));
    cpu.put(reg::LVT_TIMER, 0x4_0041);
    assert!(cpu.apic.register_write(msr::TSC_DEADLINE, 5_001));
    assert_eq!(board.time.deadlines(), [Some(2_501)]);
    board.time.advance_to(2_501);
    assert_eq!(cpu.take(), Some(0x41));
    cpu.put(reg::EOI, 0);
    assert_eq!(cpu.apic.register_read(msr::TSC_DEADLINE), Some(0));
    // In the past: at once, without the timer thread.
    assert!(cpu.apic.register_write(msr::TSC_DEADLINE, 1));
    assert_eq!(cpu.take(), Some(0x41));
    cpu.put(reg::EOI, 0);
    assert!(cpu.apic.register_write(msr::TSC_DEADLINE, 9_000));
    cpu.put(reg::LVT_TIMER, 0x41);
    assert_eq!(cpu.apic.register_read(msr::TSC_DEADLINE), Some(0));
    assert_eq!(board.time.deadlines(), [None]);
}

#[test]
fn x2apic_registers_refuse_what_does_not_exist() {
    let board = board(2);
    let cpu = &board.cpus[1];
    assert_eq!(cpu.msr(reg::ID), None, "not before x2APIC mode");
    cpu.to_x2apic();
    assert_eq!(cpu.apic.window(), None);
    assert_eq!((cpu.msr(reg::ID), cpu.msr(reg::LDR)), (Some(1), Some(2)));
    for absent in [
        reg::DFR,
        reg::APR,
        reg::RRD,
        reg::ICR_HIGH,
        reg::EOI,
        0,
        0xff,
    ] {
        assert_eq!(cpu.msr(absent), None, "{absent:#x}");
    }
    assert!(!cpu.set_msr(reg::EOI, 1) && !cpu.set_msr(reg::ID, 0) && !cpu.set_msr(reg::TPR, 0x100));
    assert!(cpu.set_msr(reg::SVR, 0x1ff) && cpu.set_msr(reg::TPR, 0x20));
    assert_eq!(cpu.apic.register_read(TASK_PRIORITY), Some(2));
    assert!(cpu.set_msr(reg::SELF_IPI, 0x44));
    assert_eq!(cpu.take(), Some(0x44));
    assert!(cpu.set_msr(reg::EOI, 0));
    assert!(cpu.set_msr(reg::ICR, 1 << 32 | 0x46));
    assert_eq!(cpu.take(), Some(0x46));
    assert!(cpu.set_msr(reg::EOI, 0));
    assert_eq!(cpu.msr(reg::ICR), Some(1 << 32 | 0x46));
    assert!(cpu.set_msr(reg::ICR, 2 << 32 | 0x847), "logical");
    assert_eq!(cpu.take(), Some(0x47));
}

#[test]
fn task_priority_is_cr8s_in_every_mode() {
    let board = board(1);
    let apic = &board.cpus[0].apic;
    for base in [0xfee0_0900, 0xfee0_0d00, 0xfee0_0100] {
        assert!(apic.register_write(msr::APIC_BASE, base));
        assert!(apic.register_write(TASK_PRIORITY, 0xf));
        assert_eq!(apic.register_read(TASK_PRIORITY), Some(0xf), "{base:#x}");
        assert!(apic.register_write(TASK_PRIORITY, 3));
        assert_eq!(apic.register_read(TASK_PRIORITY), Some(3), "{base:#x}");
    }
}

#[test]
fn base_takes_only_changes_of_mode_that_exist() {
    let board = board(1);
    let apic = &board.cpus[0].apic;
    let set = |value| apic.register_write(msr::APIC_BASE, value);
    assert!(!set(0xfee0_0400) && !set(1 << 40 | 0xfee0_0900) && !set(0xfee0_0901));
    assert!(set(0xfed0_0900));
    assert_eq!(apic.window(), Some((0xfed0_0000, 0x1000)));
    assert!(set(0xfee0_0d00));
    assert!(!set(0xfee0_0900), "x2APIC to xAPIC");
    assert!(set(0xfee0_0100) && !set(0xfee0_0d00), "disabled to x2APIC");
    assert!(set(0xfee0_0900));
}

struct Pic;
impl ExternalController for Pic {
    fn acknowledge(&self) -> u8 {
        0x08
    }
}

#[test]
fn external_controller_passes_lint0_or_a_disabled_apic() {
    let board = board(2);
    let pic: Arc<dyn ExternalController> = Arc::new(Pic);
    board.bus.set_external(Arc::downgrade(&pic));
    let lint0 = board.bus.lint(0);
    lint0.set(true);
    let [boot, other] = &board.cpus[..] else {
        unreachable!()
    };
    assert!(boot.intr.high() && !other.intr.high());
    assert_eq!(boot.take(), Some(8));
    lint0.set(false);
    assert!(!boot.intr.high());
    boot.put(reg::LVT_TIMER + 3, 0x1_0700);
    lint0.set(true);
    assert!(!boot.intr.high());
    assert!(boot.apic.register_write(msr::APIC_BASE, 0xfee0_0100));
    assert_eq!(boot.take(), Some(8));
    let nmi = board.bus.lint(1);
    nmi.set(true);
    assert_eq!((boot.nmi.rises(), other.nmi.rises()), (1, 0));
    nmi.set(false);
    other.enable();
    other.put(reg::LVT_TIMER + 4, 0x400);
    nmi.set(true);
    assert_eq!(other.nmi.rises(), 1);
}

#[test]
fn lint0_level_is_asked_again_at_the_end() {
    let board = board(1);
    let cpu = &board.cpus[0];
    cpu.enable();
    cpu.put(reg::LVT_TIMER + 3, 0x8033);
    let line = board.bus.lint(0);
    line.set(true);
    assert_eq!(cpu.take(), Some(0x33));
    assert_eq!(cpu.get(reg::LVT_TIMER + 3), 0xc033);
    cpu.put(reg::EOI, 0);
    assert_eq!(cpu.take(), Some(0x33));
    line.set(false);
    cpu.put(reg::EOI, 0);
    assert!(!cpu.intr.high());
    assert_eq!(cpu.get(reg::LVT_TIMER + 3), 0x8033);
}

#[derive(Default)]
struct Ears(Mutex<Vec<u8>>);
impl EoiListener for Ears {
    fn end_of_interrupt(&self, vector: u8) {
        self.0.lock().push(vector);
    }
}

#[test]
fn end_of_a_level_is_broadcast_unless_suppressed() {
    let board = board(1);
    let ears = Arc::new(Ears::default());
    board
        .bus
        .listen(Arc::downgrade(&(ears.clone() as Arc<dyn EoiListener>)));
    let cpu = &board.cpus[0];
    cpu.enable();
    for (level, svr) in [(false, 0x1ff), (true, 0x1ff), (true, 0x11ff)] {
        cpu.put(reg::SVR, svr);
        board.bus.deliver(&Message {
            level,
            ..fixed(Destination::All, 0x60)
        });
        assert_eq!(cpu.take(), Some(0x60));
        cpu.put(reg::EOI, 0);
    }
    assert_eq!(*ears.0.lock(), [0x60]);
}

#[test]
fn message_signalled_interrupt_finds_its_processor() {
    let board = board(2);
    board.cpus.iter().for_each(Cpu::enable);
    board.bus.write(0xfee0_1000, 0x4051);
    assert_eq!(board.cpus[1].take(), Some(0x51));
    board.bus.write(0xfee0_0020, 0x51);
    board.bus.write(0xfed0_0000, 0x51);
    assert!(!board.cpus[0].intr.high());
    board.cpus[0].put(reg::LDR, 1 << 24);
    board.bus.write(0xfee0_100c, 0x152);
    assert_eq!(board.cpus[0].take(), Some(0x52));
    board.bus.write(0xfee0_0000, 0x400);
    assert_eq!(board.cpus[0].nmi.rises(), 1);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board(1);
    let cpu = &first.cpus[0];
    cpu.enable();
    cpu.put(reg::LVT_TIMER, 0x40);
    cpu.put(reg::DIVIDE, 0xb);
    cpu.put(reg::INITIAL_COUNT, 1000);
    first.bus.deliver(&fixed(Destination::All, 0x77));
    first.time.advance_to(400);
    let saved = cpu.apic.save();
    let other = board(1);
    other.time.advance_to(5_000);
    other.cpus[0].apic.restore(saved.clone()).unwrap();
    assert_eq!(other.time.deadlines(), [Some(5_600)]);
    assert_eq!(other.cpus[0].take(), Some(0x77));
    let mut wrong = saved;
    wrong.version = 2;
    assert!(other.cpus[0].apic.restore(wrong).is_err());
}

/// The window as a bus would have it, with the system registers behind it.
struct AsDevice(Arc<LocalApic>);
impl BusDevice for AsDevice {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        match offset.checked_sub(WINDOW_BYTES) {
            None => self.0.read(offset, width),
            Some(0) => self.0.register_read(msr::APIC_BASE).unwrap_or(0),
            Some(8) => self.0.register_read(msr::TSC_DEADLINE).unwrap_or(0),
            Some(at) => self.0.register_read(0x800 + at as u32).unwrap_or(0),
        }
    }
    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let _ = match offset.checked_sub(WINDOW_BYTES) {
            None => {
                self.0.write(offset, width, value);
                true
            }
            Some(0) => self
                .0
                .register_write(msr::APIC_BASE, 0xfee0_0000 | value & 0xd00),
            Some(8) => self.0.register_write(msr::TSC_DEADLINE, value),
            Some(at) => self.0.register_write(0x800 + at as u32, value),
        };
        self.0.acknowledge();
    }
    fn reset(&self) {
        self.0.reset();
    }
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board(2);
        for (step, part) in script.chunks(16).enumerate() {
            for cpu in &board.cpus {
                cpu.enable();
                crate::fuzzing::drive(&AsDevice(cpu.apic.clone()), WINDOW_BYTES + 0x100, part);
            }
            board.time.advance_to(step as u64 * 1_000_007);
            board.bus.write(0xfee0_0000 | step as u64, 0x30 + step as u32);
        }
        let cpu = &board.cpus[0];
        cpu.apic.reset();
        cpu.enable();
        board.bus.deliver(&fixed(Destination::Physical(0), 0x99));
        proptest::prop_assert_eq!(cpu.take(), Some(0x99));
    }
}
