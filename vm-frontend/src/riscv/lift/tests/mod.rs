//! Tests of the lifter.

mod blocks;
mod differential;
mod golden;
mod known;
mod machine;
mod program;
mod whole_table;

use vm_core::GuestPhysAddr;
use vm_ir::{Block, BlockKey, Mode};

use super::*;

/// Privilege M with floating point on and dirty.
const MACHINE: Mode = Mode(3 | 2 << 2);
/// The page that tests put their code in.
const BASE: u64 = 0x8000_0000;

/// Code at an offset of a page, and what the next virtual page begins with.
struct Page {
    offset: u16,
    halves: Vec<u16>,
    next: Result<(GuestPhysAddr, u16), Exception>,
}

impl Page {
    fn at(offset: u16, words: &[u32]) -> Self {
        let mut halves = Vec::new();
        for &word in words {
            halves.push(word as u16);
            if length(word as u16) == 4 {
                halves.push((word >> 16) as u16);
            }
        }
        let exception = Exception {
            code: ExceptionCode(cause::FETCH_PAGE),
            value: 0,
        };
        Self {
            offset,
            halves,
            next: Err(exception),
        }
    }
}

impl CodePage for Page {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        assert!(offset < PAGE && offset.is_multiple_of(2) && into.len() == 2);
        let at = usize::from(
            offset
                .checked_sub(self.offset)
                .expect("code before the entry"),
        ) / 2;
        let half = self.halves.get(at).copied().unwrap_or(0);
        into.copy_from_slice(&half.to_le_bytes());
    }

    fn next_page(&mut self, into: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        let (page, half) = self.next?;
        into.copy_from_slice(&half.to_le_bytes());
        Ok(page)
    }
}

fn limits() -> LiftLimits<'static> {
    LiftLimits {
        max_insns: 64,
        stop_before: &[],
    }
}

fn key(offset: u16, mode: Mode) -> BlockKey {
    BlockKey {
        phys_pc: GuestPhysAddr(BASE + u64::from(offset)),
        mode,
    }
}

/// Lifts into storage of its own.
fn lift(
    config: &IsaConfig,
    key: BlockKey,
    code: &mut dyn CodePage,
    limits: LiftLimits<'_>,
) -> Result<Block, Exception> {
    super::lift(config, key, code, limits, Block::default())
}

/// Lifts words that stand at the start of a page, for a hart with every extension.
fn lifted(words: &[u32], mode: Mode) -> Block {
    let config = "max".parse().expect("a model");
    lift(&config, key(0, mode), &mut Page::at(0, words), limits()).expect("the code is there")
}
