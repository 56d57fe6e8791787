//! The core-local interruptor: software interrupts between harts, and the machine timer.

mod save;
pub mod spec;

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, Alarm, Alarms, IrqLine, TimeBase};

pub use save::{SavedHart, SavedState};

use crate::BusDevice;
use spec::{MAX_HARTS, MSIP, MTIME, MTIMECMP};

/// The two inputs of a hart that a CLINT drives.
pub struct HartLines {
    /// Machine software interrupt (mip.MSIP).
    pub software: Arc<dyn IrqLine>,
    /// Machine timer interrupt (mip.MTIP).
    pub timer: Arc<dyn IrqLine>,
}

struct HartRegisters {
    msip: bool,
    mtimecmp: u64,
}

impl HartRegisters {
    /// The specification leaves `mtimecmp` undefined at reset; this value keeps MTIP low.
    const RESET: Self = Self {
        msip: false,
        mtimecmp: u64::MAX,
    };
}

struct Hart {
    state: Mutex<HartRegisters>,
    lines: HartLines,
    alarm: Arc<dyn Alarm>,
    time: Arc<TimeBase>,
}

impl Hart {
    /// Drives both lines and sets the alarm for what is to come. Called under the hart's lock, so that levels
    /// arrive in order.
    fn drive(&self, state: &HartRegisters) {
        self.lines.software.set(state.msip);
        self.drive_timer(state);
    }

    fn drive_timer(&self, state: &HartRegisters) {
        let due = self.time.ticks() >= state.mtimecmp;
        self.lines.timer.set(due);
        self.alarm.arm(if due {
            None
        } else {
            self.time.deadline_ns(state.mtimecmp)
        });
    }
}

/// A CLINT. `msip` answers aligned four-byte accesses, `mtimecmp` and `mtime` aligned four- and eight-byte ones;
/// others read as zero and are ignored.
pub struct Clint {
    harts: Arc<[Arc<Hart>]>,
    time: Arc<TimeBase>,
}

impl Clint {
    /// A CLINT after power-on, whose `mtime` is the machine's time base: others that show it see what is written
    /// here. `alarms` must follow the clock of `time`.
    ///
    /// # Panics
    /// When there are more than [`spec::MAX_HARTS`] harts.
    pub fn new(harts: Vec<HartLines>, time: Arc<TimeBase>, alarms: &dyn Alarms) -> Self {
        assert!(
            harts.len() <= MAX_HARTS,
            "invariant: a CLINT has at most 4095 harts"
        );
        let hart = |lines| {
            Arc::new_cyclic(|weak: &std::sync::Weak<Hart>| {
                let weak = weak.clone();
                let fire = move || {
                    if let Some(hart) = weak.upgrade() {
                        hart.drive_timer(&hart.state.lock());
                    }
                };
                Hart {
                    state: Mutex::new(HartRegisters::RESET),
                    lines,
                    alarm: alarms.alarm(Box::new(fire)),
                    time: time.clone(),
                }
            })
        };
        let harts: Arc<[_]> = harts.into_iter().map(hart).collect();
        let weak = Arc::downgrade(&harts);
        time.on_set(Box::new(move || {
            let harts = weak.upgrade();
            for hart in harts.iter().flat_map(|harts| harts.iter()) {
                hart.drive_timer(&hart.state.lock());
            }
        }));
        Self { harts, time }
    }

    /// `mtime` now, in ticks; takes no lock.
    pub fn mtime(&self) -> u64 {
        self.time.ticks()
    }

    fn hart_at(&self, offset: u64, base: u64, bytes: u64) -> Option<&Arc<Hart>> {
        self.harts.get(((offset - base) / bytes) as usize)
    }
}

/// The part of a 64-bit register that an aligned access of `width` at `offset` reads.
fn part(register: u64, offset: u64, width: AccessWidth) -> u64 {
    register >> ((offset & 7) * 8) & width.mask()
}

/// The 64-bit register after such an access wrote `value` to its part.
fn replace_part(register: u64, offset: u64, width: AccessWidth, value: u64) -> u64 {
    let shift = (offset & 7) * 8;
    register & !(width.mask() << shift) | (value & width.mask()) << shift
}

fn supported(offset: u64, width: AccessWidth) -> bool {
    let whole = offset.is_multiple_of(width.bytes());
    match width {
        AccessWidth::Word => whole,
        AccessWidth::Double => whole && offset >= MTIMECMP,
        _ => false,
    }
}

impl BusDevice for Clint {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        if !supported(offset, width) {
            return 0;
        }
        if offset < MTIMECMP {
            let hart = self.hart_at(offset, MSIP, 4);
            hart.map_or(0, |hart| u64::from(hart.state.lock().msip))
        } else if offset < MTIME {
            let hart = self.hart_at(offset, MTIMECMP, 8);
            hart.map_or(0, |hart| part(hart.state.lock().mtimecmp, offset, width))
        } else if offset < MTIME + 8 {
            part(self.mtime(), offset, width)
        } else {
            0
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        if !supported(offset, width) {
            return;
        }
        if offset < MTIMECMP {
            if let Some(hart) = self.hart_at(offset, MSIP, 4) {
                let mut state = hart.state.lock();
                state.msip = value & 1 != 0;
                hart.lines.software.set(state.msip);
            }
        } else if offset < MTIME {
            if let Some(hart) = self.hart_at(offset, MTIMECMP, 8) {
                let mut state = hart.state.lock();
                state.mtimecmp = replace_part(state.mtimecmp, offset, width, value);
                hart.drive_timer(&state);
            }
        } else if offset < MTIME + 8 {
            self.time
                .set(replace_part(self.mtime(), offset, width, value));
        }
    }

    /// `mtime` starts at zero again, and with it every view of the time base, as after power-on. The specification
    /// leaves its value open (RISC-V Priv 1.13, 3.4).
    fn reset(&self) {
        for hart in self.harts.iter() {
            let mut state = hart.state.lock();
            *state = HartRegisters::RESET;
            hart.drive(&state);
        }
        self.time.set(0);
    }
}

#[cfg(test)]
mod tests;
