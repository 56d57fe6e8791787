//! Tests of the lifter.

mod codes;
mod differential;
mod forms;
mod host;
mod random;
mod strings;

use vm_core::GuestPhysAddr;
use vm_ir::{Block, BlockKey, Mode};

use super::*;
use crate::guest::Guest;
use crate::x86::{X86, mode};

/// 64-bit code of an application.
const USER_64: Mode = Mode(2 | mode::USER | mode::PROTECTED | mode::FLAT | mode::FLAT_CODE);

/// 32-bit code of an application.
const USER_32: Mode =
    Mode(1 | mode::STACK32 | mode::USER | mode::PROTECTED | mode::FLAT | mode::FLAT_CODE);

/// Code at an offset of a page; zeros behind it.
struct Code<'a> {
    offset: u16,
    bytes: &'a [u8],
}

impl CodePage for Code<'_> {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        assert!(usize::from(offset) + into.len() <= usize::from(PAGE));
        let from = usize::from(offset - self.offset).min(self.bytes.len());
        let rest = &self.bytes[from..];
        let count = rest.len().min(into.len());
        into.fill(0);
        into[..count].copy_from_slice(&rest[..count]);
    }

    fn next_page(&mut self, into: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        let from = usize::from(PAGE - self.offset).min(self.bytes.len());
        let rest = &self.bytes[from..];
        let count = rest.len().min(into.len());
        into.fill(0);
        into[..count].copy_from_slice(&rest[..count]);
        Ok(GuestPhysAddr(0x5000))
    }
}

/// Lifts at most so many instructions at an offset of a page.
fn lifted(offset: u16, bytes: &[u8], mode: Mode, max_insns: u32) -> Block {
    let key = BlockKey {
        phys_pc: GuestPhysAddr(0x4000 + u64::from(offset)),
        mode,
    };
    let limits = LiftLimits {
        max_insns,
        stop_before: &[],
    };
    let config = config();
    let block = lift(
        &config,
        key,
        &mut Code { offset, bytes },
        limits,
        Block::default(),
    );
    let block = block.expect("the code can be fetched");
    vm_ir::verify(&block, X86::layout()).unwrap_or_else(|error| {
        let text = vm_ir::text::print(&block, X86::layout());
        panic!("{bytes:02x?}: {error}\n{text}")
    });
    block
}

/// A processor with everything.
fn config() -> CpuConfig {
    "max".parse().expect("a model")
}
