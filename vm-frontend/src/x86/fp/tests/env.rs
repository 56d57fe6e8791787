//! What helpers get: memory, nothing else.

use vm_core::{AccessWidth, GuestVirtAddr, VcpuId};
use vm_ir::ExceptionCode;
use vm_ir::eval::block::TestMemory;

use crate::guest::{Access, Exception, FlushScope, Request, SysEnv, View};
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

    fn vcpu(&self) -> VcpuId {
        VcpuId(0)
    }

    fn time(&self) -> u64 {
        0
    }

    fn random(&mut self) -> u64 {
        0
    }

    fn lines(&self) -> u64 {
        0
    }

    fn set_lines(&mut self, _: u64, _: u64) {}

    fn set_timer(&mut self, _: u32, _: Option<u64>) {}

    fn flush(&mut self, _: FlushScope) {}

    fn state_changed(&mut self) {}

    fn request(&mut self, _: Request) {}

    fn zero(&mut self, _: &CpuState, _: GuestVirtAddr, _: u64) -> Result<(), Exception> {
        Ok(())
    }

    fn retired(&self) -> u64 {
        0
    }

    fn copy_bytes(&mut self, _: &CpuState, _: u64, _: u64, _: u64) -> u64 {
        0
    }

    fn fill_bytes(&mut self, _: &CpuState, _: u64, _: u64, _: u64) -> u64 {
        0
    }

    fn port_read(&mut self, _: u16, _: AccessWidth) -> u64 {
        0
    }

    fn port_write(&mut self, _: u16, _: AccessWidth, _: u64) {}

    fn acknowledge_interrupt(&mut self) -> Option<u32> {
        None
    }

    fn take_startup(&mut self) -> Option<u32> {
        None
    }

    fn init_local_irq(&mut self) {}

    fn local_irq_read(&mut self, _: u32) -> Option<u64> {
        None
    }

    fn local_irq_write(&mut self, _: u32, _: u64) -> bool {
        false
    }
}
