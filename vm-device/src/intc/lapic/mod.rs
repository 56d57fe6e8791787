//! The local APIC of an x86 virtual CPU, xAPIC and x2APIC (Intel SDM 3A, chapter 11).
//!
//! What it is: [`LocalApic`], one for each virtual CPU, and [`ApicBus`], through which interrupts between virtual CPUs,
//! of I/O APICs and message-signalled ones find their destinations.
//!
//! What it refuses to do: system management interrupts, which are dropped, remote reads, and the arbitration of APICs
//! that were chips of their own.
//!
//! Data flow: device -> [`ApicBus`] -> request register -> line INTR of the virtual CPU ->
//! [`LocalIrq::acknowledge`] on its thread -> in service, until it writes the EOI register.
//!
//! Locks: each APIC has its own, which is never held while another APIC, an I/O APIC or the external controller is
//! called; they may hold theirs while they call an APIC.

mod bus;
mod registers;
mod save;
pub mod spec;
mod timer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine, LocalIrq, TASK_PRIORITY, TimeBase};

pub use bus::{ApicBus, Destination, EoiListener, Message};
pub use save::SavedState;

use registers::{Registers, has, highest, mode_of, put, x2apic_ldr};
use spec::*;
use timer::Mode;

/// Periods of the timer shorter than this are lengthened to it, so that a guest cannot keep the host's timer thread busy.
const SHORTEST_PERIOD_NS: u64 = 20_000;

/// The inputs of a virtual CPU that its local APIC drives.
pub struct ApicLines {
    /// A level: high while [`LocalIrq::acknowledge`] has an interrupt to give.
    pub intr: Arc<dyn IrqLine>,
    /// A pulse for each non-maskable interrupt.
    pub nmi: Arc<dyn IrqLine>,
    /// A pulse for each INIT. The virtual CPU calls [`LocalIrq::init`] when it takes it.
    pub init: Arc<dyn IrqLine>,
    /// A pulse for each start-up interrupt; [`LocalIrq::take_startup`] tells its vector.
    pub startup: Arc<dyn IrqLine>,
}

/// What the timer of a local APIC counts.
pub struct ApicTime<'a> {
    /// The virtual clock.
    pub clock: Arc<dyn Clock>,
    /// Alarms of that clock.
    pub alarms: &'a dyn Alarms,
    /// The time-stamp counter, for deadlines.
    pub tsc: Arc<TimeBase>,
    /// The clock that the timer divides; CPUID leaf 15H tells its frequency as the core crystal's. One for all local
    /// APICs of a machine; only APIC timers may be on it.
    pub timer: Arc<TimeBase>,
}

/// Who an APIC is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApicIdentity {
    /// Its id, as the MADT and CPUID tell it.
    pub id: u32,
    /// Whether its virtual CPU is the one that boots.
    pub bootstrap: bool,
    /// Bits of a physical address (CPUID leaf 80000008H).
    pub physical_bits: u8,
    /// Whether it has x2APIC mode (CPUID leaf 1, bit 21 of ECX).
    pub x2apic: bool,
}

struct Core {
    who: ApicIdentity,
    lines: ApicLines,
    bus: Arc<ApicBus>,
    clock: Arc<dyn Clock>,
    tsc: Arc<TimeBase>,
    time: Arc<TimeBase>,
    alarm: Arc<dyn Alarm>,
    registers: Mutex<Registers>,
    /// Where its window is, with bit 0, or zero when there is none: every access to a device asks.
    window: AtomicU64,
}

