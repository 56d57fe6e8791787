//! Counters and who may read them (RISC-V Priv 1.13, 3.1.10 to 3.1.12; RISC-V Unpriv 20240411, chapter 7).
//!
//! A cycle is an instruction. The event counters 3 to 31 count nothing and read as zero.

use crate::riscv::isa::{Extension, IsaConfig};
use crate::riscv::state::HartState;
use crate::riscv::sys::Hart;
use crate::riscv::sys::fields::privilege;

use super::{Update, View};

/// Bits of `mcounteren`, `scounteren` and `mcountinhibit`.
const CYCLE: u32 = 0;
pub(super) const TIME: u32 = 1;
const INSTRET: u32 = 2;

const INHIBITABLE: u64 = 1 << CYCLE | 1 << INSTRET;

/// Whether the current privilege may read counter `n`.
pub(super) fn is_open(state: &HartState, n: u32) -> bool {
    let machine = state.privilege == privilege::M || state.mcounteren >> n & 1 != 0;
    let supervisor = state.privilege != privilege::U || state.scounteren >> n & 1 != 0;
    machine && supervisor
}

fn value(stored: u64, counter: u32, state: &HartState, retired: u64) -> u64 {
    if state.mcountinhibit >> counter & 1 != 0 {
        stored
    } else {
        stored.wrapping_add(retired)
    }
}

pub(super) fn read_cycle(view: &View<'_>, _: u16) -> u64 {
    value(view.state.mcycle, CYCLE, view.state, view.inputs.retired())
}

pub(super) fn read_instret(view: &View<'_>, _: u16) -> u64 {
    value(
        view.state.minstret,
        INSTRET,
        view.state,
        view.inputs.retired(),
    )
}

/// What a counter must store so that the next instruction reads `value`: a write replaces the increment of its own
/// instruction (RISC-V Priv 1.13, 3.1.10).
fn stored(hart: &Hart<'_>, counter: u32, value: u64) -> u64 {
    if hart.state.mcountinhibit >> counter & 1 != 0 {
        value
    } else {
        value.wrapping_sub(hart.env.retired().wrapping_add(1))
    }
}

pub(super) fn write_mcycle(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.mcycle = stored(hart, CYCLE, update.value);
}

pub(super) fn write_minstret(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.minstret = stored(hart, INSTRET, update.value);
}

/// Counters go on from where they stand after this instruction, which still counts as the old value says.
pub(super) fn write_mcountinhibit(hart: &mut Hart<'_>, _: u16, update: Update) {
    let next = hart.env.retired().wrapping_add(1);
    let cycle = value(hart.state.mcycle, CYCLE, hart.state, next);
    let instret = value(hart.state.minstret, INSTRET, hart.state, next);
    hart.state.mcountinhibit = update.value & INHIBITABLE;
    hart.state.mcycle = stored(hart, CYCLE, cycle);
    hart.state.minstret = stored(hart, INSTRET, instret);
}

/// The bits of `mcounteren` and `scounteren` that stand for counters which exist.
pub(in crate::riscv::sys) fn enable_mask(config: &IsaConfig) -> u64 {
    let base = if config.has(Extension::Zicntr) || config.has(Extension::Sstc) {
        0x7
    } else {
        0
    };
    let events = if config.has(Extension::Zihpm) {
        0xffff_fff8
    } else {
        0
    };
    base | events
}

pub(super) fn write_mcounteren(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.mcounteren = update.value & enable_mask(hart.config);
}

pub(super) fn write_scounteren(hart: &mut Hart<'_>, _: u16, update: Update) {
    hart.state.scounteren = update.value & enable_mask(hart.config);
}
