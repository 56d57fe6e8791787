//! The core-local interruptor: software interrupts between harts, and the machine timer.

mod save;
pub mod spec;
mod time;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use vm_core::{AccessWidth, Alarm, Alarms, Clock, IrqLine};

pub use save::{SavedHart, SavedState};
pub use time::MachineTime;

use crate::BusDevice;
use spec::{MAX_HARTS, MSIP, MTIME, MTIMECMP};

/// The two inputs of a hart that a CLINT drives.
pub struct HartLines {
    /// Machine software interrupt (mip.MSIP).
    pub software: Arc<dyn IrqLine>,
    /// Machine timer interrupt (mip.MTIP).
    pub timer: Arc<dyn IrqLine>,
}

struct HartState {
    msip: bool,
    mtimecmp: u64,
}

impl HartState {
    /// The specification leaves `mtimecmp` undefined at reset; this value keeps MTIP low.
    const RESET: Self = Self {
        msip: false,
        mtimecmp: u64::MAX,
    };
}

struct Hart {
    state: Mutex<HartState>,
    lines: HartLines,
    alarm: Arc<dyn Alarm>,
    time: Arc<MachineTime>,
}

impl Hart {
    /// Drives both lines and sets the alarm for what is to come. Called under the hart's lock, so that levels
    /// arrive in order.
    fn drive(&self, state: &HartState) {
        self.lines.software.set(state.msip);
        self.drive_timer(state);
    }

    fn drive_timer(&self, state: &HartState) {
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
    harts: Vec<Arc<Hart>>,
    time: Arc<MachineTime>,
    time_set: RwLock<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl Clint {
    /// A CLINT after power-on, with `mtime` at zero. `alarms` must follow `clock`.
    ///
    /// # Panics
    /// When there are more than [`spec::MAX_HARTS`] harts.
    pub fn new(harts: Vec<HartLines>, clock: Arc<dyn Clock>, alarms: &dyn Alarms) -> Self {
        assert!(
            harts.len() <= MAX_HARTS,
            "invariant: a CLINT has at most 4095 harts"
        );
        let time = Arc::new(MachineTime::new(clock));
        let hart = |lines| {
            Arc::new_cyclic(|weak: &std::sync::Weak<Hart>| {
                let weak = weak.clone();
                let fire = move || {
                    if let Some(hart) = weak.upgrade() {
                        hart.drive_timer(&hart.state.lock());
                    }
                };
                Hart {
                    state: Mutex::new(HartState::RESET),
                    lines,
                    alarm: alarms.alarm(Box::new(fire)),
                    time: time.clone(),
                }
            })
        };
        let harts = harts.into_iter().map(hart).collect();
        Self {
            harts,
            time,
            time_set: RwLock::default(),
        }
    }

    /// The counter behind `mtime`, for the harts' `time` CSR and `stimecmp`.
    pub fn time(&self) -> &Arc<MachineTime> {
        &self.time
    }

    /// `mtime` now, in ticks of [`spec::TIMEBASE_HZ`]; takes no lock.
    pub fn mtime(&self) -> u64 {
        self.time.ticks()
    }

    /// Names who is told after `mtime` was set to another value (written, reset or restored), because what
    /// [`MachineTime::deadline_ns`] said before no longer holds.
    pub fn on_time_set(&self, told: Box<dyn Fn() + Send + Sync>) {
        self.time_set.write().push(told);
    }

    fn set_mtime(&self, ticks: u64) {
        self.time.set(ticks);
        for hart in &self.harts {
            hart.drive_timer(&hart.state.lock());
        }
        for told in self.time_set.read().iter() {
            told();
        }
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
            self.set_mtime(replace_part(self.mtime(), offset, width, value));
        }
    }

    fn reset(&self) {
        for hart in &self.harts {
            let mut state = hart.state.lock();
            *state = HartState::RESET;
            hart.drive(&state);
        }
        self.set_mtime(0);
    }
}

#[cfg(test)]
mod tests;
