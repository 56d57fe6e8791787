//! Every instruction that iced-x86 knows.

use iced_x86::Code as Encoding;

use super::*;

#[test]
fn rules_have_room_for_every_mnemonic() {
    assert_eq!(Mnemonic::values().len(), MNEMONICS);
}

/// Whether the decoder never gives it here: it asks for an option, stands for several instructions, or is no instruction.
fn is_not_decoded(code: Encoding) -> bool {
    let info = code.op_code();
    !info.is_instruction() || info.fwait() || info.decoder_option() != 0
}

#[test]
fn every_code_that_the_processor_has_has_a_rule() {
    let config = config();
    let has = |code: &Encoding| {
        let features = code.cpuid_features();
        features.iter().all(|&feature| config.allows(feature))
    };
    let missing: Vec<Encoding> = Encoding::values()
        .filter(has)
        .filter(|&code| !is_not_decoded(code))
        .filter(|code| matches!(rule(code.mnemonic()), Rule::Missing))
        .filter(|code| !crate::x86::fp::lift::knows(code.mnemonic()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Modes that blocks are lifted in.
fn modes() -> Vec<Mode> {
    let protected = mode::PROTECTED;
    let flat = mode::FLAT | mode::FLAT_CODE;
    let mut modes = Vec::new();
    for extra in [0, mode::SUPERVISOR | mode::IO_PRIVILEGED, mode::USER] {
        for alone in [0, mode::SINGLE_STEP, mode::SHADOW] {
            let extra = extra | alone;
            modes.extend([
                Mode(2 | protected | flat | extra),
                Mode(1 | mode::STACK32 | protected | flat | extra),
                Mode(1 | mode::STACK32 | protected | extra),
                Mode(1 | mode::STACK32 | protected | flat | mode::ALIGNMENT_CHECK | extra),
                Mode(protected | extra),
                Mode(protected | mode::V86 | extra),
                Mode(mode::FLAT | mode::STACK32 | extra),
                Mode(extra),
            ]);
        }
    }
    modes
}

#[test]
fn lift_any_bytes_in_any_mode_keeps_the_rules_of_blocks() {
    let mut random = super::random::Random(3);
    let modes = modes();
    for _ in 0..60_000 {
        let mut bytes: [u8; 24] = std::array::from_fn(|_| random.next() as u8);
        let prefixes = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x65, 0x36];
        let mut at = 0;
        while random.one_in(3) && at < 3 {
            bytes[at] = random.pick(&prefixes);
            at += 1;
        }
        match random.below(3) {
            0 => bytes[at] = 0x0f,
            1 => {
                bytes[at] = 0x0f;
                bytes[at + 1] = random.pick(&[0x01, 0xae, 0xc7, 0x38, 0x3a, 0x20, 0x22, 0x1e]);
            }
            _ => {}
        }
        let mode = random.pick(&modes);
        let offset = random.pick(&[0, 0x7f0, PAGE - 9, PAGE - 2, PAGE - 1]);
        lifted(offset, &bytes, mode, 8);
    }
}