/// What remains to be done once the APIC's lock is free.
enum After {
    Nothing,
    Send(Message),
    Broadcast(u8),
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock()
    }

    fn matches(&self, to: Destination) -> bool {
        match to {
            Destination::Physical(id) => id == self.who.id || id == BROADCAST,
            Destination::Logical(destination) => self.lock().is_addressed(destination),
            Destination::All => true,
            Destination::Others(id) => id != self.who.id,
        }
    }

    /// By what destinations of a lowest-priority message are compared; `None` when it takes none.
    fn arbitration_priority(&self) -> Option<u8> {
        let registers = self.lock();
        let takes = registers.is_enabled() && registers.is_software_enabled();
        takes.then(|| registers.ppr())
    }

    /// Takes a message that is for it.
    fn accept(&self, message: &Message) {
        let mut registers = self.lock();
        if !registers.is_enabled() {
            return;
        }
        match message.mode {
            mode::FIXED | mode::LOWEST => self.fixed(&mut registers, message),
            mode::NMI => self.lines.nmi.pulse(),
            mode::INIT if message.assert => {
                registers.startup = None;
                self.lines.init.pulse();
            }
            mode::STARTUP => {
                registers.startup = Some(message.vector);
                self.lines.startup.pulse();
            }
            // Without a controller to ask, there is nothing to take.
            mode::EXT_INT => registers.ext_int = self.bus.external().is_some(),
            // System management mode does not exist here; the rest is reserved.
            _ => {}
        }
        self.drive(&registers);
    }

    fn fixed(&self, registers: &mut Registers, message: &Message) {
        let taken =
            !registers.is_software_enabled() || registers.request(message.vector, message.level);
        if !taken {
            self.error(registers, esr::RECEIVED_ILLEGAL_VECTOR);
        }
    }

    /// Puts the right level on INTR. Called under the lock, so that levels arrive in order.
    fn drive(&self, registers: &Registers) {
        let high = registers.external() || registers.deliverable().is_some();
        self.lines.intr.set(high);
        self.window.store(registers.window(), Ordering::Relaxed);
    }

    fn error(&self, registers: &mut Registers, error: u32) {
        // Only a new error interrupts, so that an illegal vector of the error interrupt itself does not for ever.
        if registers.note_error(error) {
            self.local(registers, lvt::ERROR);
        }
    }

    /// Lets a local source interrupt as its local vector says (11.5.1).
    fn local(&self, registers: &mut Registers, at: usize) {
        let entry = registers.lvt[at];
        if entry & lvt::MASKED != 0 || !registers.is_enabled() {
            return;
        }
        let level = at == lvt::LINT0 && entry & lvt::LEVEL != 0;
        match mode_of(entry) {
            mode::FIXED if level && entry & lvt::REMOTE_IRR != 0 => {}
            mode::FIXED => {
                if !registers.request(entry as u8, level) {
                    self.error(registers, esr::RECEIVED_ILLEGAL_VECTOR);
                } else if level {
                    registers.lvt[at] |= lvt::REMOTE_IRR;
                }
            }
            mode::NMI => self.lines.nmi.pulse(),
            mode::INIT => self.lines.init.pulse(),
            // An external controller's level is looked at where INTR is driven.
            _ => {}
        }
    }

    fn set_lint(&self, pin: usize, high: bool) {
        let mut registers = self.lock();
        if registers.lint[pin] == high {
            return;
        }
        registers.lint[pin] = high;
        if !registers.is_enabled() {
            // LINT1 is the processor's NMI then (11.4.3).
            if high && pin == 1 {
                self.lines.nmi.pulse();
            }
        } else if high {
            self.local(&mut registers, lvt::LINT0 + pin);
        }
        self.drive(&registers);
    }

    /// Lets the timer catch up with the clock, interrupting if it is due.
    fn catch_up(&self, registers: &mut Registers) {
        let due = match Mode::of(registers.lvt[lvt::TIMER]) {
            Mode::Deadline => {
                let deadline = registers.timer.deadline;
                let due = deadline != 0 && self.tsc.ticks() >= deadline;
                if due {
                    registers.timer.deadline = 0;
                }
                due
            }
            Mode::OneShot => registers.timer.expire(self.time.ticks(), false),
            Mode::Periodic => registers.timer.expire(self.time.ticks(), true),
            Mode::Reserved => false,
        };
        if due {
            self.local(registers, lvt::TIMER);
        }
    }

    /// Sets the host's alarm for the timer's end, if anyone would hear of it.
    fn arm(&self, registers: &Registers) {
        let entry = registers.lvt[lvt::TIMER];
        let timer = &registers.timer;
        let end = match Mode::of(entry) {
            _ if entry & lvt::MASKED != 0 => None,
            Mode::Deadline if timer.deadline != 0 => self.tsc.deadline_ns(timer.deadline),
            Mode::OneShot => timer.end().and_then(|end| self.time.deadline_ns(end)),
            Mode::Periodic => timer.end().and_then(|end| {
                let earliest = self.clock.now_ns().saturating_add(SHORTEST_PERIOD_NS);
                let short = self
                    .time
                    .deadline_ns(self.time.ticks().saturating_add(timer.period()));
                let at = self.time.deadline_ns(end)?;
                Some(if short.is_some_and(|short| short < earliest) {
                    at.max(earliest)
                } else {
                    at
                })
            }),
            Mode::Deadline | Mode::Reserved => None,
        };
        self.alarm.arm(end);
    }

    /// The alarm went off, or the time-stamp counter was set.
    fn on_alarm(&self) {
        let mut registers = self.lock();
        self.catch_up(&mut registers);
        self.arm(&registers);
        self.drive(&registers);
    }

    fn change_timer(&self, registers: &mut Registers, change: impl FnOnce(&mut Registers, u64)) {
        self.catch_up(registers);
        change(registers, self.time.ticks());
        self.catch_up(registers);
        self.arm(registers);
    }

    /// Ends the most urgent interrupt in service (11.8.5).
    fn end_of_interrupt(&self, registers: &mut Registers) -> After {
        let Some(vector) = highest(&registers.isr) else {
            return After::Nothing;
        };
        put(&mut registers.isr, vector, false);
        if !has(&registers.tmr, vector) {
            return After::Nothing;
        }
        let entry = registers.lvt[lvt::LINT0];
        if entry & lvt::REMOTE_IRR != 0 && entry as u8 == vector {
            registers.lvt[lvt::LINT0] &= !lvt::REMOTE_IRR;
            if registers.lint[0] {
                self.local(registers, lvt::LINT0);
            }
        }
        if registers.svr & svr::SUPPRESS_EOI_BROADCAST != 0 {
            After::Nothing
        } else {
            After::Broadcast(vector)
        }
    }

    /// What an interrupt command asks for (11.6.1).
    fn command(&self, registers: &mut Registers) -> After {
        let command = registers.icr;
        let asked = mode_of(command as u32);
        let vector = command as u8;
        let logical = command & icr::LOGICAL != 0;
        let to = match command >> icr::SHORTHAND_SHIFT & 3 {
            1 => Destination::Physical(self.who.id),
            2 => Destination::All,
            3 => Destination::Others(self.who.id),
            _ if !registers.is_x2apic() => {
                Destination::narrow((command >> icr::DESTINATION_SHIFT) as u32, logical)
            }
            _ if logical => Destination::Logical((command >> 32) as u32),
            _ => Destination::Physical((command >> 32) as u32),
        };
        if matches!(asked, mode::FIXED | mode::LOWEST) && vector < FIRST_VECTOR {
            self.error(registers, esr::SEND_ILLEGAL_VECTOR);
            return After::Nothing;
        }
        let deassert = command & (icr::LEVEL | icr::ASSERT) == icr::LEVEL;
        After::Send(Message {
            to,
            mode: asked,
            vector,
            // Between processors all interrupts are edges (11.6.1, "Trigger Mode").
            level: false,
            assert: asked != mode::INIT || !deassert,
        })
    }

    fn read(&self, registers: &mut Registers, register: u8) -> u32 {
        match register {
            reg::ID if registers.is_x2apic() => self.who.id,
            reg::ID => self.who.id << 24,
            reg::VERSION => VERSION,
            reg::TPR => registers.tpr.into(),
            reg::APR | reg::PPR => registers.ppr().into(),
            reg::LDR => registers.ldr,
            reg::DFR => registers.dfr,
            reg::SVR => registers.svr,
            reg::ISR..reg::TMR => registers.isr[usize::from(register - reg::ISR)],
            reg::TMR..reg::IRR => registers.tmr[usize::from(register - reg::TMR)],
            reg::IRR..reg::ESR => registers.irr[usize::from(register - reg::IRR)],
            reg::ESR => registers.esr,
            reg::LVT_CMCI => registers.lvt[lvt::CMCI],
            reg::ICR => registers.icr as u32,
            reg::ICR_HIGH => (registers.icr >> 32) as u32,
            reg::LVT_TIMER..=reg::LVT_ERROR => {
                registers.lvt[usize::from(register - reg::LVT_TIMER)]
            }
            reg::INITIAL_COUNT => registers.timer.initial,
            reg::CURRENT_COUNT => {
                self.catch_up(registers);
                match Mode::of(registers.lvt[lvt::TIMER]) {
                    Mode::OneShot | Mode::Periodic => registers.timer.current(self.time.ticks()),
                    Mode::Deadline | Mode::Reserved => 0,
                }
            }
            reg::DIVIDE => registers.timer.divide,
            // Write-only, or without meaning here.
            reg::EOI | reg::RRD | reg::SELF_IPI => 0,
            _ => {
                self.error(registers, esr::ILLEGAL_REGISTER);
                0
            }
        }
    }

    fn write(&self, registers: &mut Registers, register: u8, value: u32) -> After {
        match register {
            reg::TPR => registers.tpr = value as u8,
            reg::EOI => return self.end_of_interrupt(registers),
            reg::LDR => registers.ldr = value & 0xff00_0000,
            reg::DFR => registers.dfr = value | 0x0fff_ffff,
            reg::SVR => {
                registers.set_svr(value);
                self.arm(registers);
            }
            reg::ESR => registers.esr = std::mem::take(&mut registers.errors),
            reg::ICR => {
                let low = u64::from(value & icr::WRITABLE_LOW);
                registers.icr = registers.icr & !0xffff_ffff | low;
                return self.command(registers);
            }
            reg::ICR_HIGH => {
                let destination = u64::from(value & 0xff00_0000) << 32;
                registers.icr = registers.icr & 0xffff_ffff | destination;
            }
            reg::LVT_TIMER => self.change_timer(registers, |registers, _| {
                let before = Mode::of(registers.lvt[lvt::TIMER]);
                registers.set_lvt(lvt::TIMER, value);
                let after = Mode::of(registers.lvt[lvt::TIMER]);
                // To and from waiting for a time-stamp the timer is disarmed (11.5.4.1).
                if (before == Mode::Deadline) != (after == Mode::Deadline) {
                    registers.timer.stop();
                }
            }),
            reg::LVT_THERMAL..=reg::LVT_ERROR => {
                let at = usize::from(register - reg::LVT_TIMER);
                registers.set_lvt(at, value);
                if at == lvt::LINT0 && value & lvt::LEVEL != 0 && registers.lint[0] {
                    self.local(registers, at);
                }
            }
            reg::LVT_CMCI => registers.set_lvt(lvt::CMCI, value),
            reg::INITIAL_COUNT => self.change_timer(registers, |registers, now| {
                // Ignored while waiting for a time-stamp (11.5.4.1).
                if Mode::of(registers.lvt[lvt::TIMER]) != Mode::Deadline {
                    registers.timer.start(now, value);
                }
            }),
            reg::DIVIDE => self.change_timer(registers, |registers, now| {
                registers.timer.set_divide(now, value);
            }),
            // Read-only.
            reg::ID | reg::VERSION | reg::APR | reg::PPR | reg::RRD | reg::CURRENT_COUNT => {}
            reg::ISR..reg::ESR => {}
            _ => self.error(registers, esr::ILLEGAL_REGISTER),
        }
        After::Nothing
    }

    /// Writes in x2APIC mode what it has of its own (11.12.9, 11.12.11), the rest as ever.
    fn write_x2apic(&self, registers: &mut Registers, register: u8, value: u64) -> After {
        match register {
            reg::ICR => {
                let low = value & u64::from(icr::WRITABLE_LOW);
                registers.icr = value & !0xffff_ffff | low;
                self.command(registers)
            }
            reg::SELF_IPI if value as u8 >= FIRST_VECTOR => {
                registers.request(value as u8, false);
                After::Nothing
            }
            reg::SELF_IPI => {
                self.error(registers, esr::SEND_ILLEGAL_VECTOR);
                After::Nothing
            }
            _ => self.write(registers, register, value as u32),
        }
    }

    /// Writes IA32_APIC_BASE; false for a value or a change of mode that there is not (11.12.1, 11.12.5).
    fn set_base(&self, registers: &mut Registers, value: u64) -> bool {
        let page = 1 << base::ADDRESS_SHIFT;
        let address = (1u64 << self.who.physical_bits.clamp(32, 52)) - page;
        let x2apic = if self.who.x2apic { base::X2APIC } else { 0 };
        let known = address | base::BSP | x2apic | base::ENABLE;
        let modes = base::ENABLE | base::X2APIC;
        let change = (registers.base & modes, value & modes);
        let allowed = match change {
            (_, base::X2APIC) => false,
            (from, to) if from == to => true,
            (from, base::ENABLE) => from != modes,
            (from, to) if to == modes => from == base::ENABLE,
            _ => true,
        };
        if value & !known != 0 || !allowed {
            return false;
        }
        if change.0 != 0 && change.1 == 0 {
            // What is disabled forgets everything (11.4.3).
            registers.init(self.who.id);
            registers.startup = None;
            self.arm(registers);
        }
        registers.base = value;
        if registers.is_x2apic() && change.0 != modes {
            registers.ldr = x2apic_ldr(self.who.id);
            registers.icr &= 0xffff_ffff;
        }
        true
    }

    fn finish(&self, after: &After) {
        match after {
            After::Nothing => {}
            After::Send(message) => self.bus.deliver(message),
            After::Broadcast(vector) => self.bus.broadcast_eoi(*vector),
        }
    }

    /// Makes a change under the lock, then what follows from it without.
    fn with(&self, change: impl FnOnce(&mut Registers) -> After) {
        let mut registers = self.lock();
        let after = change(&mut registers);
        self.drive(&registers);
        drop(registers);
        self.finish(&after);
    }
}

