//! A machine around one hart for tests: records what helpers ask for.

use vm_core::{AccessWidth, GuestVirtAddr, VcpuId};
use vm_ir::{ExceptionCode, HelperId};

use crate::guest::{Access, Exception, FlushScope, InstanceSpec, Request, SysEnv, View};
use crate::riscv::isa::{CpuModel, IsaConfig};
use crate::riscv::state::HartState;

use super::fields::privilege;
use super::{CsrOp, HELPER_CSR, Hart, csr_request, reset};

/// Instruction bits that tests pass, to be found in the exception.
pub(super) const INSN: u64 = 0x1234_5673;
pub(super) const ENTRY: u64 = 0x8000_0000;

/// What helpers reach.
#[derive(Default)]
pub(super) struct Env {
    pub(super) time: u64,
    pub(super) lines: u64,
    pub(super) retired: u64,
    pub(super) timers: Vec<(u32, Option<u64>)>,
    pub(super) flushes: Vec<FlushScope>,
    pub(super) state_changes: u32,
    pub(super) requests: Vec<Request>,
    pub(super) zeroed: Vec<(u64, u64)>,
    pub(super) probed: Vec<(u64, u64, Access)>,
    /// What zeroing and probing fail with.
    pub(super) memory_fault: Option<Exception>,
}

impl SysEnv<HartState> for Env {
    sys_env_without!(HartState: vcpu random pieces local_irq);

    fn time(&self) -> u64 {
        self.time
    }
    fn lines(&self) -> u64 {
        self.lines
    }
    fn set_lines(&mut self, set: u64, clear: u64) {
        self.lines = self.lines & !clear | set;
    }
    fn set_timer(&mut self, line: u32, deadline: Option<u64>) {
        self.timers.push((line, deadline));
    }
    fn flush(&mut self, scope: FlushScope) {
        self.flushes.push(scope);
    }
    fn state_changed(&mut self) {
        self.state_changes += 1;
    }
    fn request(&mut self, request: Request) {
        self.requests.push(request);
    }
    fn zero(&mut self, _: &HartState, addr: GuestVirtAddr, bytes: u64) -> Result<(), Exception> {
        self.zeroed.push((addr.raw(), bytes));
        self.memory_fault.map_or(Ok(()), Err)
    }
    fn probe(
        &mut self,
        _: &HartState,
        addr: GuestVirtAddr,
        bytes: u64,
        access: Access,
    ) -> Result<(), Exception> {
        self.probed.push((addr.raw(), bytes, access));
        self.memory_fault.map_or(Ok(()), Err)
    }
    fn retired(&self) -> u64 {
        self.retired
    }
    fn load(
        &mut self,
        _: &HartState,
        addr: u64,
        _: AccessWidth,
        _: View,
    ) -> Result<u64, Exception> {
        unreachable!("no helper of a hart loads: {addr:x}")
    }
    fn store(
        &mut self,
        _: &HartState,
        addr: u64,
        _: AccessWidth,
        _: u64,
        _: View,
    ) -> Result<(), Exception> {
        unreachable!("no helper of a hart stores: {addr:x}")
    }
    fn port_read(&mut self, port: u16, _: AccessWidth) -> u64 {
        unreachable!("RISC-V has no ports: {port:x}")
    }
    fn port_write(&mut self, port: u16, _: AccessWidth, _: u64) {
        unreachable!("RISC-V has no ports: {port:x}")
    }
}

/// A hart with its configuration and surroundings.
pub(super) struct Machine {
    pub(super) state: HartState,
    pub(super) config: IsaConfig,
    pub(super) env: Env,
}

impl Machine {
    /// A hart of the model after reset, in M-mode.
    pub(super) fn new(model: &str) -> Self {
        Self::with(CpuModel::from_name(model).expect("a model").config(), false)
    }

    pub(super) fn with(config: IsaConfig, builtin_firmware: bool) -> Self {
        let entry = GuestVirtAddr(ENTRY);
        let spec = InstanceSpec {
            vcpu: VcpuId(3),
            entry,
            builtin_firmware,
        };
        let state = reset::new_state(&config, spec);
        Self {
            state,
            config,
            env: Env::default(),
        }
    }

    pub(super) fn call(&mut self, helper: HelperId, args: [u64; 3]) -> Result<u64, Exception> {
        let Self { state, config, env } = self;
        Hart { state, config, env }.call(helper, args)
    }

    /// A CSR instruction that reads and writes, in the current privilege.
    pub(super) fn csr(&mut self, number: u16, op: CsrOp, source: u64) -> Result<u64, Exception> {
        self.call(
            HELPER_CSR,
            [csr_request(number, op, true, true), source, INSN],
        )
    }

    /// `csrr` in the current privilege.
    pub(super) fn try_read(&mut self, number: u16) -> Result<u64, Exception> {
        self.call(
            HELPER_CSR,
            [csr_request(number, CsrOp::Set, true, false), 0, INSN],
        )
    }

    /// `csrw` in the current privilege.
    pub(super) fn try_write(&mut self, number: u16, value: u64) -> Result<(), Exception> {
        let request = csr_request(number, CsrOp::Write, false, true);
        self.call(HELPER_CSR, [request, value, INSN]).map(drop)
    }

    /// `csrr` as M-mode.
    pub(super) fn read(&mut self, number: u16) -> u64 {
        self.as_machine(|m| m.try_read(number))
            .expect("M-mode reads it")
    }

    /// `csrw` as M-mode.
    pub(super) fn write(&mut self, number: u16, value: u64) {
        self.as_machine(|m| m.try_write(number, value))
            .expect("M-mode writes it");
    }

    fn as_machine<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let level = std::mem::replace(&mut self.state.privilege, privilege::M);
        let result = f(self);
        self.state.privilege = level;
        result
    }
}

/// The exception of an illegal instruction with [`INSN`].
pub(super) fn illegal_insn() -> Exception {
    exception(2, INSN)
}

pub(super) fn exception(code: u32, value: u64) -> Exception {
    Exception {
        code: ExceptionCode(code),
        value,
    }
}
