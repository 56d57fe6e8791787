//! Cache-block operations, Zicbom and Zicboz (RISC-V Unpriv 20240411, chapter 19).
//!
//! Guest memory is coherent, so that management has no effect; what is left are the checks.

use vm_core::GuestVirtAddr;
use vm_ir::ExceptionCode;

use crate::guest::{Access, Exception};
use crate::riscv::isa::IsaConfig;

use super::fields::{Field, cause, envcfg, privilege};
use super::{Hart, illegal};

const BLOCK_BYTES: u64 = IsaConfig::CACHE_BLOCK_BYTES as u64;

/// `cbo.zero`.
pub(super) fn zero(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    let [addr, insn, _] = args;
    check_enabled(hart, envcfg::CBZE, insn)?;
    hart.env
        .zero(hart.state, block_of(addr), BLOCK_BYTES)
        .map_err(|exception| as_store(exception, addr))?;
    Ok(0)
}

/// `cbo.inval`.
pub(super) fn inval(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    manage(hart, envcfg::CBIE, args)
}

/// `cbo.clean` and `cbo.flush`.
pub(super) fn clean(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    manage(hart, envcfg::CBCFE, args)
}

/// Allowed wherever a load or a store to all of the block is; no page or protection entry allows stores but not loads, so
/// the check of a load decides. A failure is that of a store.
fn manage(hart: &mut Hart<'_>, enable: Field, args: [u64; 3]) -> Result<u64, Exception> {
    let [addr, insn, _] = args;
    check_enabled(hart, enable, insn)?;
    hart.env
        .probe(hart.state, block_of(addr), BLOCK_BYTES, Access::Read)
        .map_err(|exception| as_store(exception, addr))?;
    Ok(0)
}

fn block_of(addr: u64) -> GuestVirtAddr {
    GuestVirtAddr(addr & !(BLOCK_BYTES - 1))
}

/// `menvcfg` decides below M-mode, and `senvcfg` also in U-mode (RISC-V Unpriv 20240411, 19.3).
fn check_enabled(hart: &Hart<'_>, enable: Field, insn: u64) -> Result<(), Exception> {
    let level = hart.state.privilege;
    let machine = level == privilege::M || enable.is_set(hart.state.menvcfg);
    let supervisor = level != privilege::U || enable.is_set(hart.state.senvcfg);
    if machine && supervisor {
        Ok(())
    } else {
        Err(illegal(insn))
    }
}

/// The exception of an access to a block as the instruction raises it: that of a store to the address in rs1
/// (RISC-V Unpriv 20240411, chapter 19, "Traps").
fn as_store(exception: Exception, addr: u64) -> Exception {
    let code = match exception.code.0 {
        cause::LOAD_PAGE => cause::STORE_PAGE,
        cause::LOAD_ACCESS => cause::STORE_ACCESS,
        other => other,
    };
    Exception {
        code: ExceptionCode(code),
        value: addr,
    }
}

#[cfg(test)]
mod tests;
