//! x86 as the engine sees it.

use std::mem::size_of;

use vm_core::GuestVirtAddr;
use vm_ir::{Block, BlockKey, HelperId, Mode, StateLayout};
use vm_mem::PhysMemory;
use vm_softfloat::{Env, RoundingDirection};

use super::{debug, deliver, interrupts, paging, reset};
use crate::guest::{
    Access, AddressSpace, BusAbort, CodePage, CommonState, Exception, Guest, InstanceSpec,
    LiftLimits, Mapping, Raised, SysEnv, View,
};
use crate::x86::cpu::CpuConfig;
use crate::x86::helpers::{Cpu, DECLARATIONS};
use crate::x86::state::{CpuState, SLOT_TABLE};
use crate::x86::{lift, mode};

/// The x86 guest.
#[derive(Clone, Copy, Debug)]
pub struct X86;

static LAYOUT: StateLayout = StateLayout {
    isa: "x86_64",
    slots: &SLOT_TABLE,
    bytes: size_of::<CpuState>() as u32,
    helpers: &DECLARATIONS,
    vectors: &crate::x86::fp::VECTORS,
};

impl Guest for X86 {
    type State = CpuState;
    type Config = CpuConfig;

    const DATA_MODES: usize = paging::DATA_MODES;
    const CODE_IS_COHERENT: bool = true;
    const ATOMICS_MAY_SPLIT: bool = true;
    const PARCEL_BYTES: u64 = 1;
    const FLOAT_IS_X86: bool = true;
    const NO_CODE: u64 = 0xffff;

    fn layout() -> &'static StateLayout {
        &LAYOUT
    }

    fn fp_rules() -> Env {
        Env::sse(RoundingDirection::default())
    }

    fn fp_env(state: &CpuState) -> Env {
        crate::x86::fp::env(state)
    }

    fn new_state(config: &CpuConfig, spec: InstanceSpec) -> CpuState {
        reset::new_state(config, spec)
    }

    fn common(state: &mut CpuState) -> &mut CommonState {
        &mut state.common
    }

    fn mode(state: &CpuState) -> Mode {
        mode::of(state)
    }

    fn address_space(state: &CpuState) -> AddressSpace {
        paging::address_space(state)
    }

    fn masks_float(mode: Mode) -> bool {
        mode.0 & mode::FP_TRAPS == 0
    }

    fn data_mode(state: &CpuState, view: View) -> u8 {
        paging::data_mode(state, view)
    }

    fn lift(
        config: &CpuConfig,
        key: BlockKey,
        code: &mut dyn CodePage,
        limits: LiftLimits<'_>,
        spare: Block,
    ) -> Result<Block, Exception> {
        lift::lift(config, key, code, limits, spare)
    }

    fn translate(
        state: &CpuState,
        memory: &dyn PhysMemory,
        view: View,
        addr: GuestVirtAddr,
        _: u64,
        access: Access,
    ) -> Result<Mapping, Exception> {
        paging::translate(state, memory, view, addr, access)
    }

    fn bus_error(_: GuestVirtAddr, _: Access) -> BusAbort {
        BusAbort::Value(u64::MAX)
    }

    fn misaligned(_: GuestVirtAddr, _: Access) -> Exception {
        // Those of vectors and of CMPXCHG16B (Intel SDM 2A, 2.4); alignment checks are operations of their own.
        super::exception::protection(0)
    }

    fn data_hits(state: &CpuState, addr: GuestVirtAddr, bytes: u64, write: bool) -> u64 {
        debug::data_hits(state, addr.raw(), bytes, write)
    }

    fn watches_page(state: &CpuState, addr: GuestVirtAddr) -> bool {
        debug::watches_page(state, addr)
    }

    fn note_data_hits(state: &mut CpuState, hits: u64) {
        state.pending_debug |= hits;
    }

    fn raise(
        state: &mut CpuState,
        config: &CpuConfig,
        env: &mut dyn SysEnv<CpuState>,
        exception: Exception,
    ) -> Raised {
        deliver::raise(&mut Cpu { state, config, env }, exception)
    }

    fn take_interrupt(
        state: &mut CpuState,
        config: &CpuConfig,
        env: &mut dyn SysEnv<CpuState>,
        lines: u64,
    ) -> Option<Raised> {
        interrupts::take(&mut Cpu { state, config, env }, lines)
    }

    fn interrupt_is_due(state: &CpuState, lines: u64) -> bool {
        interrupts::is_due(state, lines)
    }

    fn wakes(state: &CpuState, lines: u64) -> bool {
        interrupts::is_due(state, lines)
    }

    fn rests(state: &CpuState) -> bool {
        interrupts::rests(state)
    }

    fn call(
        state: &mut CpuState,
        config: &CpuConfig,
        env: &mut dyn SysEnv<CpuState>,
        helper: HelperId,
        args: [u64; 3],
    ) -> Result<u64, Exception> {
        Cpu { state, config, env }.call(helper, args)
    }
}
