//! The table of registers, by number (RISC-V Priv 1.13, 2.2).

use std::mem::offset_of;

use super::{
    Gate, InBlock, Row, Update, View, counters, environment, interrupts, memory, status,
    trap_records,
};
use crate::riscv::isa::Extension;
use crate::riscv::state::HartState;
use crate::riscv::sys::Hart;

use Gate::{Counter, Environment, Float, PmpAddr, PmpCfg, StateEnable, TimerCompare, Translation};
use InBlock::{Address, Reads, ReadsAndCloses, Word};

fn zero(_: &View<'_>, _: u16) -> u64 {
    0
}

fn ignore(_: &mut Hart<'_>, _: u16, _: Update) {}

macro_rules! rows {
    ($($first:literal $name:literal $([$index:literal; $count:literal])?:
        $gate:expr, $read:expr, $write:expr $(, $block:expr)?;)*) => {
        /// Every register, lowest number first.
        pub(super) const ROWS: &[Row] = &[$(Row {
            block: rows!(@block $($block)?),
            ..rows!(@row $first, $name, [$($index; $count)?], $gate, $read, $write)
        }),*];
    };
    (@block) => { InBlock::Ends };
    (@block $block:expr) => { $block };
    (@row $first:literal, $name:literal, [], $gate:expr, $read:expr, $write:expr) => {
        rows!(@row $first, $name, [0; 1], $gate, $read, $write)
    };
    (@row $first:literal, $name:literal, [$index:literal; $count:literal], $gate:expr, $read:expr, $write:expr) => {
        Row {
            first: $first,
            count: $count,
            name: $name,
            first_index: $index,
            gate: $gate,
            read: $read,
            write: $write,
            block: InBlock::Ends,
        }
    };
}

/// How a register that is one field of the state is read.
macro_rules! field {
    ($field:ident) => {
        |view, _| view.state.$field
    };
}

rows! {
    // number name [first index; count]: gate, read, write, what a block does itself
    0x001 "fflags": Float, status::read_fflags, status::write_fflags, Reads;
    0x002 "frm": Float, status::read_frm, status::write_frm, Reads;
    0x003 "fcsr": Float, status::read_fcsr, status::write_fcsr, Reads;

    0x100 "sstatus": Gate::None, status::read_sstatus, status::write_sstatus, ReadsAndCloses;
    0x104 "sie": Gate::None, interrupts::read_sie, interrupts::write_sie;
    0x105 "stvec": Gate::None, field!(stvec), trap_records::write_stvec;
    0x106 "scounteren": Gate::None, field!(scounteren), counters::write_scounteren;
    0x10a "senvcfg": Environment, field!(senvcfg), environment::write_senvcfg;
    0x10c "sstateen" [0; 4]: StateEnable, zero, ignore;
    0x140 "sscratch": Gate::None, field!(sscratch), |h, _, u| h.state.sscratch = u.value, Word(offset_of!(HartState, sscratch));
    0x141 "sepc": Gate::None, field!(sepc), trap_records::write_sepc, Address(offset_of!(HartState, sepc));
    0x142 "scause": Gate::None, field!(scause), |h, _, u| h.state.scause = u.value, Word(offset_of!(HartState, scause));
    0x143 "stval": Gate::None, field!(stval), |h, _, u| h.state.stval = u.value, Word(offset_of!(HartState, stval));
    0x144 "sip": Gate::None, interrupts::read_sip, interrupts::write_sip;
    0x14d "stimecmp": TimerCompare, field!(stimecmp), environment::write_stimecmp;
    0x180 "satp": Translation, field!(satp), memory::write_satp, Reads;

    0x300 "mstatus": Gate::None, status::read_mstatus, status::write_mstatus;
    0x301 "misa": Gate::None, |v, _| v.config.misa(), ignore;
    0x302 "medeleg": Gate::None, field!(medeleg), trap_records::write_medeleg;
    0x303 "mideleg": Gate::None, field!(mideleg), interrupts::write_mideleg;
    0x304 "mie": Gate::None, field!(mie), interrupts::write_mie;
    0x305 "mtvec": Gate::None, field!(mtvec), trap_records::write_mtvec;
    0x306 "mcounteren": Gate::None, field!(mcounteren), counters::write_mcounteren;
    0x30a "menvcfg": Gate::None, field!(menvcfg), environment::write_menvcfg;
    0x30c "mstateen" [0; 4]: Gate::Extension(Extension::Smstateen), environment::read_mstateen, environment::write_mstateen;
    0x320 "mcountinhibit": Gate::None, field!(mcountinhibit), counters::write_mcountinhibit;
    0x323 "mhpmevent" [3; 29]: Gate::None, zero, ignore;
    0x340 "mscratch": Gate::None, field!(mscratch), |h, _, u| h.state.mscratch = u.value, Word(offset_of!(HartState, mscratch));
    0x341 "mepc": Gate::None, field!(mepc), trap_records::write_mepc, Address(offset_of!(HartState, mepc));
    0x342 "mcause": Gate::None, field!(mcause), |h, _, u| h.state.mcause = u.value, Word(offset_of!(HartState, mcause));
    0x343 "mtval": Gate::None, field!(mtval), |h, _, u| h.state.mtval = u.value, Word(offset_of!(HartState, mtval));
    0x344 "mip": Gate::None, interrupts::read_mip, interrupts::write_mip;
    0x34b "mtval2": Gate::Extension(Extension::Ssdbltrp), field!(mtval2), |h, _, u| h.state.mtval2 = u.value;
    0x3a0 "pmpcfg" [0; 16]: PmpCfg, memory::read_pmpcfg, memory::write_pmpcfg;
    0x3b0 "pmpaddr" [0; 64]: PmpAddr, memory::read_pmpaddr, memory::write_pmpaddr;

    // No triggers: `tselect` holds nothing but 0, and that trigger has type 0 (RISC-V Debug 1.0, 5.7.1).
    0x7a0 "tselect": Gate::None, zero, ignore;
    0x7a1 "tdata" [1; 3]: Gate::None, zero, ignore;
    0x7a4 "tinfo": Gate::None, |_, _| 1, ignore;

    0xb00 "mcycle": Gate::None, counters::read_cycle, counters::write_mcycle;
    0xb02 "minstret": Gate::None, counters::read_instret, counters::write_minstret;
    0xb03 "mhpmcounter" [3; 29]: Gate::None, zero, ignore;

    0xc00 "cycle": Counter(Extension::Zicntr), counters::read_cycle, ignore;
    0xc01 "time": Counter(Extension::Zicntr), |v, _| v.inputs.time(), ignore;
    0xc02 "instret": Counter(Extension::Zicntr), counters::read_instret, ignore;
    0xc03 "hpmcounter" [3; 29]: Counter(Extension::Zihpm), zero, ignore;

    0xf11 "mvendorid": Gate::None, zero, ignore;
    0xf12 "marchid": Gate::None, zero, ignore;
    0xf13 "mimpid": Gate::None, zero, ignore;
    0xf14 "mhartid": Gate::None, |v, _| v.state.hart_id, ignore, Reads;
    0xf15 "mconfigptr": Gate::None, zero, ignore;
}
