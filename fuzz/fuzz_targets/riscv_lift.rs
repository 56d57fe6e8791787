//! RISC-V code of arbitrary bytes: it decodes, disassembles and lifts without a panic, to blocks that the IR's verifier
//! accepts. The first four bytes choose mode bits and how much of an instruction the next page supplies; of the rest as
//! much is looked at as a block can take.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vm_core::{GuestPhysAddr, GuestVirtAddr};
use vm_frontend::riscv::Riscv;
use vm_frontend::riscv::decode::{Decoder, ENCODINGS, encoding};
use vm_frontend::riscv::disasm::{Style, disassemble};
use vm_frontend::riscv::isa::{CpuModel, Extensions};
use vm_frontend::{CodePage, Exception, Guest, LiftLimits};
use vm_ir::{Block, BlockKey, ExceptionCode, Mode, verify};

/// A block of the most and longest instructions.
const CODE_BYTES: usize = 32 * 4;

struct Bytes<'a>(&'a [u8], u16, bool);

impl Bytes<'_> {
    fn at(&self, index: usize) -> u16 {
        let byte = |n| u16::from(self.0.get(n).copied().unwrap_or(0));
        byte(index) | byte(index + 1) << 8
    }
}

impl CodePage for Bytes<'_> {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        assert!(offset < 4096 && offset.is_multiple_of(2) && into.len() == 2);
        let half = self.at(usize::from(offset.wrapping_sub(self.1)));
        into.copy_from_slice(&half.to_le_bytes());
    }

    fn next_page(&mut self, into: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        let (code, value) = (ExceptionCode(12), 0x2000);
        if self.2 {
            return Err(Exception { code, value });
        }
        into.copy_from_slice(&self.at(2).to_le_bytes());
        Ok(GuestPhysAddr(0x8765_0000))
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&head, code)) = data.split_first_chunk::<4>() else {
        return;
    };
    let config = match CpuModel::ALL.get(usize::from(head[3] >> 6)) {
        Some(model) => model.config(),
        None => CpuModel::ALL[0].config(),
    };
    // Whole words are any bits, or the fields of a valid encoding, so that all of them are reached.
    let mut code = code[..code.len().min(CODE_BYTES)].to_vec();
    if head[3] & 1 != 0 {
        for word in code.chunks_exact_mut(4) {
            let fill = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let number = usize::from(word[0]) + usize::from(word[3] & 1) * 256;
            if let Some(made) = encoding(number % ENCODINGS, fill.rotate_left(8)) {
                word.copy_from_slice(&made.to_le_bytes());
            }
        }
    }
    for decoder in [
        Decoder::new(config.extensions),
        Decoder::new(Extensions::ALL),
    ] {
        for bytes in code.windows(4).step_by(2) {
            let word = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
            if let Some(insn) = decoder.decode(word) {
                assert!(insn.rd < 32 && insn.rs1 < 32 && insn.rs2 < 32 && insn.rs3 < 32);
            }
            disassemble(&decoder, word, GuestVirtAddr(0x1000), Style::Plain);
        }
    }
    let offset = u16::from_le_bytes([head[0], head[1]]) & 0xffe;
    let key = BlockKey {
        phys_pc: GuestPhysAddr(0x8000_0000 + u64::from(offset)),
        mode: Mode(u32::from(head[2])),
    };
    let limits = LiftLimits {
        max_insns: 1 + u32::from(head[3] >> 1 & 31),
        stop_before: &[],
    };
    let mut page = Bytes(&code, offset, head[3] & 32 != 0);
    if let Ok(block) = Riscv::lift(&config, key, &mut page, limits, Block::default()) {
        verify(&block, Riscv::layout()).expect("lifted blocks are well-formed");
        assert!(block.guest_insns <= limits.max_insns);
    }
});
