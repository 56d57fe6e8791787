//! The system architecture: privilege, segments, paging, exceptions, interrupts, control and model-specific registers.
//!
//! Blocks reach it through the helpers of [`HELPERS`]; the engine through [`crate::Guest`], which [`X86`] implements.
//!
//! - [`fields`], [`exception`]: bits and numbers.
//! - [`rflags`], [`descriptor`], [`segment`], [`stack`]: what everything else uses.
//! - `deliver`, `iret`, `far`, `fast`, `task`: changes of privilege and of the program counter.
//! - `control`, `debug`, `msr`, `identity`, `ports`: registers.
//! - `paging`: address spaces. `interrupts`: what comes from outside. `reset`: how it starts.
//!
//! A helper that fails leaves the state as it was. `shape` arguments have the operand's bytes in bits 0 to 7, and the
//! instruction's in bits 8 to 15.

mod control;
mod debug;
mod deliver;
mod descriptor;
pub mod exception;
mod far;
mod fast;
pub mod fields;
mod guest;
mod identity;
mod interrupts;
mod iret;
mod msr;
mod paging;
mod ports;
mod reset;
pub mod rflags;
mod segment;
mod stack;
mod task;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use guest::X86;
pub use paging::inspect;
pub use reset::Entry;

use vm_ir::Effects;

use super::helpers::{Handler, Row};

const R: Effects = Effects::READS_STATE;
const S: Effects = R.and(Effects::WRITES_STATE);
const F: Effects = Effects::MAY_FAULT;
const M: Effects = Effects::READS_MEMORY.and(Effects::WRITES_MEMORY);
const RF: Effects = R.and(F);
const RFM: Effects = RF.and(M);
const SF: Effects = S.and(F);
const SFM: Effects = SF.and(M);

const fn row(name: &'static str, effects: Effects, handler: Handler) -> Row {
    Row {
        name,
        effects,
        handler,
    }
}

/// This family's helpers.
pub(super) const HELPERS: &[Row] = &[
    row(
        "pause",
        Effects::NONE.and(Effects::MAY_EXIT),
        interrupts::pause,
    ),
    row("segment", RF, segment::segment),
    row("code_target", RF, segment::code_target),
    row("load_segment", SFM, segment::load_segment),
    row("far_jump", SFM, far::far_jump),
    row("far_call", SFM, far::far_call),
    row("far_return", SFM, far::far_return),
    row("iret", SFM, iret::iret),
    row("interrupt", SFM, deliver::interrupt),
    row("syscall", SFM, fast::syscall),
    row("sysret", SFM, fast::sysret),
    row("sysenter", SFM, fast::sysenter),
    row("sysexit", SFM, fast::sysexit),
    row("write_flags", SF, rflags::write_flags),
    row("read_flags", RF, rflags::read_flags),
    row("cli", SF, rflags::cli),
    row("sti", SF, rflags::sti),
    row("sti_within", SF, rflags::sti_within),
    row("stac", S, rflags::stac),
    row("clac", S, rflags::clac),
    row("clts", S, control::clts),
    row("read_control", RF, control::read_control),
    row("write_control", SFM, control::write_control),
    row("read_debug", SF, debug::read_debug),
    row("write_debug", SF, debug::write_debug),
    row("smsw", RF, task::smsw),
    row("lmsw", SF, control::lmsw),
    row("read_msr", SF, msr::read_msr),
    row("write_msr", SFM, msr::write_msr),
    row("read_pmc", RF, identity::read_pmc),
    row("read_tsc", RF, identity::read_tsc),
    row("read_tsc_aux", R, identity::read_tsc_aux),
    row("cpuid", S, identity::cpuid),
    row("read_xcr", RF, control::read_xcr),
    row("write_xcr", SF, control::write_xcr),
    row("load_table", SF, task::load_table),
    row("store_table", RF, task::store_table),
    row("load_ldt", SFM, task::load_ldt),
    row("load_task", SFM, task::load_task),
    row("store_ldt", RF, task::store_ldt),
    row("store_task", RF, task::store_task),
    row("access_rights", RFM, segment::access_rights),
    row("segment_limit", RFM, segment::segment_limit),
    row("verify_read", RFM, segment::verify_read),
    row("verify_write", RFM, segment::verify_write),
    row("invalidate_page", SF, paging::invalidate_page),
    row("invalidate_pcid", SF, paging::invalidate_pcid),
    row("invalidate_caches", S, paging::invalidate_caches),
    row("halt", S, interrupts::halt),
    row("monitor", SF, identity::missing),
    row("mwait", SF, identity::missing),
    row("check_fsgsbase", RF, segment::check_fsgsbase),
    row("write_segment_base", SF, segment::write_segment_base),
    row("port_in", SFM, ports::port_in),
    row("port_out", SFM, ports::port_out),
    row("port_check", SFM, ports::port_check),
    row("random", R, identity::random),
    row("rsm", SFM, identity::missing),
    row("breakpoint", RF, debug::breakpoint),
    row("retire", S, debug::retire),
];
