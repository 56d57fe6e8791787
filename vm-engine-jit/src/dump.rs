//! Translated code for people to read.

use std::fmt::Write as _;

use iced_x86::{Decoder, DecoderOptions, Formatter as _, IntelFormatter};
use vm_engine::tier::Translation;

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The blocks' intermediate representation.
    pub ir: bool,
    /// The host's instructions.
    pub asm: bool,
    /// First and last guest-virtual address of the blocks' beginnings, when not all are shown.
    pub filter: Option<(u64, u64)>,
}

impl Dump {
    /// Text of a block that was translated to `code`, to be run at `base`, which is out of the way from `cold` on;
    /// nothing when it is not to be shown.
    pub(crate) fn text(
        &self,
        of: &Translation<'_>,
        base: u64,
        (code, cold): (&[u8], usize),
    ) -> Option<String> {
        if self
            .filter
            .is_some_and(|(first, last)| !(first..=last).contains(&of.pc))
        {
            return None;
        }
        let (key, insns) = (of.block.key, of.block.guest_insns);
        let mut text = format!(
            "--- {:x} (physical {:x}, mode {:x}): {insns} instructions, {} host bytes, {} of them out of the way\n",
            of.pc,
            key.phys_pc.raw(),
            key.mode.0,
            code.len(),
            code.len() - cold
        );
        if self.ir {
            text += &vm_ir::text::print(of.block, of.layout);
        }
        if self.asm {
            let mut formatter = IntelFormatter::new();
            for instruction in Decoder::with_ip(64, code, base, DecoderOptions::NONE) {
                // Writing to a string does not fail.
                let _ = write!(text, "{:x}  ", instruction.ip());
                formatter.format(&instruction, &mut text);
                text.push('\n');
            }
        }
        Some(text)
    }
}