/// Whether an x2APIC register exists, can be read, can be written, and which bits can (11.12.1.2, table 11-6).
fn x2apic_access(register: u8) -> Option<(bool, bool, u64)> {
    const LOW: u64 = 0xffff_ffff;
    Some(match register {
        reg::ID | reg::VERSION | reg::PPR | reg::LDR | reg::CURRENT_COUNT => (true, false, 0),
        reg::ISR..reg::ESR => (true, false, 0),
        reg::TPR => (true, true, 0xff),
        reg::EOI => (false, true, 0),
        reg::SVR => (true, true, svr::WRITABLE.into()),
        reg::ESR => (true, true, 0),
        reg::LVT_TIMER..=reg::LVT_ERROR => {
            let writable = lvt::WRITABLE[usize::from(register - reg::LVT_TIMER)];
            (true, true, u64::from(writable | lvt::REMOTE_IRR | 1 << 12))
        }
        reg::LVT_CMCI => (true, true, u64::from(lvt::WRITABLE[lvt::CMCI] | 1 << 12)),
        reg::ICR => (true, true, !LOW | u64::from(icr::WRITABLE_LOW)),
        reg::INITIAL_COUNT => (true, true, LOW),
        reg::DIVIDE => (true, true, 0xb),
        reg::SELF_IPI => (false, true, 0xff),
        _ => return None,
    })
}

