//! Random programs of vector instructions for x86: translated code against the interpreter, which must agree on every
//! register, on flags and exceptions, and on memory.

#[path = "../../../vm-frontend/src/x86/fp/tests/forms.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod forms;
#[path = "../../../vm-engine/tests/x86/machine.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod machine;
#[path = "../../../vm-frontend/src/x86/fp/tests/random.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod random;

use std::sync::Arc;

use iced_x86::{Code, CpuidFeature, Encoder, EncodingKind, Instruction, Mnemonic};
use vm_core::GuestPhysAddr;
use vm_engine_jit::Template;
use vm_frontend::Guest as _;
use vm_frontend::x86::X86;
use vm_frontend::x86::fp::mxcsr;
use vm_frontend::x86::state::CpuState;

use machine::{DATA, Machine};
use random::{Random, Values as _};

/// Where the shared parts think that code and data are.
mod host {
    pub(super) const CODE: u64 = super::machine::CODE;
    pub(super) const AT: u16 = 0;
    pub(super) const PAGE: u64 = 4096;
    pub(super) const MEMORY: u64 = super::machine::DATA;
}

/// Bytes of random data from [`DATA`] on: two pages, in the midst of which operands in memory are.
const DATA_BYTES: usize = 2 * 4096;
/// Times that a program runs its body.
const TURNS: u64 = 3;

/// Instructions of these extensions, but for those that are about the whole state or have addresses of their own.
fn codes() -> Vec<Code> {
    use CpuidFeature::*;
    let wanted = [
        SSE, SSE2, SSE3, SSSE3, SSE4_1, SSE4_2, AVX, AVX2, FMA, F16C, AES, PCLMULQDQ, SHA, VAES,
        VPCLMULQDQ, MMX,
    ];
    let state = [
        Mnemonic::Maskmovq,
        Mnemonic::Maskmovdqu,
        Mnemonic::Vmaskmovdqu,
        Mnemonic::Ldmxcsr,
        Mnemonic::Vldmxcsr,
    ];
    let general = |code: Code| {
        let info = code.op_code();
        (0..info.op_count()).any(|n| {
            let kind = format!("{:?}", info.op_kind(n));
            kind.contains("mm")
        })
    };
    Code::values()
        .filter(|code| {
            let features = code.cpuid_features();
            code.op_code().mode64()
                && matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
                && features.iter().all(|feature| wanted.contains(feature))
                && !state.contains(&code.mnemonic())
                && general(*code)
                && !format!("{:?}", code.op_code().op_kind(1)).contains("vsib")
        })
        .collect()
}

/// Instructions of the x87 unit, some of MMX, and those that load control and status.
fn unit_codes() -> Vec<Code> {
    use CpuidFeature::*;
    let all = Code::values().filter(|code| {
        let features = code.cpuid_features();
        let wanted = |feature: &CpuidFeature| matches!(feature, FPU | FPU387 | FPU287 | CMOV);
        let fpu = features.iter().all(wanted) && features.iter().any(|f| *f != CMOV);
        // A prefix of the operand size is nothing that the encoder gives without being asked.
        let plain = code.op_code().operand_size() != 16;
        code.op_code().mode64() && fpu && plain
    });
    let mmx = [
        Code::Paddb_mm_mmm64,
        Code::Movq_mm_mmm64,
        Code::Movd_rm32_mm,
        Code::Emms,
    ];
    all.chain(mmx).collect()
}

/// One instruction, its operand in memory mostly where any instruction can reach it.
fn instruction(codes: &[Code], random: &mut Random) -> Option<Vec<u8>> {
    let code = random.pick(codes);
    let mut insn: Instruction = forms::form(code, random)?.insn;
    if insn.memory_base() != iced_x86::Register::None {
        let aligned = 32 * random.below(4) as i64 - 32;
        let displacement = match random.below(16) {
            0 if random.one_in(4) => insn.memory_displacement64() as i64,
            // The ends of the page.
            1 if random.one_in(4) => 2048 - 16 * random.below(3) as i64,
            _ => aligned,
        };
        insn.set_memory_displacement64(displacement as u64);
        insn.set_memory_displ_size(8);
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&insn, 0).ok()?;
    Some(encoder.take_buffer())
}

/// A general instruction among those on vectors: an access, a sum with flags, a condition taken from flags.
fn other(random: &mut Random) -> Vec<u8> {
    let offset = (8 * random.below(24)) as u8;
    match random.below(6) {
        0 => vec![0x48, 0x8b, 0x43, offset],
        1 => vec![0x48, 0x89, 0x4b, offset],
        2 => vec![0x48, 0x01, 0xc8],
        3 => vec![0x0f, 0x90 | random.below(16) as u8, 0xc2],
        4 => vec![0x48, 0x0f, 0x40 | random.below(16) as u8, 0xf7],
        _ => vec![0x66, 0x0f, 0x13, 0x43, offset],
    }
}

