//! Waiting, fences and hints: `wfi`, `wrs`, `pause`, `sfence.vma`, Svinval, `fence.i`.

use vm_core::GuestVirtAddr;

use crate::guest::{Exception, FlushScope, Request};

use super::fields::{mstatus, privilege, satp};
use super::{Hart, illegal, mmu};

/// `wfi` (RISC-V Priv 1.13, 3.3.3): illegal in U-mode, and in S-mode while `mstatus.TW` is set.
pub(super) fn wfi(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    let level = hart.state.privilege;
    let trapped = level == privilege::S && mstatus::TW.is_set(hart.state.mstatus);
    if level == privilege::U || trapped {
        return Err(illegal(args[0]));
    }
    hart.env.request(Request::Wait);
    Ok(0)
}

/// `wrs.nto` and `wrs.sto` (RISC-V Unpriv 20240411, chapter 14): a stall that may end at any time.
pub(super) fn wrs(hart: &mut Hart<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    hart.env.request(Request::Yield);
    Ok(0)
}

/// `pause` (RISC-V Unpriv 20240411, chapter 9).
pub(super) fn pause(hart: &mut Hart<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    hart.env.request(Request::Yield);
    Ok(0)
}

/// `fence.i` (RISC-V Unpriv 20240411, chapter 5).
pub(super) fn fence_i(hart: &mut Hart<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    hart.env.request(Request::SyncCode);
    Ok(0)
}

const HAS_ADDRESS: u64 = 1 << 0;
const HAS_ASID: u64 = 1 << 1;
const INSN_SHIFT: u32 = 32;

/// `sfence.vma` (RISC-V Priv 1.13, 12.2.1) and `sinval.vma` (chapter 13.3), which is taken to act at once.
pub(super) fn sfence_vma(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    let [addr, asid, what] = args;
    let level = hart.state.privilege;
    let trapped = level == privilege::S && mstatus::TVM.is_set(hart.state.mstatus);
    if level == privilege::U || trapped {
        return Err(illegal(what >> INSN_SHIFT));
    }
    let asid = asid & satp::ASID.mask() >> satp::ASID.mask().trailing_zeros();
    hart.env.flush(FlushScope {
        page: (what & HAS_ADDRESS != 0).then(|| GuestVirtAddr(addr).page_base()),
        asid: (what & HAS_ASID != 0).then(|| mmu::space_number(asid)),
    });
    Ok(0)
}

/// `sfence.w.inval` and `sfence.inval.ir`, which TVM does not trap (RISC-V Priv 1.13, 13.3). `sinval.vma` has done
/// everything already.
pub(super) fn sfence_inval(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    if hart.state.privilege == privilege::U {
        return Err(illegal(args[0]));
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
