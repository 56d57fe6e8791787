//! A machine that runs lifted user-mode code block by block on [`vm_ir::eval`]'s machine.

use std::cell::Cell;

use vm_core::{GuestPhysAddr, PAGE_BYTES};
use vm_ir::eval::FpControl;
use vm_ir::eval::block::{End, Fault, Machine as Blocks};
use vm_ir::passes::optimize;
use vm_ir::{Block, BlockKey, ExceptionCode, HelperId, Op as Ir, Slot, verify};
use vm_softfloat::{Env, RoundingDirection};

use super::{MACHINE, lift};
use crate::guest::{CodePage, Exception, Guest, LiftLimits};
use crate::riscv::isa::IsaConfig;
use crate::riscv::state::X;
use crate::riscv::sys::{CsrOp, HELPER_CSR, Riscv};

/// A running program.
pub(super) struct Machine {
    config: IsaConfig,
    blocks: Blocks,
    pub(super) pc: u64,
    frm: u8,
    optimized: bool,
}

struct Code<'a>(&'a Blocks);

impl Code<'_> {
    fn fetch(&self, addr: u64, into: &mut [u8]) {
        self.0
            .memory
            .read(addr, into)
            .expect("the program's code is there");
    }
}

impl CodePage for Code<'_> {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        self.fetch(self.0.page_base + u64::from(offset), into);
    }

    fn next_page(&mut self, into: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        let next = self.0.page_base + PAGE_BYTES;
        self.fetch(next, into);
        Ok(GuestPhysAddr(next))
    }
}

impl Machine {
    /// Memory begins at `base`, a multiple of the page size; execution begins at `pc`. Blocks go through the passes
    /// when `optimized`.
    pub(super) fn new(base: u64, image: &[u8], pc: u64, optimized: bool) -> Self {
        let mut blocks = Blocks::new(Riscv::layout());
        for page in (base..base + image.len() as u64).step_by(PAGE_BYTES as usize) {
            blocks.memory.map(page, true);
        }
        blocks.memory.set(base, image);
        blocks.fp = FpControl {
            rules: Env::riscv(RoundingDirection::NearestEven),
            ..FpControl::default()
        };
        let config = "max".parse().expect("a model");
        Self {
            config,
            blocks,
            pc,
            frm: 0,
            optimized,
        }
    }

    pub(super) fn x(&self, number: u16) -> u64 {
        self.blocks.get(Riscv::layout(), Slot::state(X + number))[0]
    }

    pub(super) fn bytes(&self, addr: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.blocks
            .memory
            .read(addr, &mut bytes)
            .expect("the program's data is there");
        bytes
    }

    /// Runs until `ecall`, before which the program counter then stands.
    pub(super) fn run(&mut self) {
        loop {
            self.blocks.page_base = self.pc & !(PAGE_BYTES - 1);
            let mut block = self.lift(64);
            // The helper sees the flags as they were before the block, so what calls it is a block of its own.
            if let Some(before) = insns_before_call(&block) {
                block = self.lift(before.max(1));
            }
            verify(&block, Riscv::layout()).unwrap_or_else(|error| panic!("{error}"));
            if self.optimized {
                optimize(&mut block, Riscv::layout());
                verify(&block, Riscv::layout())
                    .unwrap_or_else(|error| panic!("optimized: {error}"));
            }
            match self.step(&block) {
                End::Goes { pc, .. } | End::Exits { pc: Some(pc) } => self.pc = pc,
                End::Faults {
                    pc,
                    fault:
                        Fault::Exception {
                            code: ExceptionCode(8..=11),
                            ..
                        },
                } => {
                    self.pc = pc;
                    return;
                }
                other => panic!("at {:#x}: {other:?}", self.pc),
            }
        }
    }

    fn lift(&self, max_insns: u32) -> Block {
        let key = BlockKey {
            phys_pc: GuestPhysAddr(self.pc),
            mode: MACHINE,
        };
        let limits = LiftLimits {
            max_insns,
            stop_before: &[],
        };
        lift(&self.config, key, &mut Code(&self.blocks), limits).expect("the code is there")
    }

    fn step(&mut self, block: &Block) -> End {
        let fcsr = Cell::new(None);
        let before = self.frm << 5 | self.blocks.fp.flags as u8;
        let mut helper = |helper: HelperId, args: [u64; 3], _: &mut [u8]| {
            assert_eq!(helper, HELPER_CSR, "programs call no other");
            let (old, new) = csr(before, args);
            fcsr.set(Some(new));
            Ok(old)
        };
        let end = self.blocks.run(block, Riscv::layout(), &mut helper);
        if let Some(fcsr) = fcsr.get() {
            self.frm = fcsr >> 5;
            self.blocks.fp.flags = u32::from(fcsr & 0x1f);
            self.blocks.fp.rounding =
                RoundingDirection::from_riscv(self.frm).expect("programs set no reserved rounding");
        }
        end
    }
}

/// Instructions before the one that calls a helper, if there is one.
fn insns_before_call(block: &Block) -> Option<u32> {
    let call = block.insts.iter().position(|inst| inst.op == Ir::Call)?;
    let begun = block.insts[..call]
        .iter()
        .filter(|inst| inst.op == Ir::Insn)
        .count();
    Some(begun as u32 - 1)
}

/// A CSR instruction on `fflags`, `frm` and `fcsr`: the old value of that register, and all of `fcsr` afterwards.
fn csr(fcsr: u8, [request, source, _]: [u64; 3]) -> (u64, u8) {
    let (shift, bits) = match request & 0xfff {
        1 => (0, 0x1f),
        2 => (5, 0x07),
        3 => (0, 0xff),
        other => panic!("CSR {other:#x}"),
    };
    let (old, source) = (fcsr >> shift & bits, source as u8);
    let new = match request >> 12 & 3 {
        op if op == CsrOp::Write as u64 => source,
        op if op == CsrOp::Set as u64 => old | source,
        _ => old & !source,
    };
    let writes = request >> 14 & 1 != 0;
    let all = fcsr & !(bits << shift) | (new & bits) << shift;
    (old.into(), if writes { all } else { fcsr })
}