fn program(codes: &[Code], length: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Jumps over the next instruction, where it has been made.
    let mut skip = None;
    for _ in 0..length {
        let next = match random.below(5) {
            0 => other(random),
            _ => match instruction(codes, random) {
                Some(bytes) => bytes,
                None => continue,
            },
        };
        if let Some(condition) = skip.take() {
            bytes.extend([0x70 | condition, next.len() as u8]);
        }
        bytes.extend(next);
        skip = random.one_in(8).then(|| random.below(16) as u8);
    }
    // dec r13; jne to the beginning; ud2
    bytes.extend([0x49, 0xff, 0xcd, 0x0f, 0x85]);
    let back = -(bytes.len() as i32 + 4);
    bytes.extend(back.to_le_bytes());
    bytes.extend([0x0f, 0x0b]);
    bytes
}

/// A machine about to run a program on random data.
fn prepare(code: &[u8], seed: u64) -> Machine {
    let mut machine = Machine::long(|a| a.nop());
    machine.write(machine::CODE, code);
    let mut random = Random(seed);
    let kind = random.below(6);
    let mut data = vec![0; DATA_BYTES];
    data.chunks_mut(8)
        .for_each(|chunk| chunk.copy_from_slice(&random.lanes(kind).to_le_bytes()));
    machine.write(DATA, &data);
    let state = machine.vcpu.state_mut();
    for n in 0..16 {
        if n != 4 {
            state.gpr[n] = random.lanes(5) >> (8 * random.below(8));
        }
        for half in 0..2 {
            state.xmm[n][half] = random.lanes(kind);
            state.ymm_high[n][half] = random.lanes(kind);
        }
    }
    state.gpr[3] = DATA + 2048;
    state.gpr[13] = TURNS;
    // XSAVE and AVX on (Intel SDM 3A, 2.5 and 2.6).
    state.cr4 |= 1 << 18;
    state.xcr0 = 7;
    let rounding = random.below(4) << 13;
    let zeros = random.pick(&[0, 0, 1 << 6, 1 << 15]);
    let unmasked = if random.one_in(8) {
        random.pick(&[1 << 7, 1 << 12, 1 << 11 | 1 << 8])
    } else {
        0
    };
    let control = if random.one_in(2) {
        0
    } else {
        rounding | zeros
    };
    mxcsr::write(state, 0x1f80 & !unmasked | control);
    // Mostly with values that arithmetic keeps ordinary, and with all exceptions masked.
    for register in &mut state.x87 {
        let odd = random.one_in(4);
        let [significand, high] = [random.next(), random.next()];
        *register = match odd {
            true => [random.pick(&[0, 1 << 63, significand]), high & 0xffff],
            false => [
                significand | 1 << 63,
                (0x3ff8 + (high & 15)) | high & 0x8000,
            ],
        };
    }
    let any = random.next() & 0xff;
    state.x87_tags = random.pick(&[0, 0, 0xf0, 0x3c, 0xff, any]);
    state.x87_status = random.below(8) << 11 | random.next() & 0x473f;
    let [rounding, precision] = [random.below(4) << 10, random.pick(&[0, 2, 3, 3]) << 8];
    let unmasked = match random.one_in(8) {
        true => 1 << random.below(6),
        false => 0,
    };
    state.x87_control = (0x7f & !unmasked) | rounding | precision;
    if state.x87_status & unmasked != 0 {
        state.x87_status |= 0x8080;
    }
    machine
}

struct End {
    delivered: (u64, Option<u64>),
    state: CpuState,
    retired: u64,
    data: Vec<u8>,
}

/// Has the machine's code translated from now on.
fn translate(machine: &Machine) {
    let template = Template::new(X86::layout(), 1 << 20).expect("this host allows it");
    machine.vcpu.engine().set_translator(Arc::new(template));
}

fn run(code: &[u8], seed: u64, translated: bool) -> End {
    let mut machine = prepare(code, seed);
    if translated {
        translate(&machine);
    }
    let delivered = machine.run_to_stub().what();
    let mut data = vec![0; DATA_BYTES];
    let memory = machine.vcpu.engine().memory();
    memory
        .read(GuestPhysAddr(DATA), &mut data)
        .expect("within RAM");
    End {
        delivered,
        state: *machine.state(),
        retired: machine.vcpu.stats().retired,
        data,
    }
}

