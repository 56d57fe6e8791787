//! The state of one hart and its layout.

use std::mem::offset_of;

use vm_ir::{Slot, SlotDecl, Type};

use super::sys::csr;
use crate::guest::CommonState;

/// PMP entries at most (RISC-V Priv 1.13, 3.7.1).
pub const PMP_ENTRIES: usize = 64;

/// Registers of one hart. Plain integers only; which bits of a control register can be set is enforced where it is
/// written ([`super::sys`]), so that readers take the fields as they stand.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(C)]
pub struct HartState {
    /// What every ISA has.
    pub common: CommonState,
    /// Integer registers; `x[0]` stays zero and is no slot.
    pub x: [u64; 32],
    /// Floating-point registers, narrower values NaN-boxed.
    pub f: [u64; 32],
    /// Current privilege: 0 U, 1 S, 3 M.
    pub privilege: u64,
    /// `mstatus`; SD is computed when it is read.
    pub mstatus: u64,
    /// `mie`.
    pub mie: u64,
    /// Software-writable bits of `mip` (SEIP, and STIP while `menvcfg.STCE` is clear). SSIP is an interrupt line.
    pub mip: u64,
    /// `mideleg`.
    pub mideleg: u64,
    /// `medeleg`.
    pub medeleg: u64,
    /// `mtvec`.
    pub mtvec: u64,
    /// `stvec`.
    pub stvec: u64,
    /// `mepc`.
    pub mepc: u64,
    /// `sepc`.
    pub sepc: u64,
    /// `mcause`.
    pub mcause: u64,
    /// `scause`.
    pub scause: u64,
    /// `mtval`.
    pub mtval: u64,
    /// `stval`.
    pub stval: u64,
    /// `mtval2`: of a double trap, the cause of the trap that S-mode could not take.
    pub mtval2: u64,
    /// `mscratch`.
    pub mscratch: u64,
    /// `sscratch`.
    pub sscratch: u64,
    /// `satp`; its mode is one that the hart has.
    pub satp: u64,
    /// `menvcfg`.
    pub menvcfg: u64,
    /// `senvcfg`.
    pub senvcfg: u64,
    /// `mstateen0` to `mstateen3`; everything is enabled in a hart without Smstateen.
    pub mstateen: [u64; 4],
    /// `mcounteren`.
    pub mcounteren: u64,
    /// `scounteren`.
    pub scounteren: u64,
    /// `mcountinhibit`.
    pub mcountinhibit: u64,
    /// `mcycle`: what to add to the instructions retired, or the value itself while it is inhibited.
    pub mcycle: u64,
    /// `minstret`: what to add to the instructions retired, or the value itself while it is inhibited.
    pub minstret: u64,
    /// `stimecmp`.
    pub stimecmp: u64,
    /// `frm` as it was written, reserved values included; `common.fp_rounding` follows it.
    pub frm: u64,
    /// `mhartid`.
    pub hart_id: u64,
    /// What of the configuration translation and traps need: bits of [`super::sys::feature`].
    pub features: u64,
    /// PMP entries that exist: 0, 16 or 64.
    pub pmp_entries: u64,
    /// Bit n: entry n matches addresses (its A field is not OFF).
    pub pmp_active: u64,
    /// Bit n: entry n is active and locked, so that it binds M-mode too.
    pub pmp_locked: u64,
    /// `pmpaddr0` to `pmpaddr63`.
    pub pmpaddr: [u64; PMP_ENTRIES],
    /// First byte that each active entry matches.
    pub pmp_first: [u64; PMP_ENTRIES],
    /// Last byte that each active entry matches.
    pub pmp_last: [u64; PMP_ENTRIES],
    /// The bytes of `pmpcfg0` to `pmpcfg14`, one an entry.
    pub pmpcfg: [u8; PMP_ENTRIES],
}

/// Number of the first integer register slot: slot `X + n` is `x[n]`; slot `X` itself is never used.
pub const X: u16 = 0;
/// Number of the first floating-point register slot.
pub const F: u16 = 32;
/// The slot of the first of the system registers in [`csr::WORDS`].
const CSR: u16 = 64;
/// Slots in the layout.
pub const SLOTS: usize = CSR as usize + csr::WORDS.len();

/// Order in which integer registers are given host registers: arguments, stack pointer and saved registers first, as
/// compiled code uses them, above all for addresses; the return address is used outside of loops.
const PIN_ORDER: [u8; 16] = [15, 14, 10, 13, 12, 2, 8, 9, 11, 1, 16, 17, 18, 5, 6, 7];

/// The same for floating-point registers and the host's vector registers.
const FP_PIN_ORDER: [u8; 16] = [15, 14, 13, 12, 10, 11, 0, 1, 2, 3, 16, 17, 8, 9, 4, 5];

const X_NAMES: [&str; 32] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30", "x31",
];
const F_NAMES: [&str; 32] = [
    "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14",
    "f15", "f16", "f17", "f18", "f19", "f20", "f21", "f22", "f23", "f24", "f25", "f26", "f27",
    "f28", "f29", "f30", "f31",
];

/// Every slot of a hart.
pub static SLOT_TABLE: [SlotDecl; SLOTS] = slot_table();

/// The slot of a system register that blocks read and write themselves.
pub(super) const fn csr_slot(word: csr::Word) -> Slot {
    Slot::state(CSR + word.number)
}

const fn slot_table() -> [SlotDecl; SLOTS] {
    let mut table = [SlotDecl {
        name: "",
        ty: Type::I64,
        offset: 0,
        pin_rank: 255,
    }; SLOTS];
    let mut n = 0;
    while n < 32 {
        table[X as usize + n] = SlotDecl {
            name: X_NAMES[n],
            ty: Type::I64,
            offset: (offset_of!(HartState, x) + 8 * n) as u32,
            pin_rank: 255,
        };
        table[F as usize + n] = SlotDecl {
            name: F_NAMES[n],
            ty: Type::F64,
            offset: (offset_of!(HartState, f) + 8 * n) as u32,
            pin_rank: 255,
        };
        n += 1;
    }
    let mut n = 0;
    while n < csr::WORDS.len() {
        let (name, offset) = csr::WORDS[n];
        table[CSR as usize + n] = SlotDecl {
            name,
            ty: Type::I64,
            offset: offset as u32,
            pin_rank: 255,
        };
        n += 1;
    }
    let mut rank = 0;
    while rank < PIN_ORDER.len() {
        table[X as usize + PIN_ORDER[rank] as usize].pin_rank = rank as u8;
        table[F as usize + FP_PIN_ORDER[rank] as usize].pin_rank = rank as u8;
        rank += 1;
    }
    table
}
