//! RISC-V as the engine sees it.

use std::mem::size_of;

use vm_core::GuestVirtAddr;
use vm_ir::{Block, BlockKey, HelperId, Mode, StateLayout};
use vm_mem::PhysMemory;
use vm_softfloat::{Env, RoundingDirection};

use crate::guest::{
    Access, AddressSpace, BusAbort, CodePage, CommonState, Exception, Guest, InstanceSpec,
    LiftLimits, Mapping, Raised, SysEnv, View,
};
use crate::riscv::isa::IsaConfig;
use crate::riscv::lift;
use crate::riscv::state::{HartState, SLOT_TABLE};

use super::{HELPERS, Hart, interrupts, mmu, mode, reset, trap};

/// The RISC-V guest, RV64.
#[derive(Clone, Copy, Debug)]
pub struct Riscv;

static LAYOUT: StateLayout = StateLayout {
    isa: "riscv64",
    slots: &SLOT_TABLE,
    bytes: size_of::<HartState>() as u32,
    helpers: HELPERS,
    vectors: &[],
};

impl Guest for Riscv {
    type State = HartState;
    type Config = IsaConfig;

    const DATA_MODES: usize = mmu::DATA_MODES;

    fn layout() -> &'static StateLayout {
        &LAYOUT
    }

    fn fp_rules() -> Env {
        Env::riscv(RoundingDirection::default())
    }

    fn new_state(config: &IsaConfig, spec: InstanceSpec) -> HartState {
        reset::new_state(config, spec)
    }

    fn common(state: &mut HartState) -> &mut CommonState {
        &mut state.common
    }

    fn mode(state: &HartState) -> Mode {
        mode::of(state)
    }

    fn address_space(state: &HartState) -> AddressSpace {
        mmu::address_space(state)
    }

    fn lift(
        config: &IsaConfig,
        key: BlockKey,
        code: &mut dyn CodePage,
        limits: LiftLimits<'_>,
        spare: Block,
    ) -> Result<Block, Exception> {
        lift::lift(config, key, code, limits, spare)
    }

    fn translate(
        state: &HartState,
        memory: &dyn PhysMemory,
        _: View,
        addr: GuestVirtAddr,
        bytes: u64,
        access: Access,
    ) -> Result<Mapping, Exception> {
        mmu::translate(state, memory, addr, bytes, access)
    }

    fn bus_error(addr: GuestVirtAddr, access: Access) -> BusAbort {
        BusAbort::Raise(mmu::access_fault(addr, access))
    }

    fn misaligned(addr: GuestVirtAddr, access: Access) -> Exception {
        mmu::misaligned(addr, access)
    }

    fn raise(
        state: &mut HartState,
        _: &IsaConfig,
        _: &mut dyn SysEnv<HartState>,
        exception: Exception,
    ) -> Raised {
        trap::raise(state, exception)
    }

    fn take_interrupt(
        state: &mut HartState,
        _: &IsaConfig,
        _: &mut dyn SysEnv<HartState>,
        lines: u64,
    ) -> Option<Raised> {
        interrupts::take(state, lines).then_some(Raised::Taken)
    }

    fn interrupt_is_due(state: &HartState, lines: u64) -> bool {
        interrupts::wakes(state, lines)
    }

    fn wakes(state: &HartState, lines: u64) -> bool {
        interrupts::wakes(state, lines)
    }

    fn call(
        state: &mut HartState,
        config: &IsaConfig,
        env: &mut dyn SysEnv<HartState>,
        helper: HelperId,
        args: [u64; 3],
    ) -> Result<u64, Exception> {
        Hart { state, config, env }.call(helper, args)
    }
}

#[cfg(test)]
mod tests;
