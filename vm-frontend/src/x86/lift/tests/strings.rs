//! The helper for strings, over the memory of tests.

use vm_core::{AccessWidth, GuestVirtAddr, VcpuId};
use vm_ir::eval::block::{Fault, Machine, TestMemory};
use vm_ir::eval::flags;

use super::differential::Outcome;
use super::host::{self, End, GS_BASE, PAGE, Wire};
use super::*;
use crate::guest::{InstanceSpec, SysEnv, View};
use crate::x86::helpers::Cpu;
use crate::x86::state::{CpuState, gpr_slot, seg};

/// What the helper makes of a state, called until it is done.
pub(super) fn outcome(packed: u64, machine: Machine, before: &Wire) -> Outcome {
    let config = config();
    let spec = InstanceSpec {
        vcpu: VcpuId(0),
        entry: GuestVirtAddr(0),
        builtin_firmware: false,
    };
    let mut state = X86::new_state(&config, spec);
    state.gpr = std::array::from_fn(|n| machine.get(X86::layout(), gpr_slot(n))[0]);
    state.flags[0] = flags::word(before.flags());
    state.direction = if before.flags() & host::DIRECTION != 0 {
        u64::MAX
    } else {
        1
    };
    state.segments[seg::GS].base = GS_BASE;
    let mut env = Env {
        memory: machine.memory,
        bulk: 0,
    };
    let end = loop {
        let mut cpu = Cpu {
            state: &mut state,
            config: &config,
            env: &mut env,
        };
        match cpu.call(helper::STRING, [packed, 0, 0]) {
            Ok(0) => {}
            Ok(_) => break End::Behind,
            Err(exception) => {
                break End::Exception {
                    vector: exception.code.0 as u8,
                    address: Some(exception.value),
                };
            }
        }
    };
    Outcome {
        end,
        gpr: state.gpr,
        flags: flags::bits(state.flags[0]),
        direction: state.direction,
        memory: env.memory,
    }
}

/// Memory, and nothing else of a machine.
struct Env {
    memory: TestMemory,
    /// Calls for pieces so far, of which every third does nothing.
    bulk: u32,
}

fn page_fault(fault: Fault) -> Exception {
    let (Fault::Read { addr } | Fault::Write { addr }) = fault else {
        panic!("{fault:?}");
    };
    Exception {
        code: ExceptionCode(14),
        value: addr,
    }
}

impl Env {
    /// Bytes that a piece may have from here: to the page's end, now and then none.
    fn piece(&mut self, at: [u64; 2], bytes: u64) -> u64 {
        self.bulk += 1;
        if self.bulk.is_multiple_of(3) {
            return 0;
        }
        at.iter().fold(bytes, |most, at| most.min(PAGE - at % PAGE))
    }
}

impl SysEnv<CpuState> for Env {
    sys_env_without!(CpuState: vcpu time lines timer flush engine zero probe random ports local_irq);

    fn load(
        &mut self,
        _: &CpuState,
        addr: u64,
        width: AccessWidth,
        _: View,
    ) -> Result<u64, Exception> {
        let mut bytes = [0; 8];
        let used = &mut bytes[..width.bytes() as usize];
        self.memory.read(addr, used).map_err(page_fault)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn store(
        &mut self,
        _: &CpuState,
        addr: u64,
        width: AccessWidth,
        value: u64,
        _: View,
    ) -> Result<(), Exception> {
        let bytes = value.to_le_bytes();
        let used = &bytes[..width.bytes() as usize];
        self.memory.write(addr, used).map_err(page_fault)
    }

    fn copy_bytes(&mut self, _: &CpuState, to: u64, from: u64, bytes: u64) -> u64 {
        let bytes = self.piece([to, from], bytes);
        let mut copied = vec![0; bytes as usize];
        let overlaps = to.wrapping_sub(from) < bytes;
        if overlaps || self.memory.read(from, &mut copied).is_err() {
            return 0;
        }
        match self.memory.write(to, &copied) {
            Ok(()) => bytes,
            Err(_) => 0,
        }
    }

    fn load_bytes(&mut self, _: &CpuState, addr: u64, into: &mut [u8]) -> usize {
        let bytes = self.piece([addr, addr], into.len() as u64) as usize;
        match self.memory.read(addr, &mut into[..bytes]) {
            Ok(()) => bytes,
            Err(_) => 0,
        }
    }

    fn fill_bytes(&mut self, _: &CpuState, addr: u64, pattern: u64, bytes: u64) -> u64 {
        let bytes = self.piece([addr, addr], bytes);
        let pattern = pattern.to_le_bytes();
        let filled: Vec<u8> = pattern
            .iter()
            .copied()
            .cycle()
            .take(bytes as usize)
            .collect();
        match self.memory.write(addr, &filled) {
            Ok(()) => bytes,
            Err(_) => 0,
        }
    }
}