/// The local APIC of one virtual CPU.
pub struct LocalApic {
    core: Arc<Core>,
}

impl LocalApic {
    /// An APIC after power-on that drives `lines` and exchanges messages over `bus`. The virtual CPU gets it as its
    /// [`LocalIrq`].
    pub fn new(
        who: ApicIdentity,
        lines: ApicLines,
        bus: &Arc<ApicBus>,
        time: &ApicTime<'_>,
    ) -> Arc<Self> {
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            let due = |weak: Weak<Core>| {
                move || {
                    if let Some(core) = weak.upgrade() {
                        core.on_alarm();
                    }
                }
            };
            for base in [&time.tsc, &time.timer] {
                base.on_set(Box::new(due(weak.clone())));
            }
            Core {
                who,
                lines,
                bus: bus.clone(),
                clock: time.clock.clone(),
                tsc: time.tsc.clone(),
                time: time.timer.clone(),
                alarm: time.alarms.alarm(Box::new(due(weak.clone()))),
                registers: Mutex::new(Registers::power_on(who.bootstrap)),
                window: AtomicU64::new(Registers::power_on(who.bootstrap).window()),
            }
        });
        bus.join(&core);
        Arc::new(Self { core })
    }

    /// Puts it into its state after power-on; the levels of its inputs stay, as they are wires.
    pub fn reset(&self) {
        self.core.with(|registers| {
            let lint = registers.lint;
            *registers = Registers::power_on(self.core.who.bootstrap);
            registers.lint = lint;
            self.core.arm(registers);
            After::Nothing
        });
    }
}

