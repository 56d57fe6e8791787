//! A machine of some RAM, programs of one access, and a way out of every privilege.

use std::sync::Arc;

use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_engine_jit::Template;
use vm_frontend::riscv::Riscv;
use vm_frontend::riscv::isa::CpuModel;
use vm_frontend::{Guest as _, InstanceSpec};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

pub(crate) const RAM: u64 = 0x8000_0000;
pub(crate) const RAM_BYTES: u64 = 0x4_0000;
pub(crate) const RAM_END: u64 = RAM + RAM_BYTES;
/// Where programs are.
pub(crate) const CODE: u64 = RAM + 0x1000;
/// A call to firmware, the handler of S-mode.
const TRAP: u64 = RAM + 0x2000;
/// The handler of M-mode, which goes to that call.
const MACHINE_TRAP: u64 = RAM + 0x3000;

pub(crate) const ECALL: u32 = 0x73;
pub(crate) const MRET: u32 = 0x3020_0073;
pub(crate) const M: u64 = 3;
pub(crate) const S: u64 = 1;
pub(crate) const U: u64 = 0;

/// Bits of `mstatus` (RISC-V Priv 1.13, 3.1.6): MPP's place, and floating point on.
pub(crate) const MPP_SHIFT: u32 = 11;
pub(crate) const FS_ON: u64 = 1 << 13;

/// The register of the accesses' address, of what they store, and of what they load.
pub(crate) const ADDRESS: usize = 5;
pub(crate) const VALUE: usize = 6;
pub(crate) const RESULT: usize = 7;

/// `csrrw`, `csrrs` and `csrrc` by their funct3, without a result.
pub(crate) fn csr(funct3: u32, number: u32, from: u32) -> u32 {
    0x73 | funct3 << 12 | number << 20 | from << 15
}

/// A load into the result's register: opcode, and funct3 by place.
pub(crate) const fn load(opcode_and_funct3: u32) -> u32 {
    opcode_and_funct3 | (RESULT as u32) << 7 | (ADDRESS as u32) << 15
}

/// A store of the value's register.
pub(crate) const fn store(opcode_and_funct3: u32) -> u32 {
    opcode_and_funct3 | (ADDRESS as u32) << 15 | (VALUE as u32) << 20
}

/// An atomic operation by its funct5: on 32 bits with funct3 2, on 64 with 3.
pub(crate) const fn atomic(funct5: u32, funct3: u32, value: u32) -> u32 {
    load(0x2f | funct3 << 12) | value << 20 | funct5 << 27
}

/// How a program of accesses is translated: what its addresses are off, and whether the code may be a loop's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// A register that the host has in one of its own, or not.
    pub(crate) base: usize,
    /// A branch leads back to the beginning, which is never taken.
    repeats: bool,
}

/// All of them.
pub(crate) const FORMS: [Form; 4] = [
    Form {
        base: ADDRESS,
        repeats: false,
    },
    Form {
        base: ADDRESS,
        repeats: true,
    },
    Form {
        base: 15,
        repeats: false,
    },
    Form {
        base: 15,
        repeats: true,
    },
];

impl Form {
    /// The program of these accesses, and a call.
    pub(crate) fn program(self, accesses: &[u32]) -> Vec<u32> {
        let off_base = |word: &u32| *word & !(31 << 15) | (self.base as u32) << 15;
        let mut words: Vec<u32> = accesses.iter().map(off_base).collect();
        if self.repeats {
            let back = -4 * words.len() as i32;
            words.push(branch_unless_zero(29, back));
        }
        words.push(ECALL);
        words
    }
}

/// `bne` with zero (RISC-V Unpriv 20240411, 2.5.2).
fn branch_unless_zero(reg: u32, offset: i32) -> u32 {
    let offset = offset as u32;
    let bits = |from: u32, count: u32| offset >> from & ((1 << count) - 1);
    0x1063 | reg << 15 | bits(11, 1) << 7 | bits(1, 4) << 8 | bits(5, 6) << 25 | bits(12, 1) << 31
}

pub(crate) const LR: u32 = 2;
pub(crate) const SC: u32 = 3;
pub(crate) const AMOADD: u32 = 0;

