//! Properties that hold for every instruction, with random operands.

use vm_ir::{Attr, AttrClass, Class, Effects, Op as Ir};

use super::*;
use crate::guest::Guest;
use crate::riscv::decode::random_encodings;
use crate::riscv::state::SLOTS;
use crate::riscv::sys::{HELPERS, Riscv};

fn modes() -> impl Iterator<Item = Mode> {
    [0, 1, 3]
        .into_iter()
        .flat_map(|privilege| (0..3).map(move |fp| Mode(privilege | fp << 2)))
}

/// Every instruction lifted by itself, then once more with others before it.
fn every_block(mut check: impl FnMut(u32, &Block)) {
    for mode in modes() {
        for word in random_encodings(16) {
            check(word, &lifted(&[word], mode));
            check(
                word,
                &lifted(&[0x0000_1517, 0x0000_1097, 0x00b5_f553, word], mode),
            );
        }
    }
}

fn has_attr(attr: &Attr, class: AttrClass) -> bool {
    match class {
        AttrClass::None => matches!(attr, Attr::None),
        AttrClass::Mem => matches!(attr, Attr::Mem(_)),
        AttrClass::Fp => matches!(attr, Attr::Fp(_)),
        AttrClass::Convert => matches!(attr, Attr::Convert { .. }),
        AttrClass::Integral => matches!(attr, Attr::Integral { .. }),
        AttrClass::MinMax => matches!(attr, Attr::MinMax(_)),
        AttrClass::Cond => matches!(attr, Attr::Cond(_)),
        AttrClass::FlagCond => matches!(attr, Attr::FlagCond(_)),
        AttrClass::FlagKind => matches!(attr, Attr::FlagKind(_)),
        AttrClass::Helper => matches!(attr, Attr::Helper(_)),
        AttrClass::Vector => matches!(attr, Attr::Vector { .. }),
        AttrClass::Lane => matches!(attr, Attr::Lane { .. }),
        AttrClass::Field => matches!(attr, Attr::Field { .. }),
        AttrClass::Fence => matches!(attr, Attr::Fence(_)),
        AttrClass::Insn => matches!(attr, Attr::Insn { .. }),
    }
}

#[test]
fn lift_every_instruction_gives_operations_as_the_table_says() {
    every_block(|word, block| {
        for inst in &block.insts {
            let info = inst.op.info();
            assert!(has_attr(&inst.attr, info.attr), "{word:08x}: {inst:?}");
            for (number, arg) in inst.args.iter().enumerate() {
                let fits = match info.args.get(number) {
                    None => matches!(arg, Operand::None),
                    Some(Class::OptInt | Class::OptFlags | Class::OptVec) => true,
                    Some(Class::Imm) => matches!(arg, Operand::Imm(_)),
                    Some(Class::Fp | Class::Flags | Class::Wide | Class::Vec) => {
                        matches!(arg, Operand::Slot(_))
                    }
                    Some(_) => !matches!(arg, Operand::None),
                };
                assert!(fits, "{word:08x}: operand {number} of {inst:?}");
            }
            for slot in inst.reads().chain(inst.dst) {
                let bound = if slot.is_temp() {
                    block.temps.len()
                } else {
                    SLOTS
                };
                assert!(slot.index() < bound, "{word:08x}: {inst:?}");
                assert!(
                    slot.is_temp() || slot.index() != 0,
                    "{word:08x} uses x0: {inst:?}"
                );
            }
        }
    });
}

#[test]
fn lift_every_instruction_gives_a_block_that_verifies() {
    every_block(|word, block| {
        if let Err(error) = vm_ir::verify(block, Riscv::layout()) {
            panic!("{word:08x}: {error}");
        }
    });
}

#[test]
fn lift_every_instruction_faults_before_it_writes() {
    every_block(|word, block| {
        let mut written = false;
        for inst in &block.insts {
            let mut effects = inst.op.info().effects;
            if let Attr::Helper(helper) = inst.attr {
                effects = effects.and(HELPERS[usize::from(helper.0)].effects);
            }
            if inst.op == Ir::Insn {
                written = false;
            }
            assert!(
                !(written && effects.has(Effects::MAY_FAULT)),
                "{word:08x}: {:?}",
                block.insts
            );
            written |= inst.dst.is_some_and(|slot| !slot.is_temp())
                || effects.has(Effects::WRITES_MEMORY)
                || effects.has(Effects::WRITES_STATE);
        }
        if let Terminator::Exception { .. } = block.terminator {
            assert!(
                !written,
                "{word:08x} writes, then raises: {:?}",
                block.insts
            );
        }
    });
}

#[test]
fn lift_any_words_never_panics_and_counts_its_bytes() {
    let words: Vec<u32> = random_encodings(8).collect();
    for chunk in words.chunks(7) {
        for rotated in 0..4 {
            let mixed: Vec<u32> = chunk.iter().map(|word| word.rotate_left(rotated)).collect();
            let block = lifted(&mixed, MACHINE);
            let markers = block.insts.iter().filter_map(|inst| match inst.attr {
                Attr::Insn { offset, len } => Some((u32::from(offset), u32::from(len))),
                _ => None,
            });
            let mut at = 0;
            for (offset, len) in markers {
                assert_eq!(offset, at);
                at += len;
            }
            assert_eq!(at, block.guest_bytes);
        }
    }
}
