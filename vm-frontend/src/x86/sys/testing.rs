//! A processor with memory around it for tests of helpers.

use vm_core::{AccessWidth, GuestVirtAddr, VcpuId};

use super::exception::{exception, page_fault};
use super::fields::vector;
use crate::guest::{Access, Exception, FlushScope, InstanceSpec, Raised, SysEnv, View};
use crate::x86::cpu::{CpuConfig, CpuModel};
use crate::x86::helpers::{Cpu, DECLARATIONS};
use crate::x86::state::CpuState;

/// Bytes of memory; addresses beyond wrap around.
const MEMORY_BYTES: usize = 1 << 16;

/// What helpers reach.
pub(super) struct Env {
    pub(super) memory: Vec<u8>,
    /// Every so many accesses one faults; zero for none.
    pub(super) fault_every: u64,
    accesses: u64,
    pub(super) lines: u64,
    pub(super) flushes: Vec<FlushScope>,
    pub(super) deadline: u64,
    pub(super) time: u64,
}

impl Env {
    fn at(addr: u64, n: u64) -> usize {
        addr.wrapping_add(n) as usize % MEMORY_BYTES
    }

    fn check(&mut self, addr: u64, write: bool) -> Result<(), Exception> {
        self.accesses += 1;
        if self.fault_every != 0 && self.accesses.is_multiple_of(self.fault_every) {
            return Err(page_fault(GuestVirtAddr(addr), if write { 2 } else { 0 }));
        }
        Ok(())
    }
}

impl SysEnv<CpuState> for Env {
    sys_env_without!(CpuState: vcpu timer engine zero pieces);

    fn time(&self) -> u64 {
        self.time
    }
    fn lines(&self) -> u64 {
        self.lines
    }
    fn set_lines(&mut self, set: u64, clear: u64) {
        self.lines = self.lines & !clear | set;
    }
    fn flush(&mut self, scope: FlushScope) {
        self.flushes.push(scope);
    }
    fn probe(
        &mut self,
        _: &CpuState,
        addr: GuestVirtAddr,
        _: u64,
        access: Access,
    ) -> Result<(), Exception> {
        self.check(addr.raw(), access == Access::Write)
    }
    fn random(&mut self) -> u64 {
        4
    }
    fn load(
        &mut self,
        _: &CpuState,
        addr: u64,
        width: AccessWidth,
        _: View,
    ) -> Result<u64, Exception> {
        self.check(addr, false)?;
        let byte = |n| u64::from(self.memory[Self::at(addr, n)]) << (8 * n);
        Ok((0..width.bytes()).map(byte).sum())
    }
    fn store(
        &mut self,
        _: &CpuState,
        addr: u64,
        width: AccessWidth,
        value: u64,
        _: View,
    ) -> Result<(), Exception> {
        self.check(addr, true)?;
        for n in 0..width.bytes() {
            self.memory[Self::at(addr, n)] = (value >> (8 * n)) as u8;
        }
        Ok(())
    }
    fn port_read(&mut self, _: u16, width: AccessWidth) -> u64 {
        width.mask()
    }
    fn port_write(&mut self, _: u16, _: AccessWidth, _: u64) {}
    fn acknowledge_interrupt(&mut self) -> Option<u32> {
        Some(0x40)
    }
    fn take_startup(&mut self) -> Option<u32> {
        Some(9)
    }
    fn init_local_irq(&mut self) {}
    fn local_irq_read(&mut self, register: u32) -> Option<u64> {
        match register {
            0x1b => Some(0xfee0_0900),
            0x6e0 => Some(self.deadline),
            _ => None,
        }
    }
    fn local_irq_write(&mut self, register: u32, value: u64) -> bool {
        if register == 0x6e0 {
            self.deadline = value;
        }
        matches!(register, 0x1b | 0x6e0)
    }
}

/// A processor of the model `max` with its surroundings.
pub(super) struct Machine {
    pub(super) state: CpuState,
    pub(super) config: CpuConfig,
    pub(super) env: Env,
}

impl Machine {
    /// After power-on.
    pub(super) fn new() -> Self {
        let config = CpuModel::from_name("max").expect("a model").config();
        let spec = InstanceSpec {
            vcpu: VcpuId(0),
            entry: GuestVirtAddr(0),
            builtin_firmware: false,
        };
        Self {
            state: super::reset::new_state(&config, spec),
            config,
            env: Env {
                memory: vec![0; MEMORY_BYTES],
                fault_every: 0,
                accesses: 0,
                lines: 0,
                flushes: Vec::new(),
                deadline: 0,
                time: 1000,
            },
        }
    }

    fn cpu(&mut self) -> Cpu<'_> {
        Cpu {
            state: &mut self.state,
            config: &self.config,
            env: &mut self.env,
        }
    }

    /// Calls a helper by name.
    pub(super) fn call(&mut self, name: &str, args: [u64; 3]) -> Result<u64, Exception> {
        let n = DECLARATIONS.iter().position(|helper| helper.name == name);
        let id = vm_ir::HelperId(n.expect("a helper") as u16);
        self.cpu().call(id, args)
    }

    pub(super) fn raise(&mut self, number: u8, value: u64) -> Raised {
        super::deliver::raise(&mut self.cpu(), exception(number, value))
    }

    pub(super) fn take(&mut self, lines: u64) -> Option<Raised> {
        self.env.lines = lines;
        super::interrupts::take(&mut self.cpu(), lines)
    }

    /// Reads a register by RDMSR.
    pub(super) fn msr(&mut self, number: u32) -> Result<u64, Exception> {
        self.call("read_msr", [number.into(), 0, 0])
    }

    /// Writes one by WRMSR.
    pub(super) fn set_msr(&mut self, number: u32, value: u64) -> Result<u64, Exception> {
        self.call("write_msr", [number.into(), value, 0])
    }
}

/// The exception that privileged and impossible things raise.
pub(super) const DENIED: Exception = exception(vector::GP, 0);
