//! Register map of the platform-level interrupt controller (RISC-V PLIC 1.0.0, chapter 3) with the sizes of
//! QEMU's `virt` machine.

/// Interrupt source numbers on the `virt` machine, the nonexistent source 0 included: the device tree says
/// `riscv,ndev = <95>`.
pub const VIRT_SOURCES: u32 = 96;
/// Most sources that the register map has room for, source 0 included (PLIC 1.0.0, 1).
pub const MAX_SOURCES: u32 = 1024;
/// Most contexts that the register map has room for (PLIC 1.0.0, 1).
pub const MAX_CONTEXTS: u32 = 15872;
/// Bits of a priority or threshold that exist: levels 0 (never) to 7.
pub const PRIORITY_MASK: u8 = 7;

/// Source priorities, one word a source (PLIC 1.0.0, 4).
pub const PRIORITY: u64 = 0;
/// Pending bits, 32 sources a word (PLIC 1.0.0, 5).
pub const PENDING: u64 = 0x1000;
/// Enable bits of context 0 (PLIC 1.0.0, 6).
pub const ENABLE: u64 = 0x2000;
/// Bytes of enable bits a context.
pub const ENABLE_STRIDE: u64 = 0x80;
/// Threshold of context 0 (PLIC 1.0.0, 7).
pub const CONTEXT: u64 = 0x20_0000;
/// Bytes between contexts' threshold and claim registers.
pub const CONTEXT_STRIDE: u64 = 0x1000;
/// Priority threshold, within a context's page (PLIC 1.0.0, 7).
pub const CONTEXT_THRESHOLD: u64 = 0;
/// Claim (read, PLIC 1.0.0, 8) and completion (write, 9), within a context's page.
pub const CONTEXT_CLAIM: u64 = 4;

/// Bytes of address space for a number of contexts.
pub const fn range_bytes(contexts: u32) -> u64 {
    CONTEXT + contexts as u64 * CONTEXT_STRIDE
}

/// The registers, as an offset decodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Register {
    Priority { source: usize },
    Pending { word: usize },
    Enable { context: usize, word: usize },
    Threshold { context: usize },
    Claim { context: usize },
}

impl Register {
    /// The register at a word-aligned offset; indexes may lie beyond what is built in.
    pub(super) fn at(offset: u64) -> Option<Self> {
        if !offset.is_multiple_of(4) {
            return None;
        }
        let index = |from: u64, unit: u64| ((offset - from) / unit) as usize;
        if offset < PENDING {
            Some(Self::Priority {
                source: index(PRIORITY, 4),
            })
        } else if offset < ENABLE {
            Some(Self::Pending {
                word: index(PENDING, 4),
            })
        } else if offset < CONTEXT {
            let word = ((offset - ENABLE) % ENABLE_STRIDE / 4) as usize;
            Some(Self::Enable {
                context: index(ENABLE, ENABLE_STRIDE),
                word,
            })
        } else {
            let context = index(CONTEXT, CONTEXT_STRIDE);
            match (offset - CONTEXT) % CONTEXT_STRIDE {
                CONTEXT_THRESHOLD => Some(Self::Threshold { context }),
                CONTEXT_CLAIM => Some(Self::Claim { context }),
                _ => None,
            }
        }
    }
}
