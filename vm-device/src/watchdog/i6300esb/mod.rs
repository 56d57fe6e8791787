//! The watchdog of Intel's 6300ESB, which QEMU's guests know: a first stage that interrupts, a second that restarts.

pub mod spec;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine};

use crate::pci::spec::{command, reg};
use crate::pci::{BarKind, ConfigSpace, Identity, IntxPin, Mapping, PciFunction};
use crate::power::{SystemEvent, SystemEvents};
use spec::*;

struct State {
    config: ConfigSpace,
    preload: [u32; 2],
    /// How many of the unlocking values came.
    unlocked: usize,
    /// 0 or 1 while it runs, and when the stage ends.
    stage: Option<(usize, u64)>,
    interrupt: bool,
    timed_out: bool,
}

struct Core {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    alarm: Arc<dyn Alarm>,
    pin: Arc<IntxPin>,
    events: SystemEvents,
}

impl State {
    fn power_on(mut config: ConfigSpace, timed_out: bool) -> Self {
        config.reset();
        Self {
            config,
            preload: [PRELOAD_MASK; 2],
            unlocked: 0,
            stage: None,
            interrupt: false,
            timed_out,
        }
    }

    fn lock(&self) -> u8 {
        self.config.read(LOCK, AccessWidth::Byte) as u8
    }

    fn configuration(&self) -> u16 {
        self.config.read_u16(CONFIGURATION)
    }
}

impl Core {
    fn begin(&self, state: &mut State, stage: usize) {
        let shift = if state.configuration() & FAST != 0 {
            FAST_SHIFT
        } else {
            SLOW_SHIFT
        };
        let count = u64::from(state.preload[stage].max(1)) << shift;
        let end = self.clock.now_ns().saturating_add(count * CLOCK_NS);
        state.stage = Some((stage, end));
        self.alarm.arm(Some(end));
    }

    fn restart(&self, state: &mut State) {
        let free = state.lock() & FREE_RUNNING != 0;
        self.begin(state, usize::from(free));
    }

    fn stop(&self, state: &mut State) {
        state.stage = None;
        self.alarm.arm(None);
    }

    fn on_alarm(&self) {
        let mut state = self.state.lock();
        let now = self.clock.now_ns();
        let Some((stage, _)) = state.stage.filter(|&(_, end)| end <= now) else {
            return;
        };
        if stage == 0 {
            if state.configuration() & INTERRUPT_TYPE == 0 {
                state.interrupt = true;
                self.pin.set(true);
            }
            return self.begin(&mut state, 1);
        }
        let resets = state.configuration() & NO_RESET == 0;
        if state.lock() & FREE_RUNNING != 0 && !resets {
            self.begin(&mut state, 1);
        } else {
            self.stop(&mut state);
        }
        state.timed_out = true;
        drop(state);
        if resets {
            (self.events)(SystemEvent::Reset);
        }
    }

    fn write(&self, offset: u64, value: u32) {
        let mut state = self.state.lock();
        let unlocked = state.unlocked == UNLOCK.len();
        let next = UNLOCK.get(state.unlocked);
        if offset == RELOAD && !unlocked && next.is_some_and(|&next| value == u32::from(next)) {
            state.unlocked += 1;
            return;
        }
        state.unlocked = 0;
        match offset {
            INTERRUPT_STATUS if value & 1 != 0 => {
                state.interrupt = false;
                self.pin.set(false);
            }
            PRELOAD_1 | PRELOAD_2 if unlocked => {
                state.preload[usize::from(offset == PRELOAD_2)] = value & PRELOAD_MASK;
            }
            RELOAD if unlocked => {
                if value as u16 & TIMED_OUT != 0 {
                    state.timed_out = false;
                }
                if value as u16 & RELOAD_NOW != 0 && state.stage.is_some() {
                    self.restart(&mut state);
                }
            }
            _ => {}
        }
    }
}

/// The watchdog as a PCI function.
pub struct I6300Esb {
    core: Arc<Core>,
}

impl I6300Esb {
    /// A watchdog that counts by `clock`, which `alarms` must follow; `intx` is [`crate::pci::PciRoot::intx`] of its slot.
    pub fn new(
        clock: Arc<dyn Clock>,
        alarms: &dyn Alarms,
        intx: Arc<dyn IrqLine>,
        events: SystemEvents,
    ) -> Arc<Self> {
        let kind = BarKind::Memory32 {
            prefetchable: false,
        };
        let mut config = ConfigSpace::new(Identity {
            vendor: ID.0,
            device: ID.1,
            revision: 0,
            class: CLASS,
            subsystem: (0x1af4, 0x1100),
        })
        .with_interrupt_pin(0)
        .with_bar(BAR, kind, BAR_BYTES);
        config.add_register(
            CONFIGURATION,
            &[0; 2],
            &(INTERRUPT_TYPE | FAST | NO_RESET).to_le_bytes(),
        );
        config.add_register(LOCK, &[0], &[LOCKED | ENABLED | FREE_RUNNING]);
        let core = Arc::new_cyclic(|weak: &Weak<Core>| {
            let weak = weak.clone();
            let fire = move || {
                if let Some(core) = weak.upgrade() {
                    core.on_alarm();
                }
            };
            Core {
                state: Mutex::new(State::power_on(config, false)),
                clock,
                alarm: alarms.alarm(Box::new(fire)),
                pin: IntxPin::new(intx),
                events,
            }
        });
        Arc::new(Self { core })
    }
}

