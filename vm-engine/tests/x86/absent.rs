//! Instructions that a model does not have, run on it.

use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, MandatoryPrefix, Mnemonic, OpCodeTableKind,
};
use vm_frontend::x86::cpu::{CpuConfig, CpuModel};
use vm_frontend::x86::state::CpuState;

use super::machine::*;

/// Bytes that the decoder takes for an instruction in code of `bits` bits.
fn bytes_of(code: Code, bits: u32) -> Option<Vec<u8>> {
    let info = code.op_code();
    let fits = match bits {
        64 => info.mode64(),
        _ => info.mode32(),
    };
    if !fits {
        return None;
    }
    let opcode: Vec<u8> = match info.op_code_len() {
        1 => vec![info.op_code() as u8],
        _ => vec![(info.op_code() >> 8) as u8, info.op_code() as u8],
    };
    let prefix = match info.mandatory_prefix() {
        MandatoryPrefix::P66 => 1,
        MandatoryPrefix::PF3 => 2,
        MandatoryPrefix::PF2 => 3,
        _ => 0,
    };
    let group = info.group_index();
    let mut tries = Vec::new();
    // Operands in registers and in memory, of the group if there is one.
    let field = u8::try_from(group).unwrap_or(0) << 3;
    let forms = (0..8).flat_map(|rm| [0xc0 | rm, rm, 0x40 | rm]);
    for modrm in forms.map(|form| form | field) {
        for w in [0, 1] {
            for l in 0..4 {
                match info.encoding() {
                    EncodingKind::Legacy => {
                        if l != 0 {
                            continue;
                        }
                        for sizes in 0..4 {
                            let mut bytes = Vec::new();
                            if sizes & 1 != 0 {
                                bytes.push(0x67);
                            }
                            if sizes & 2 != 0 {
                                bytes.push(0x66);
                            }
                            bytes.extend(&[&[][..], &[0x66], &[0xf3], &[0xf2]][prefix].to_vec());
                            if w == 1 {
                                if bits != 64 {
                                    continue;
                                }
                                bytes.push(0x48);
                            }
                            bytes.extend(match info.table() {
                                OpCodeTableKind::T0F => &[0x0f][..],
                                OpCodeTableKind::T0F38 => &[0x0f, 0x38],
                                OpCodeTableKind::T0F3A => &[0x0f, 0x3a],
                                _ => &[],
                            });
                            bytes.extend(&opcode);
                            bytes.push(modrm);
                            tries.push(bytes);
                        }
                    }
                    EncodingKind::VEX if l < 2 => {
                        let table = vector_table(info.table());
                        let w_l = w << 7 | 0x78 | (l as u8) << 2 | prefix as u8;
                        let mut bytes = vec![0xc4, 0xe0 | table, w_l];
                        bytes.extend(&opcode);
                        bytes.push(modrm);
                        tries.push(bytes);
                    }
                    EncodingKind::XOP if l < 2 => {
                        let table = match info.table() {
                            OpCodeTableKind::MAP8 => 8,
                            OpCodeTableKind::MAP9 => 9,
                            _ => 10,
                        };
                        let w_l = w << 7 | 0x78 | (l as u8) << 2 | prefix as u8;
                        let mut bytes = vec![0x8f, 0xe0 | table, w_l];
                        bytes.extend(&opcode);
                        bytes.push(modrm);
                        tries.push(bytes);
                    }
                    EncodingKind::EVEX => {
                        let table = vector_table(info.table());
                        for mask in [0, 1] {
                            let second = w << 7 | 0x7c | prefix as u8;
                            let third = (l as u8) << 5 | 8 | mask;
                            let mut bytes = vec![0x62, 0xf0 | table, second, third];
                            bytes.extend(&opcode);
                            bytes.push(modrm);
                            tries.push(bytes);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    tries.into_iter().find_map(|mut bytes| {
        // Whatever else it wants: a scaled index, a displacement, an immediate.
        let opcode = bytes.len();
        bytes.extend([0x24, 0, 0, 0, 0, 0, 0, 0]);
        bytes.truncate(15.min(opcode + 8));
        let insn = Decoder::new(bits, &bytes, DecoderOptions::NONE).decode();
        (insn.code() == code).then_some(bytes)
    })
}

fn vector_table(table: OpCodeTableKind) -> u8 {
    match table {
        OpCodeTableKind::T0F => 1,
        OpCodeTableKind::T0F38 => 2,
        OpCodeTableKind::T0F3A => 3,
        OpCodeTableKind::MAP5 => 5,
        OpCodeTableKind::MAP6 => 6,
        _ => 0,
    }
}

/// Those that a processor without them takes for other instructions, or for none (Intel SDM 2B, "NOP", "TZCNT").
fn means_something_else(code: Code) -> bool {
    use Mnemonic as M;
    matches!(
        code.mnemonic(),
        M::Tzcnt
            | M::Lzcnt
            | M::Wbnoinvd
            | M::Pause
            | M::Prefetchwt1
            | M::Prefetchit0
            | M::Prefetchit1
            | M::Cldemote
            | M::Endbr32
            | M::Endbr64
            | M::Rdsspd
            | M::Rdsspq
            | M::Prefetch
            | M::Prefetchw
            | M::Prefetchnta
            | M::Prefetcht0
            | M::Prefetcht1
            | M::Prefetcht2
            | M::Reservednop
    )
}

fn is_absent(config: &CpuConfig, code: Code) -> bool {
    let info = code.op_code();
    let decoded = info.is_instruction() && !info.fwait() && info.decoder_option() == 0;
    let there = code
        .cpuid_features()
        .iter()
        .all(|&kind| config.allows(kind) || kind == iced_x86::CpuidFeature::X64);
    decoded && !there && !means_something_else(code)
}

/// Gives what each absent instruction raises that is not #UD, and how many were run.
fn run_absent(config: &CpuConfig, bits: u32, codes: &[(Code, Vec<u8>)]) -> (Vec<String>, usize) {
    let mut machine = Machine::long_with(config.clone(), |a| a.nop());
    let mut start: CpuState = *machine.state();
    if bits == 32 {
        let code = vm_frontend::x86::state::Segment::new(CODE32, 0, u32::MAX, 0xc9b);
        start.segments[1] = code;
    }
    // What the instructions need in the control registers is there.
    start.cr4 |= 0x600;
    if config.xcr0() & 4 != 0 {
        start.cr4 |= 1 << 18;
        start.xcr0 = config.xcr0();
    }
    let (mut wrong, mut run) = (Vec::new(), 0);
    for (code, bytes) in codes {
        if !is_absent(config, *code) {
            continue;
        }
        run += 1;
        machine.write(CODE, bytes);
        machine.vcpu.state_mut().clone_from(&start);
        let delivered = machine.run_to_stub();
        if (delivered.what(), delivered.rip) != ((6, None), CODE) {
            wrong.push(format!("{code:?} {bytes:02x?}: {delivered:x?}"));
        }
    }
    (wrong, run)
}

#[test]
fn absent_instructions_are_undefined() {
    // What the smallest has is everywhere.
    let models = ["x86-64-v1", "x86-64-v2", "x86-64-v3", "max"];
    let config = |name| CpuModel::from_name(name).expect("a model").config();
    let least = config(models[0]);
    for bits in [64, 32] {
        let absent = Code::values().filter(|&code| is_absent(&least, code));
        let codes: Vec<_> = absent
            .filter_map(|code| Some((code, bytes_of(code, bits)?)))
            .collect();
        for name in models {
            let (wrong, run) = run_absent(&config(name), bits, &codes);
            assert!(wrong.is_empty(), "{name}, {bits}: {wrong:#?}");
            assert!(run > 1000, "{name}, {bits}: {run} of them");
        }
    }
}
