//! The state of a hart after reset (RISC-V Priv 1.13, 3.4), or as machine-mode firmware hands it to an operating
//! system.

use crate::guest::{CommonState, InstanceSpec};
use crate::riscv::isa::{AdUpdate, Extension, IsaConfig};
use crate::riscv::state::{HartState, PMP_ENTRIES};

use super::fields::{cause, envcfg, irq, mstatus, privilege};
use super::{csr, feature, pmp};

/// A reservation on no address.
const NO_RESERVATION: u64 = u64::MAX;

/// The state that a hart starts in. Registers that the platform passes arguments in are zero.
pub(super) fn new_state(config: &IsaConfig, spec: InstanceSpec) -> HartState {
    let mut state = HartState {
        common: CommonState {
            pc: spec.entry.raw(),
            reservation_addr: NO_RESERVATION,
            ..CommonState::default()
        },
        x: [0; 32],
        f: [0; 32],
        privilege: privilege::M,
        mstatus: csr::initial_mstatus(config),
        mie: 0,
        mip: 0,
        mideleg: 0,
        medeleg: 0,
        mtvec: 0,
        stvec: 0,
        mepc: 0,
        sepc: 0,
        mcause: 0,
        scause: 0,
        mtval: 0,
        stval: 0,
        mtval2: 0,
        mscratch: 0,
        sscratch: 0,
        satp: 0,
        menvcfg: initial_menvcfg(config),
        senvcfg: 0,
        mstateen: match config.has(Extension::Smstateen) {
            true => [0; 4],
            false => csr::STATE_ENABLES,
        },
        mcounteren: 0,
        scounteren: 0,
        mcountinhibit: 0,
        mcycle: 0,
        minstret: 0,
        stimecmp: u64::MAX,
        frm: 0,
        hart_id: u64::from(spec.vcpu.0),
        features: features(config, spec.builtin_firmware),
        pmp_entries: u64::from(config.pmp_entries),
        pmp_active: 0,
        pmp_locked: 0,
        pmpaddr: [0; PMP_ENTRIES],
        pmp_first: [0; PMP_ENTRIES],
        pmp_last: [0; PMP_ENTRIES],
        pmpcfg: [0; PMP_ENTRIES],
    };
    if spec.builtin_firmware {
        enter_supervisor(&mut state, config);
    }
    state
}

fn features(config: &IsaConfig, builtin_firmware: bool) -> u64 {
    let mut features = 0;
    for (present, bit) in [
        (config.has(Extension::Svnapot), feature::NAPOT),
        (config.has(Extension::Zca), feature::COMPRESSED),
        (
            config.has(Extension::Smdbltrp),
            feature::MACHINE_DOUBLE_TRAP,
        ),
        (builtin_firmware, feature::BUILTIN_FIRMWARE),
    ] {
        if present {
            features |= bit;
        }
    }
    features
}

/// A device tree that names Svadu and not Svade promises that A and D bits are set from the start.
fn initial_menvcfg(config: &IsaConfig) -> u64 {
    match config.ad_update() {
        AdUpdate::Hardware => envcfg::ADUE.mask(),
        AdUpdate::Software => 0,
    }
}

/// What OpenSBI has set up when it enters the next stage: every trap that an operating system handles delegated,
/// counters and `menvcfg` opened, memory unprotected. Calls from S-mode stay with the firmware.
fn enter_supervisor(state: &mut HartState, config: &IsaConfig) {
    const INITIAL: u64 = 1;
    const COUNTERS_FOR_USER: u64 = 0x7;
    state.privilege = privilege::S;
    state.mstatus = mstatus::MDT.with(state.mstatus, 0);
    state.medeleg = csr::DELEGABLE & !(1 << cause::ECALL_FROM_S);
    state.mideleg = irq::SUPERVISOR;
    // Double traps wait until the operating system asks for them.
    let closed = envcfg::FIOM.mask() | envcfg::DTE.mask();
    state.menvcfg = csr::menvcfg_mask(config) & !closed;
    state.mstateen = csr::STATE_ENABLES;
    state.mcounteren = csr::counter_enable_mask(config);
    state.scounteren = csr::counter_enable_mask(config) & COUNTERS_FOR_USER;
    if config.has(Extension::F) {
        state.mstatus = mstatus::FS.with(state.mstatus, INITIAL);
    }
    if config.pmp_entries > 0 {
        pmp::write_addr(state, 0, pmp::ADDRESS_BITS);
        pmp::write_cfg(state, 0, pmp::EVERYTHING);
    }
}

#[cfg(test)]
mod tests;