impl PciFunction for I6300Esb {
    fn read_config(&self, offset: u16, width: AccessWidth) -> u32 {
        self.core.state.lock().config.read(offset, width)
    }

    fn write_config(&self, offset: u16, width: AccessWidth, value: u32) {
        let mut state = self.core.state.lock();
        let before = state.lock();
        let touches_lock = offset <= LOCK && LOCK < offset + width.bytes() as u16;
        if touches_lock && before & LOCKED != 0 {
            return;
        }
        state.config.write(offset, width, value);
        if touches_lock {
            match (before & ENABLED != 0, state.lock() & ENABLED != 0) {
                (false, true) => self.core.restart(&mut state),
                (true, false) => self.core.stop(&mut state),
                _ => {}
            }
        }
        if offset < reg::STATUS {
            let off = state.config.command() & command::INTX_DISABLE != 0;
            self.core.pin.set_disabled(off);
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.core.state.lock().config.mappings().collect()
    }

    fn read_bar(&self, _bar: u8, offset: u64, width: AccessWidth) -> u64 {
        let state = self.core.state.lock();
        let value = match offset & !3 {
            INTERRUPT_STATUS => u64::from(state.interrupt),
            RELOAD if state.timed_out => TIMED_OUT.into(),
            // The counts cannot be read.
            _ => 0,
        };
        value >> (8 * (offset & 3)) & width.mask()
    }

    fn write_bar(&self, _bar: u8, offset: u64, _width: AccessWidth, value: u64) {
        self.core.write(offset, value as u32);
    }

    /// That it has run out stays to be read after the restart.
    fn reset(&self) {
        let mut state = self.core.state.lock();
        self.core.stop(&mut state);
        *state = State::power_on(state.config.clone(), state.timed_out);
        self.core.pin.set(false);
        self.core.pin.set_disabled(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::recorded;
    use crate::testing::{Level, ManualTime};
    use AccessWidth::{Byte, Half, Word};

    struct Board {
        dog: Arc<I6300Esb>,
        time: Arc<ManualTime>,
        irq: Arc<Level>,
        log: Arc<Mutex<Vec<SystemEvent>>>,
    }

    fn board() -> Board {
        let (time, irq) = (Arc::new(ManualTime::default()), Arc::new(Level::default()));
        let (events, log) = recorded();
        Board {
            dog: I6300Esb::new(time.clone(), &*time, irq.clone(), events),
            time,
            irq,
            log,
        }
    }

    impl Board {
        fn unlocked(&self, offset: u64, value: u64) {
            for value in UNLOCK {
                self.dog.write_bar(0, RELOAD, Half, value.into());
            }
            self.dog.write_bar(0, offset, Word, value);
        }
    }

    /// As Linux sets it up: half of the time for each stage.
    #[test]
    fn watchdog_interrupts_then_restarts_unless_reloaded() {
        let board = board();
        board.dog.write_bar(0, PRELOAD_1, Word, 5);
        board.unlocked(PRELOAD_1, 1 << 10);
        board.unlocked(PRELOAD_2, 1 << 10);
        board.dog.write_config(LOCK, Byte, 2);
        let stage = CLOCK_NS << 25;
        assert_eq!(board.time.deadlines(), [Some(stage)]);
        board.time.advance_to(stage / 2);
        board.unlocked(RELOAD, RELOAD_NOW.into());
        assert_eq!(board.time.deadlines(), [Some(stage + stage / 2)]);
        board.time.advance_to(stage * 2);
        assert!(board.irq.high());
        board.dog.write_bar(0, INTERRUPT_STATUS, Word, 1);
        assert!(!board.irq.high() && board.log.lock().is_empty());
        board.time.advance_to(stage * 3);
        assert_eq!(*board.log.lock(), [SystemEvent::Reset]);
        board.dog.reset();
        assert_eq!(board.dog.read_bar(0, RELOAD, Half), u64::from(TIMED_OUT));
        assert_eq!(board.time.deadlines(), [None]);
    }

    #[test]
    fn lock_ends_writes_to_itself() {
        let board = board();
        board.dog.write_config(LOCK, Byte, 3);
        board.dog.write_config(LOCK, Byte, 0);
        assert_eq!(board.dog.read_config(LOCK, Byte), 3);
        assert!(board.time.deadlines()[0].is_some());
    }

    proptest::proptest! {
        #[test]
        fn random_accesses_never_panic(script: Vec<(u8, u32)>) {
            let board = board();
            for (step, (at, value)) in script.into_iter().enumerate() {
                board.dog.write_config(u16::from(at) & 0xfc, Word, value);
                board.dog.write_bar(0, u64::from(at & 15), Word, value.into());
                board.dog.read_bar(0, u64::from(at & 15), Byte);
                board.time.advance_to(step as u64 * 1_000_000_007);
            }
            board.dog.reset();
            proptest::prop_assert_eq!(board.dog.read_config(0, Word), 0x25ab_8086);
        }
    }
}