/// What differs between two ends, if anything.
fn difference(a: &End, b: &End) -> Option<String> {
    if a.delivered != b.delivered {
        return Some(format!("{:x?}, {:x?}", a.delivered, b.delivered));
    }
    if a.retired != b.retired {
        return Some(format!("retired {}, {}", a.retired, b.retired));
    }
    for n in 0..16 {
        let (x, y) = (&a.state, &b.state);
        if x.xmm[n] != y.xmm[n] || x.ymm_high[n] != y.ymm_high[n] {
            return Some(format!(
                "ymm{n} {:x?} {:x?}, {:x?} {:x?}",
                x.xmm[n], x.ymm_high[n], y.xmm[n], y.ymm_high[n]
            ));
        }
        if x.gpr[n] != y.gpr[n] {
            return Some(format!("gpr {n} {:x}, {:x}", x.gpr[n], y.gpr[n]));
        }
    }
    if a.state.common.fp_flags != b.state.common.fp_flags {
        let flags = [&a.state, &b.state].map(|state| state.common.fp_flags);
        return Some(format!("flags {flags:x?}"));
    }
    if a.state != b.state {
        return Some(format!("{:x?}\n{:x?}", a.state, b.state));
    }
    let at = (0..DATA_BYTES).find(|&n| a.data[n] != b.data[n])?;
    Some(format!("memory at {at:#x}"))
}

fn text(code: &[u8]) -> String {
    let decoder = iced_x86::Decoder::with_ip(64, code, machine::CODE, 0);
    let lines = decoder
        .into_iter()
        .map(|insn| format!("{:x} {insn}", insn.ip()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Compares both ways to run a program; true when it came to its end.
fn compare(codes: &[Code], length: u64, seed: u64) -> bool {
    let code = program(codes, length, &mut Random(seed));
    let interpreted = run(&code, seed, false);
    let translated = run(&code, seed, true);
    if let Some(what) = difference(&interpreted, &translated) {
        panic!("seed {seed:#x}: {what}\n{}", text(&code));
    }
    interpreted.state.gpr[13] == 0
}

/// Compares random programs of two lengths; how many there were of each, and how many of all came to their end.
fn compare_random(codes: &[Code], lengths: [u64; 2], seed: u64) -> (u32, u32) {
    let count = std::env::var("RANDOM_PROGRAMS").map_or(400, |n| n.parse().unwrap());
    let mut seeds = Random(std::env::var("RANDOM_SEED").map_or(seed, |n| n.parse().unwrap()));
    let mut finished = 0;
    for _ in 0..count {
        for length in lengths {
            finished += u32::from(compare(codes, length, seeds.next()));
        }
    }
    (count, finished)
}

#[test]
fn vector_programs_end_alike_translated_and_interpreted() {
    let codes = codes();
    assert!(codes.len() > 500, "{}", codes.len());
    let (count, finished) = compare_random(&codes, [4, 30], 1);
    // The others end early, in exceptions.
    assert!(finished > count / 2, "{finished} of {}", 2 * count);
}

#[test]
fn x87_programs_end_alike_translated_and_interpreted() {
    let codes = unit_codes();
    assert!(codes.len() > 120, "{}", codes.len());
    let (count, finished) = compare_random(&codes, [4, 20], 7);
    assert!(finished > count, "{finished} of {}", 2 * count);
}

#[test]
fn every_x87_instruction_ends_alike_translated_and_interpreted() {
    let mut random = Random(3);
    for code in unit_codes() {
        for _ in 0..8 {
            compare(&[code], 3, random.next());
        }
    }
}

#[test]
fn every_vector_instruction_ends_alike_translated_and_interpreted() {
    let mut random = Random(2);
    for code in codes() {
        for _ in 0..3 {
            compare(&[code], 3, random.next());
        }
    }
}

#[test]
fn exceptions_of_the_host_s_own_arithmetic_are_not_the_guest_s() {
    // paddq xmm0, xmm1; dec r13; jne to the beginning; ud2
    let code = [
        0x66, 0x0f, 0xd4, 0xc1, 0x49, 0xff, 0xcd, 0x75, 0xf7, 0x0f, 0x0b,
    ];
    let mut machine = prepare(&code, 1);
    mxcsr::write(machine.vcpu.state_mut(), 0x1f80);
    translate(&machine);
    let third = std::hint::black_box(1.0_f64) / std::hint::black_box(3.0);
    assert!(third < 0.5, "an inexact result");
    machine.run_to_stub();
    assert_eq!(machine.state().gpr[13], 0);
    assert_eq!(machine.state().common.fp_flags, 0);
}
