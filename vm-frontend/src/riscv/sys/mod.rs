//! The privileged architecture: control and status registers, traps, interrupts, translation, PMP.
//!
//! Follows the RISC-V Privileged Architecture 1.13 for RV64 with M, S and U modes and no hypervisor extension.
//! Blocks reach it through the helpers of [`HELPERS`]; the engine through [`crate::Guest`].

mod cache_blocks;
pub mod csr;
pub mod fields;
mod float;
mod hart;
mod interrupts;
pub mod mmu;
pub mod mode;
mod ordering;
mod pmp;
mod reset;
#[cfg(test)]
mod testing;
mod trap;

pub use hart::Riscv;

use vm_ir::{Effects, ExceptionCode, HelperDecl, HelperId};

use crate::guest::{Exception, SysEnv};
use crate::riscv::isa::IsaConfig;
use crate::riscv::state::HartState;

/// A hart while a helper runs.
struct Hart<'a> {
    state: &'a mut HartState,
    config: &'a IsaConfig,
    env: &'a mut dyn SysEnv<HartState>,
}

impl Hart<'_> {
    /// Runs a helper. Numbers come from blocks, hence from [`HELPERS`].
    ///
    /// # Errors
    /// The exception that the instruction raises; nothing has changed then.
    fn call(&mut self, helper: HelperId, args: [u64; 3]) -> Result<u64, Exception> {
        HANDLERS[usize::from(helper.0)](self, args)
    }
}

/// The illegal-instruction exception for these instruction bits.
fn illegal(insn: u64) -> Exception {
    Exception {
        code: ExceptionCode(fields::cause::ILLEGAL),
        value: insn & 0xffff_ffff,
    }
}

/// Features of the configuration as bits of `HartState::features`.
pub mod feature {
    /// Svnapot: 64 KiB translations.
    pub const NAPOT: u64 = 1 << 0;
    /// The machine answers firmware calls from S-mode itself.
    pub const BUILTIN_FIRMWARE: u64 = 1 << 1;
    /// Instructions are aligned to two bytes (the C extension), else to four.
    pub const COMPRESSED: u64 = 1 << 2;
    /// Smdbltrp: a trap into M-mode keeps it from taking another.
    pub const MACHINE_DOUBLE_TRAP: u64 = 1 << 3;
}

const ACCESS: Effects = Effects::MAY_FAULT.and(Effects::READS_STATE);
const SYSTEM: Effects = ACCESS.and(Effects::WRITES_STATE);

macro_rules! helpers {
    ($($(#[$doc:meta])* $id:ident $name:literal $effects:expr => $handler:path;)*) => {
        helpers!(@ids 0u16; $($(#[$doc])* $id;)*);

        /// Every helper, by number.
        pub static HELPERS: &[HelperDecl] = &[$(HelperDecl { name: $name, effects: $effects },)*];

        static HANDLERS: &[fn(&mut Hart<'_>, [u64; 3]) -> Result<u64, Exception>] = &[$($handler,)*];
    };
    (@ids $n:expr; $(#[$doc:meta])* $id:ident; $($rest:tt)*) => {
        $(#[$doc])*
        pub const $id: HelperId = HelperId($n);
        helpers!(@ids $n + 1; $($rest)*);
    };
    (@ids $n:expr;) => {};
}

helpers! {
    /// A CSR instruction. Arguments: the request that [`csr_request`] makes, the source value, the instruction's
    /// bits. Result: the register's old value (zero when it is not read). Every CSR instruction ends its block
    /// with `Exit`, unless [`csr::stays_in_block`] says that it need not.
    HELPER_CSR "csr" SYSTEM.and(Effects::ACCRUES) => csr::access;
    /// `mret`. Arguments: the instruction's bits. The block ends with `Dispatch`.
    HELPER_MRET "mret" SYSTEM => trap::mret;
    /// `sret`. Arguments: the instruction's bits. The block ends with `Dispatch`.
    HELPER_SRET "sret" SYSTEM => trap::sret;
    /// `wfi`. Arguments: the instruction's bits. The block ends with `Exit`.
    HELPER_WFI "wfi" ACCESS => ordering::wfi;
    /// `wrs.nto` and `wrs.sto`. No arguments. The block ends with `Exit`.
    HELPER_WRS "wrs" Effects::READS_STATE => ordering::wrs;
    /// `pause`. No arguments. The block ends with `Exit`.
    HELPER_PAUSE "pause" Effects::READS_STATE => ordering::pause;
    /// `sfence.vma` and `sinval.vma`. Arguments: address, address-space identifier, and the instruction's bits
    /// shifted left by 32 with bit 0 set when rs1 is not `x0` and bit 1 when rs2 is not. The block ends with `Exit`.
    HELPER_SFENCE_VMA "sfence.vma" ACCESS => ordering::sfence_vma;
    /// `sfence.w.inval` and `sfence.inval.ir`. Arguments: the instruction's bits. The block may go on.
    HELPER_SFENCE_INVAL "sfence.inval" ACCESS => ordering::sfence_inval;
    /// `fence.i`. No arguments. The block ends with `Exit`.
    HELPER_FENCE_I "fence.i" Effects::READS_STATE => ordering::fence_i;
    /// `cbo.zero`. Arguments: address, the instruction's bits.
    HELPER_CBO_ZERO "cbo.zero" ACCESS.and(Effects::WRITES_MEMORY) => cache_blocks::zero;
    /// `cbo.inval`. Arguments: address, the instruction's bits.
    HELPER_CBO_INVAL "cbo.inval" ACCESS.and(Effects::READS_MEMORY) => cache_blocks::inval;
    /// `cbo.clean`. Arguments: address, the instruction's bits.
    HELPER_CBO_CLEAN "cbo.clean" ACCESS.and(Effects::READS_MEMORY) => cache_blocks::clean;
    /// `cbo.flush`. Arguments: address, the instruction's bits.
    HELPER_CBO_FLUSH "cbo.flush" ACCESS.and(Effects::READS_MEMORY) => cache_blocks::clean;
    /// Makes `mstatus.FS` dirty, before floating-point state is written in a mode that is [`mode::FpState::Clean`].
    /// No arguments; never faults.
    HELPER_FS_DIRTY "fs.dirty" Effects::READS_STATE.and(Effects::WRITES_STATE) => float::fs_dirty;
}

/// What a CSR instruction does with the source value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CsrOp {
    /// Writes it (`csrrw`, `csrrwi`).
    Write = 0,
    /// Sets its bits (`csrrs`, `csrrsi`).
    Set = 1,
    /// Clears its bits (`csrrc`, `csrrci`).
    Clear = 2,
}

/// The first argument of [`HELPER_CSR`]. `csrrw` with rd = `x0` does not read; `csrrs` and `csrrc` with rs1 = `x0`
/// (or a zero immediate) do not write (RISC-V Unpriv 20240411, 6.1).
pub const fn csr_request(number: u16, op: CsrOp, reads: bool, writes: bool) -> u64 {
    number as u64 & 0xfff | (op as u64) << 12 | (writes as u64) << 14 | (reads as u64) << 15
}
