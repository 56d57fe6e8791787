//! Registers after power-on and INIT, and at the entry of a system that is started without firmware (Intel SDM 3A, 11.1).

use super::debug::{DR6_ONES, DR7_ONES};
use super::fields::{activity, attr, cr0, efer};
use super::msr;
use super::segment::{REAL_CODE, REAL_DATA};
use crate::guest::InstanceSpec;
use crate::x86::cpu::CpuConfig;
use crate::x86::fp::mxcsr;
use crate::x86::helpers::Cpu;
use crate::x86::state::{CpuState, Segment, Table, gpr, seg};

/// EDX after reset: family and model.
const SIGNATURE: u64 = 0x3_0669;
/// Where the first instruction is.
const RESET_BASE: u64 = 0xffff_0000;
const RESET_IP: u64 = 0xfff0;
/// IA32_PAT after reset (Intel SDM 3A, 13.12.4).
const PAT: u64 = 0x0007_0406_0007_0406;

/// The processor that starts by itself.
const BOOT_PROCESSOR: u32 = 0;

/// The state after power-on. The first processor starts at the reset vector; the others wait to be started.
pub(super) fn new_state(_: &CpuConfig, spec: InstanceSpec) -> CpuState {
    let mut state = CpuState::zeroed();
    reset_registers(&mut state);
    state.cr0 = cr0::CD | cr0::NW | cr0::ET;
    state.xcr0 = 1;
    state.pat = PAT;
    state.misc_enable = msr::MISC_ENABLE_RESET;
    state.mxcsr = mxcsr::RESET;
    state.x87_control = 0x40;
    state.x87_tags = 0xff;
    state.common.reservation_addr = u64::MAX;
    msr::reset(&mut state);
    if spec.vcpu.0 != BOOT_PROCESSOR {
        state.activity = activity::WAIT_FOR_STARTUP;
    }
    state
}

/// The registers that power-on and INIT put to the same values.
fn reset_registers(state: &mut CpuState) {
    state.gpr = [0; 16];
    state.gpr[gpr::RDX] = SIGNATURE;
    super::rflags::set(state, 0);
    let real = |attributes| Segment {
        base: 0,
        limit: 0xffff,
        selector: 0,
        attributes,
    };
    state.segments = [real(REAL_DATA); 6];
    state.segments[seg::CS] = Segment {
        base: RESET_BASE,
        selector: 0xf000,
        ..real(REAL_CODE)
    };
    state.ldtr = real(attr::P | super::descriptor::system::LDT);
    state.tr = real(attr::P | super::descriptor::system::TSS_BUSY);
    state.gdtr = Table {
        base: 0,
        limit: 0xffff,
    };
    state.idtr = state.gdtr;
    state.cpl = 0;
    state.cr2 = 0;
    state.cr3 = 0;
    state.cr4 = 0;
    state.efer = 0;
    state.pdpte = [0; 4];
    state.dr = [0; 8];
    state.dr[6] = DR6_ONES;
    state.dr[7] = DR7_ONES;
    state.shadow = 0;
    state.activity = 0;
    state.pending_debug = 0;
    state.common.pc = RESET_BASE + RESET_IP;
}

/// INIT: memory types, floating point, time-stamp counter and other model-specific registers stay.
pub(super) fn init(cpu: &mut Cpu<'_>) {
    let caches = cpu.state.cr0 & (cr0::CD | cr0::NW);
    reset_registers(cpu.state);
    cpu.state.cr0 = cr0::ET | caches;
    if cpu.env.vcpu().0 != BOOT_PROCESSOR {
        cpu.state.activity = activity::WAIT_FOR_STARTUP;
    }
    cpu.env.init_local_irq();
    cpu.flush_all();
}

/// A start-up interrupt: real mode, at the start of a page (Intel SDM 3A, 9.4.4.1).
pub(super) fn start(state: &mut CpuState, page: u64) {
    state.activity = 0;
    let base = (page & 0xff) << 12;
    state.segments[seg::CS].base = base;
    state.segments[seg::CS].selector = base >> 4;
    state.common.pc = base;
}

/// Where and how a system is entered that is started without firmware. Everything else is as after reset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// The instruction pointer.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// GDTR.
    pub gdtr: Table,
    /// IDTR.
    pub idtr: Table,
    /// CS.
    pub code: Segment,
    /// DS, ES, SS, FS, GS.
    pub data: Segment,
    /// TR.
    pub task: Segment,
    /// LDTR.
    pub local: Segment,
}

impl Entry {
    /// Puts a processor there.
    pub fn apply(&self, state: &mut CpuState) {
        state.gpr = self.gpr;
        super::rflags::set(state, self.rflags);
        state.cr0 = self.cr0 | cr0::ET;
        state.cr3 = self.cr3;
        state.cr4 = self.cr4;
        state.efer = self.efer;
        if self.efer & efer::LME != 0 && self.cr0 & cr0::PG != 0 {
            state.efer |= efer::LMA;
        }
        state.gdtr = self.gdtr;
        state.idtr = self.idtr;
        state.segments = [self.data; 6];
        state.segments[seg::CS] = self.code;
        state.tr = self.task;
        state.ldtr = self.local;
        state.activity = 0;
        state.common.pc = super::segment::pc_of(state, self.rip);
    }
}
