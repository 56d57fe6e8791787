//! What helpers get: memory, nothing else.

use vm_core::{AccessWidth, GuestVirtAddr};
use vm_ir::ExceptionCode;
use vm_ir::eval::block::TestMemory;

use crate::guest::{Access, Exception, SysEnv, View};
use crate::x86::state::CpuState;

/// The exception of an address where nothing is.
pub(super) fn vector_of(addr: u64) -> u32 {
    let canonical = (addr as i64) << 16 >> 16 == addr as i64;
    if canonical { 14 } else { 13 }
}

pub(super) struct Env<'a>(pub(super) &'a mut TestMemory);

fn fault(addr: u64) -> Exception {
    Exception {
        code: ExceptionCode(vector_of(addr)),
        value: addr,
    }
}

impl SysEnv<CpuState> for Env<'_> {
    sys_env_without!(CpuState: vcpu time lines timer flush engine zero random pieces ports local_irq);

    fn load(
        &mut self,
        _: &CpuState,
        addr: u64,
        width: AccessWidth,
        _: View,
    ) -> Result<u64, Exception> {
        let mut bytes = [0; 8];
        let used = &mut bytes[..width.bytes() as usize];
        self.0.read(addr, used).map_err(|_| fault(addr))?;
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
        self.0.write(addr, used).map_err(|_| fault(addr))
    }

    fn probe(
        &mut self,
        _: &CpuState,
        addr: GuestVirtAddr,
        bytes: u64,
        access: Access,
    ) -> Result<(), Exception> {
        let mut held = vec![0; bytes as usize];
        let read = self.0.read(addr.raw(), &mut held);
        let done = match access {
            Access::Write => read.and_then(|()| self.0.write(addr.raw(), &held)),
            _ => read,
        };
        done.map_err(|_| fault(addr.raw()))
    }
}
