//! I/O ports and the permission to use them (Intel SDM 1, 20.5).

use vm_core::AccessWidth;

use super::exception::protection;
use super::fields::{attr, cr0};
use super::rflags;
use crate::guest::Exception;
use crate::x86::helpers::Cpu;

/// Where a task-state segment says where its permission map is.
const MAP_BASE: u64 = 0x66;
/// The type of 32-bit and 64-bit task-state segments, which have a map.
const TSS: u64 = 9;

/// The width of `bytes` bytes.
fn width_of(bytes: u64) -> AccessWidth {
    AccessWidth::from_bytes(bytes).unwrap_or(AccessWidth::Byte)
}

impl Cpu<'_> {
    /// Whether the running program may use ports.
    pub(super) fn check_ports(&mut self, port: u64, bytes: u64) -> Result<(), Exception> {
        let state = &*self.state;
        let free =
            state.cr0 & cr0::PE == 0 || state.cpl <= rflags::iopl(state) && !rflags::is_v86(state);
        if free {
            return Ok(());
        }
        let tr = state.tr;
        if tr.attributes & attr::TYPE & !2 != TSS || tr.limit < MAP_BASE + 1 {
            return Err(protection(0));
        }
        let map = self.read_system(tr.base.wrapping_add(MAP_BASE), AccessWidth::Half)?;
        let at = map + port / 8;
        // Two bytes are read always, so that a port's bits may lie in both.
        if at + 1 > tr.limit {
            return Err(protection(0));
        }
        let bits = self.read_system(tr.base.wrapping_add(at), AccessWidth::Half)?;
        if bits >> (port % 8) & ((1 << bytes.min(8)) - 1) != 0 {
            return Err(protection(0));
        }
        Ok(())
    }
}

/// `port_in`: port, bytes.
pub(super) fn port_in(cpu: &mut Cpu<'_>, [port, bytes, _]: [u64; 3]) -> Result<u64, Exception> {
    let port = port & 0xffff;
    cpu.check_ports(port, bytes)?;
    let width = width_of(bytes);
    let value = cpu.env.port_read(port as u16, width) & width.mask();
    cpu.note_port(port, bytes);
    Ok(value)
}

/// `port_out`: port, value, bytes.
pub(super) fn port_out(
    cpu: &mut Cpu<'_>,
    [port, value, bytes]: [u64; 3],
) -> Result<u64, Exception> {
    let port = port & 0xffff;
    cpu.check_ports(port, bytes)?;
    cpu.env.port_write(port as u16, width_of(bytes), value);
    cpu.note_port(port, bytes);
    Ok(0)
}

/// `port_check`: port, bytes; whether they may be used.
pub(super) fn port_check(cpu: &mut Cpu<'_>, [port, bytes, _]: [u64; 3]) -> Result<u64, Exception> {
    cpu.check_ports(port & 0xffff, bytes)?;
    Ok(0)
}
