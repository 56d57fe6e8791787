//! Instructions that do nothing that a program sees, or do not exist (Intel SDM 1, 7.3.16).

use iced_x86::Mnemonic;
use vm_ir::FenceSet;

use super::context::{Context, Use};
use super::{Flow, INVALID};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Hints.
    Nothing,
    /// `mfence`: the one order that loads and stores do not keep anyway (Intel SDM 3A, 9.2.2).
    Fence,
    /// `clflush` and its kin: caches follow memory by themselves, but the address is checked as by a load
    /// (Intel SDM 2A, "CLFLUSH").
    Touch,
    /// `ud0`, `ud1`, `ud2`.
    Undefined,
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Nop, Nothing),
    (Mnemonic::Reservednop, Nothing),
    (Mnemonic::Endbr32, Nothing),
    (Mnemonic::Endbr64, Nothing),
    (Mnemonic::Prefetch, Nothing),
    (Mnemonic::Prefetchw, Nothing),
    (Mnemonic::Prefetchwt1, Nothing),
    (Mnemonic::Prefetchnta, Nothing),
    (Mnemonic::Prefetcht0, Nothing),
    (Mnemonic::Prefetcht1, Nothing),
    (Mnemonic::Prefetcht2, Nothing),
    (Mnemonic::Prefetchit0, Nothing),
    (Mnemonic::Prefetchit1, Nothing),
    (Mnemonic::Cldemote, Nothing),
    (Mnemonic::Lfence, Nothing),
    (Mnemonic::Sfence, Nothing),
    (Mnemonic::Serialize, Nothing),
    (Mnemonic::Mfence, Fence),
    (Mnemonic::Clflush, Touch),
    (Mnemonic::Clflushopt, Touch),
    (Mnemonic::Clwb, Touch),
    (Mnemonic::Ud0, Undefined),
    (Mnemonic::Ud1, Undefined),
    (Mnemonic::Ud2, Undefined),
];

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Nothing => {}
        Fence => c.b.fence(FenceSet::FULL),
        Touch => {
            let address = c.address(1, Use::Read);
            c.load(address, vm_ir::Type::I8);
        }
        Undefined => return INVALID,
    }
    Flow::Next
}
