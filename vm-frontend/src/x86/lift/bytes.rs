//! The bytes of instructions.

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};
use vm_core::GuestPhysAddr;
use vm_ir::Mode;

use super::PAGE;
use crate::guest::{CodePage, Exception};
use crate::x86::mode;

/// Bytes that are read at once at most; pieces end at multiples of it, which are those by which code is watched.
const PIECE: u16 = 64;
/// Bytes of the longest instruction (Intel SDM 2A, 2.3.11).
const LONGEST: usize = 15;

/// Bytes of the page from one place on, as far as they have been needed.
pub(super) struct Bytes<'a> {
    code: &'a mut dyn CodePage,
    bits: u32,
    held: [u8; PIECE as usize + LONGEST],
    /// Offset in the page of the first byte held.
    from: u16,
    count: usize,
}

/// What came of decoding.
pub(super) enum Fetched {
    /// An instruction, or one that does not exist.
    Whole,
    /// The same; its end is in this physical page.
    Straddles(GuestPhysAddr),
    /// It goes on in the next page.
    BehindPage,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(code: &'a mut dyn CodePage, mode: Mode) -> Self {
        Self {
            code,
            bits: mode::code_bits(mode),
            held: [0; PIECE as usize + LONGEST],
            from: 0,
            count: 0,
        }
    }

    /// Decodes the instruction at an offset in the page, which is not before that of the last call.
    ///
    /// # Errors
    /// The exception of fetching what is in the next page, for the `first` instruction of a block.
    pub(super) fn decode(
        &mut self,
        offset: u16,
        first: bool,
        insn: &mut Instruction,
    ) -> Result<Fetched, Exception> {
        self.skip_to(offset);
        loop {
            if self.try_decode(insn) || self.count >= LONGEST {
                return Ok(Fetched::Whole);
            }
            if self.end() == PAGE {
                break;
            }
            self.read_on();
        }
        if !first {
            return Ok(Fetched::BehindPage);
        }
        let page = self.code.next_page(&mut self.held[self.count..LONGEST])?;
        self.count = LONGEST;
        self.try_decode(insn);
        Ok(Fetched::Straddles(page))
    }

    fn end(&self) -> u16 {
        self.from + self.count as u16
    }

    fn skip_to(&mut self, offset: u16) {
        let skipped = usize::from(offset - self.from).min(self.count);
        self.held.copy_within(skipped..self.count, 0);
        self.count -= skipped;
        self.from = offset;
    }

    /// Reads the rest of a piece. Fewer bytes than the longest instruction are held.
    fn read_on(&mut self) {
        let end = self.end();
        let more = usize::from(PIECE - end % PIECE);
        let into = &mut self.held[self.count..self.count + more];
        self.code.bytes(end, into);
        self.count += more;
    }

    /// Whether the bytes held are enough to tell the instruction.
    fn try_decode(&self, insn: &mut Instruction) -> bool {
        let held = &self.held[..self.count.min(LONGEST)];
        let mut decoder = Decoder::with_ip(self.bits, held, self.from.into(), DecoderOptions::NONE);
        decoder.decode_out(insn);
        decoder.last_error() != DecoderError::NoMoreBytes
    }
}