/// One tier after the other.
pub(crate) const TIERS: [bool; 2] = [false, true];

pub(crate) fn engine(translated: bool) -> Arc<Engine<Riscv>> {
    let memory = GuestMemory::new(&[(GuestPhysAddr(RAM), RAM_BYTES)]).expect("host memory");
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let engine = Engine::new(EngineParts {
        config: CpuModel::from_name("max").expect("a model").config(),
        memory: memory.into(),
        bus: Arc::new(Bus::new()),
        ports: Arc::new(Bus::new()),
        rom: Vec::new(),
        time: Arc::new(TimeBase::new(clock.clone(), 10_000_000)),
        alarms: Arc::new(TimerThread::new(clock).unwrap()),
        code_budget_bytes: 32 << 20,
    });
    if translated {
        let template = Template::new(Riscv::layout(), 1 << 20).expect("this host allows it");
        engine.set_translator(Arc::new(template));
    }
    put(&engine, TRAP, &[ECALL]);
    // MPP becomes S from M, in which the trap was taken.
    let away = [csr(1, 0x341, 30), csr(3, 0x300, 28), MRET];
    put(&engine, MACHINE_TRAP, &away);
    engine
}

/// Puts code at an address.
pub(crate) fn put(engine: &Engine<Riscv>, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    write(engine, at, &bytes);
}

pub(crate) fn write(engine: &Engine<Riscv>, at: u64, bytes: &[u8]) {
    let done = engine.memory().write(GuestPhysAddr(at), bytes);
    done.expect("within memory");
}

pub(crate) fn read<const N: usize>(engine: &Engine<Riscv>, at: u64) -> [u8; N] {
    let mut bytes = [0; N];
    let done = engine.memory().read(GuestPhysAddr(at), &mut bytes);
    done.expect("within memory");
    bytes
}

fn spec(number: u32) -> InstanceSpec {
    InstanceSpec {
        vcpu: VcpuId(number),
        entry: GuestVirtAddr(CODE),
        builtin_firmware: true,
    }
}

pub(crate) fn vcpu(engine: &Arc<Engine<Riscv>>, number: u32) -> Vcpu<Riscv> {
    let mut vcpu = Vcpu::new(engine, spec(number));
    prepare(&mut vcpu);
    vcpu
}

/// A virtual CPU as after power-on, with handlers.
pub(crate) fn reset(vcpu: &mut Vcpu<Riscv>) {
    vcpu.reset(spec(vcpu.id().0));
    prepare(vcpu);
}

fn prepare(vcpu: &mut Vcpu<Riscv>) {
    let state = vcpu.state_mut();
    (state.stvec, state.mtvec) = (TRAP, MACHINE_TRAP);
    // Misaligned, access and page faults, and calls from U-mode.
    state.medeleg = 0xb1f0;
    state.mstatus |= FS_ON;
    // Cache-block operations are allowed everywhere (RISC-V Unpriv 20240411, 19.3).
    state.menvcfg |= 0xf0;
    state.senvcfg |= 0xf0;
    (state.x[28], state.x[30]) = (2 << MPP_SHIFT, TRAP);
}

/// Runs from an address to the next trap; gives cause and value.
pub(crate) fn trap_from(vcpu: &mut Vcpu<Riscv>, privilege: u64, pc: u64) -> (u64, u64) {
    let state = vcpu.state_mut();
    (state.privilege, state.common.pc) = (privilege, pc);
    (state.scause, state.mcause) = (u64::MAX, u64::MAX);
    assert_eq!(vcpu.run(), VmExit::FirmwareCall);
    let state = vcpu.state();
    match (state.scause, state.mcause) {
        (u64::MAX, u64::MAX) => (S_CALL, 0),
        (u64::MAX, cause) => (cause, state.mtval),
        (cause, _) => (cause, state.stval),
    }
}

/// A call from S-mode, which the firmware answers.
pub(crate) const S_CALL: u64 = 9;

/// Whether a trap is the call at a program's end.
pub(crate) fn is_call(cause: u64) -> bool {
    matches!(cause, 8 | S_CALL | 11)
}
