//! Tests: instructions against the host's processor.

mod codes;
mod differential;
mod env;
mod forms;
mod host;
mod random;

use vm_core::GuestPhysAddr;
use vm_ir::{Block, BlockKey, Mode};

use crate::guest::{CodePage, Exception, Guest, LiftLimits};
use crate::x86::cpu::CpuConfig;
use crate::x86::{X86, mode};

/// 64-bit code of an application.
const USER_64: Mode = Mode(2 | mode::USER | mode::PROTECTED | mode::FLAT | mode::FLAT_CODE);

/// Code at an offset of a page; zeros behind it.
struct Code<'a> {
    offset: u16,
    bytes: &'a [u8],
}

impl CodePage for Code<'_> {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        let from = usize::from(offset - self.offset).min(self.bytes.len());
        let rest = &self.bytes[from..];
        let count = rest.len().min(into.len());
        into.fill(0);
        into[..count].copy_from_slice(&rest[..count]);
    }

    fn next_page(&mut self, _: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        unreachable!("tests put instructions into one page")
    }
}

/// The block of one instruction.
fn lifted(bytes: &[u8], mode: Mode, config: &CpuConfig) -> Block {
    let key = BlockKey {
        phys_pc: GuestPhysAddr(0x4000 + u64::from(host::AT)),
        mode,
    };
    let limits = LiftLimits {
        max_insns: 1,
        stop_before: &[],
    };
    let mut code = Code {
        offset: host::AT,
        bytes,
    };
    let block = X86::lift(config, key, &mut code, limits, Block::default());
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
