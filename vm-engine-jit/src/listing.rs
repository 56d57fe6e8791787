//! Translated code for people to read.

use std::fmt::Write as _;

use iced_x86::{Decoder, DecoderOptions, Formatter as _, IntelFormatter};
use vm_engine::tier::Translation;

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The blocks' intermediate representation.
    pub ir: bool,
    /// The host's instructions.
    pub asm: bool,
    /// First and last guest-virtual address of the blocks' beginnings, when not all are shown.
    pub filter: Option<(u64, u64)>,
}

impl Listing {
    /// Text of a block that was translated to two parts, the way through and what is out of it, with their addresses;
    /// nothing when it is not to be shown.
    pub(crate) fn text(&self, of: &Translation<'_>, parts: [(u64, &[u8]); 2]) -> Option<String> {
        if self
            .filter
            .is_some_and(|(first, last)| !(first..=last).contains(&of.pc))
        {
            return None;
        }
        let (key, insns) = (of.block.key, of.block.guest_insns);
        let mut text = format!(
            "--- {:x} (physical {:x}, mode {:x}): {insns} instructions, {} host bytes on the way through, {} out of it\n",
            of.pc,
            key.phys_pc.raw(),
            key.mode.0,
            parts[0].1.len(),
            parts[1].1.len()
        );
        if self.ir {
            text += &vm_ir::text::print(of.block, of.layout);
        }
        if self.asm {
            let mut formatter = IntelFormatter::new();
            for (n, (base, code)) in parts.into_iter().enumerate() {
                text += ["", "out of the way:\n"][n];
                for instruction in Decoder::with_ip(64, code, base, DecoderOptions::NONE) {
                    // Writing to a string does not fail.
                    let _ = write!(text, "{:x}  ", instruction.ip());
                    formatter.format(&instruction, &mut text);
                    text.push('\n');
                }
            }
        }
        Some(text)
    }
}