impl LocalIrq for LocalApic {
    fn acknowledge(&self) -> Option<u32> {
        let core = &*self.core;
        let mut registers = core.lock();
        if registers.external()
            && let Some(external) = core.bus.external()
        {
            registers.ext_int = false;
            core.drive(&registers);
            drop(registers);
            return Some(external.acknowledge().into());
        }
        let vector = registers.deliverable()?;
        put(&mut registers.irr, vector, false);
        put(&mut registers.isr, vector, true);
        core.drive(&registers);
        Some(vector.into())
    }

    fn take_startup(&self) -> Option<u32> {
        self.core.lock().startup.take().map(u32::from)
    }

    fn init(&self) {
        self.core.with(|registers| {
            registers.init(self.core.who.id);
            self.core.arm(registers);
            After::Nothing
        });
    }

    fn window(&self) -> Option<(u64, u64)> {
        let page = self.core.window.load(Ordering::Relaxed);
        (page & 1 != 0).then_some((page & !1, WINDOW_BYTES))
    }

    /// Registers are read by accesses of up to four bytes in the first four of their sixteen (11.4.1).
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let within = offset & 0xf;
        if offset >= WINDOW_BYTES || within + width.bytes().min(4) > 4 {
            return 0;
        }
        let mut registers = self.core.lock();
        let value = self.core.read(&mut registers, (offset >> 4) as u8);
        self.core.drive(&registers);
        u64::from(value) >> (within * 8) & width.mask()
    }

    /// Registers are written by aligned four-byte accesses (11.4.1); others are ignored.
    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if offset >= WINDOW_BYTES || offset & 0xf != 0 || width != AccessWidth::Word {
            return;
        }
        self.core.with(|registers| {
            self.core
                .write(registers, (offset >> 4) as u8, value as u32)
        });
    }

    fn register_read(&self, register: u32) -> Option<u64> {
        let mut registers = self.core.lock();
        match register {
            msr::APIC_BASE => Some(registers.base),
            TASK_PRIORITY => Some(u64::from(registers.tpr >> 4)),
            msr::TSC_DEADLINE => {
                self.core.catch_up(&mut registers);
                self.core.drive(&registers);
                Some(registers.timer.deadline)
            }
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if registers.is_x2apic() => {
                let register = (register - msr::X2APIC_FIRST) as u8;
                let (readable, ..) = x2apic_access(register)?;
                if !readable {
                    return None;
                }
                if register == reg::ICR {
                    return Some(registers.icr);
                }
                Some(self.core.read(&mut registers, register).into())
            }
            _ => None,
        }
    }

    fn register_write(&self, register: u32, value: u64) -> bool {
        let core = &*self.core;
        let mut registers = core.lock();
        let after = match register {
            msr::APIC_BASE => {
                if !core.set_base(&mut registers, value) {
                    return false;
                }
                After::Nothing
            }
            TASK_PRIORITY => {
                registers.tpr = (value as u8) << 4;
                After::Nothing
            }
            msr::TSC_DEADLINE => {
                core.change_timer(&mut registers, |registers, _| {
                    if Mode::of(registers.lvt[lvt::TIMER]) == Mode::Deadline {
                        registers.timer.deadline = value;
                    }
                });
                After::Nothing
            }
            msr::X2APIC_FIRST..=msr::X2APIC_LAST if registers.is_x2apic() => {
                let register = (register - msr::X2APIC_FIRST) as u8;
                match x2apic_access(register) {
                    Some((_, true, writable)) if value & !writable == 0 => {}
                    _ => return false,
                }
                core.write_x2apic(&mut registers, register, value)
            }
            _ => return false,
        };
        core.drive(&registers);
        drop(registers);
        core.finish(&after);
        true
    }
}

#[cfg(test)]
mod tests;
