//! Every x87, MMX, SSE and AVX instruction of 64-bit code, against the host's processor.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::offset_of;

use iced_x86::{Code as Encoding, EncodingKind, Instruction, Mnemonic};
use vm_ir::eval::block::{End, Fault, Machine, TestMemory};
use vm_ir::eval::{FpControl, flags};
use vm_ir::{Block, ExceptionCode, FlagKind, HelperId, Type};

use super::env::Env;
use super::forms::{Form, form};
use super::host::{self, AREA_BYTES, CODE, MEMORY, PAGE, Wire, pattern};
use super::random::{Random, Values as _};
use super::{USER_64, config, lifted};
use crate::guest::Guest;
use crate::x86::X86;
use crate::x86::cpu::CpuConfig;
use crate::x86::fp::lift::knows;
use crate::x86::fp::mxcsr;
use crate::x86::helpers::Cpu;
use crate::x86::host::{Host, Wire as _, is_amd};
use crate::x86::lift::context::FL;
use crate::x86::state::{CpuState, gpr};

/// Instructions of each code, and states for each.
const FORMS: usize = 2;
const STATES: usize = 6;

/// Places of what XSAVE saves, in words.
mod area {
    pub(super) const MXCSR: usize = 3;
    pub(super) const ST0: usize = 4;
    pub(super) const XMM0: usize = 20;
    pub(super) const HEADER: usize = 64;
    pub(super) const YMM0: usize = 72;
}

/// Fields of the state that are words, by offset and count.
const FIELDS: [(usize, usize); 12] = [
    (offset_of!(CpuState, gpr), 16),
    (offset_of!(CpuState, xmm), 32),
    (offset_of!(CpuState, ymm_high), 32),
    (offset_of!(CpuState, vector_scratch), 8),
    (offset_of!(CpuState, mxcsr), 1),
    (offset_of!(CpuState, x87), 16),
    (offset_of!(CpuState, x87_control), 1),
    (offset_of!(CpuState, x87_status), 1),
    (offset_of!(CpuState, x87_tags), 1),
    (offset_of!(CpuState, x87_last), 3),
    (offset_of!(CpuState, cr0), 1),
    (offset_of!(CpuState, xcr0), 1),
];

fn words(bytes: &[u8], at: usize, count: usize) -> Vec<u64> {
    bytes[at..at + 8 * count]
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect()
}

fn set_words(bytes: &mut [u8], at: usize, values: &[u64]) {
    for (n, value) in values.iter().enumerate() {
        bytes[at + 8 * n..at + 8 * n + 8].copy_from_slice(&value.to_le_bytes());
    }
}

fn pairs<const N: usize>(words: &[u64]) -> [[u64; 2]; N] {
    std::array::from_fn(|n| [words[2 * n], words[2 * n + 1]])
}

fn flat(pairs: &[[u64; 2]]) -> Vec<u64> {
    pairs.iter().flatten().copied().collect()
}

/// The state that bytes of the layout hold.
fn from_bytes(bytes: &[u8]) -> CpuState {
    let mut state = CpuState::zeroed();
    let field = |n: usize| words(bytes, FIELDS[n].0, FIELDS[n].1);
    state.gpr.copy_from_slice(&field(0));
    state.xmm = pairs(&field(1));
    state.ymm_high = pairs(&field(2));
    state.vector_scratch = pairs(&field(3));
    state.mxcsr = field(4)[0];
    state.x87 = pairs(&field(5));
    state.x87_control = field(6)[0];
    state.x87_status = field(7)[0];
    state.x87_tags = field(8)[0];
    state.x87_last.copy_from_slice(&field(9));
    state.cr0 = field(10)[0];
    state.xcr0 = field(11)[0];
    let at = offset_of!(CpuState, common.fp_flags);
    let both = words(bytes, at, 1)[0];
    state.common.fp_flags = both as u32;
    state.common.fp_rounding = (both >> 32) as u32;
    state
}

fn to_bytes(state: &CpuState, bytes: &mut [u8]) {
    let values: [Vec<u64>; 12] = [
        state.gpr.to_vec(),
        flat(&state.xmm),
        flat(&state.ymm_high),
        flat(&state.vector_scratch),
        vec![state.mxcsr],
        flat(&state.x87),
        vec![state.x87_control],
        vec![state.x87_status],
        vec![state.x87_tags],
        state.x87_last.to_vec(),
        vec![state.cr0],
        vec![state.xcr0],
    ];
    for ((at, _), values) in FIELDS.iter().zip(&values) {
        set_words(bytes, *at, values);
    }
    let both = u64::from(state.common.fp_flags) | u64::from(state.common.fp_rounding) << 32;
    set_words(bytes, offset_of!(CpuState, common.fp_flags), &[both]);
}

/// The state of a wire.
fn state_of(wire: &Wire) -> CpuState {
    let mut state = CpuState::zeroed();
    for n in 0..16 {
        state.gpr[n] = wire.gpr(n);
        state.xmm[n] = [0, 1].map(|k| wire.area(area::XMM0 + 2 * n + k));
        state.ymm_high[n] = [0, 1].map(|k| wire.area(area::YMM0 + 2 * n + k));
    }
    let word = wire.area(0);
    state.x87_control = word & 0xffff;
    state.x87_status = word >> 16 & 0xffff;
    state.x87_tags = word >> 32 & 0xff;
    let top = (state.x87_status >> 11 & 7) as usize;
    for n in 0..8 {
        state.x87[(top + n) & 7] = [0, 1].map(|k| wire.area(area::ST0 + 2 * n + k));
    }
    mxcsr::write(&mut state, wire.area(area::MXCSR) & 0xffff_ffff);
    state.cr0 = 0x8001_0033;
    state.xcr0 = 7;
    state
}

fn memory_of(wire: &Wire) -> TestMemory {
    let mut memory = TestMemory::default();
    memory.map(MEMORY, false);
    memory.map(MEMORY + PAGE, true);
    memory.set(MEMORY, &pattern());
    memory.set(MEMORY + PAGE, wire.page());
    memory
}

/// What came of an instruction.
struct Outcome {
    state: CpuState,
    flags: u64,
    mxcsr: u64,
    page: Vec<u8>,
    exception: Option<u8>,
}

fn run(block: &Block, wire: &Wire, config: &CpuConfig) -> Outcome {
    let layout = X86::layout();
    let state = state_of(wire);
    let mut machine = Machine::new(layout);
    machine.page_base = CODE;
    machine.memory = memory_of(wire);
    to_bytes(&state, &mut machine.state);
    let group = flags::set(FlagKind::Bits, Type::I64, [wire.flags(), 0, 0], 0);
    machine.set(layout, FL, [group, 0]);
    machine.fp = FpControl {
        rounding: vm_softfloat::RoundingDirection::from_riscv(state.common.fp_rounding as u8)
            .expect("a rounding"),
        flags: state.common.fp_flags,
        rules: mxcsr::env(&state),
    };
    let memory = RefCell::new((memory_of(wire), false));
    let mut helpers = |id: HelperId, args: [u64; 3], bytes: &mut [u8]| {
        let mut state = from_bytes(bytes);
        let (memory, used) = &mut *memory.borrow_mut();
        *used = true;
        let mut env = Env(memory);
        let mut cpu = Cpu {
            state: &mut state,
            config,
            env: &mut env,
        };
        let result = cpu.call(id, args);
        to_bytes(&state, bytes);
        result.map_err(|exception| Fault::Exception {
            code: exception.code,
            value: exception.value,
        })
    };
    let end = machine.run(block, layout, &mut helpers);
    let exception = match end {
        End::Faults { fault, .. } => Some(match fault {
            Fault::Read { addr } | Fault::Write { addr } => super::env::vector_of(addr) as u8,
            Fault::Misaligned { .. } => 13,
            Fault::Exception {
                code: ExceptionCode(code),
                ..
            } => code as u8,
        }),
        _ => None,
    };
    let mut state = from_bytes(&machine.state);
    if machine.fp.flags != state.common.fp_flags && !sets_mxcsr(block) {
        state.common.fp_flags = machine.fp.flags;
    }
    let (mut after, used) = memory.into_inner();
    if !used || machine.memory != memory_of(wire) {
        after = machine.memory.clone();
    }
    let mut page = vec![0; PAGE as usize];
    after
        .read(MEMORY + PAGE, &mut page)
        .expect("the page is there");
    Outcome {
        flags: flags::bits(machine.get(layout, FL)[0]),
        mxcsr: mxcsr::read(&state),
        state,
        page,
        exception,
    }
}

/// Whether the block sets MXCSR by a helper.
fn sets_mxcsr(block: &Block) -> bool {
    let names = ["write_mxcsr", "fxrstor", "xrstor"];
    block.insts.iter().any(|inst| match inst.attr {
        vm_ir::Attr::Helper(id) => names.contains(&X86::layout().helpers[usize::from(id.0)].name),
        _ => false,
    })
}

/// What a state must hold for an instruction.
fn prepare(random: &mut Random, insn: &Instruction, wire: &mut Wire) {
    for n in 0..16 {
        let value = match random.below(3) {
            0 => random.next(),
            1 => random.below(40_u64).wrapping_sub(20),
            _ => random.next() & 0xffff_ffff,
        };
        wire.set_gpr(n, value);
    }
    wire.set_flags(random.next());
    let kind = random.below(6);
    for at in (0..PAGE as usize).step_by(8) {
        let value = random.lanes(kind);
        wire.page_mut()[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    for n in 0..32 {
        let lanes = random.lanes(kind);
        wire.set_area(area::XMM0 + n, lanes);
        let lanes = random.lanes(kind);
        wire.set_area(area::YMM0 + n, lanes);
    }
    let controls = [0, 0, 0, 1 << 13, 2 << 13, 3 << 13];
    let flushes = random.pick(&[0, 0, 0, 1 << 15, 1 << 6, 1 << 15 | 1 << 6]);
    let mxcsr = 0x1f80 | random.pick(&controls) | flushes;
    wire.set_area(area::MXCSR, mxcsr | 0xffff << 32);
    wire.set_area(area::HEADER, 7);
    x87_state(random, wire);
    let at = random.address();
    let at = match (insn.is_xsave_kind(), random.one_in(12)) {
        (true, false) => MEMORY + PAGE + 64 * random.below(16),
        _ => at,
    };
    if insn.is_xsave_kind() {
        image(random, wire, at);
    }
    let displacement = insn.memory_displacement64();
    wire.set_gpr(gpr::RBX, at.wrapping_sub(displacement));
    wire.set_gpr(gpr::RDI, at);
    if matches!(
        insn.mnemonic(),
        Mnemonic::Xsave
            | Mnemonic::Xsave64
            | Mnemonic::Xsaveopt
            | Mnemonic::Xsaveopt64
            | Mnemonic::Xsavec
            | Mnemonic::Xsavec64
            | Mnemonic::Xrstor
            | Mnemonic::Xrstor64
    ) {
        wire.set_gpr(gpr::RAX, random.below(8));
        wire.set_gpr(gpr::RDX, 0);
    }
    if insn.memory_index().is_vector_register() {
        for n in 0..16 {
            for first in [area::XMM0, area::YMM0] {
                for half in 0..2 {
                    let index = |random: &mut Random| random.below(40_u64).wrapping_sub(8);
                    let value = if random.one_in(2) {
                        index(random) & 0xffff_ffff | index(random) << 32
                    } else {
                        index(random)
                    };
                    let is_index = n == insn.memory_index() as usize % 32;
                    if is_index || random.one_in(3) {
                        wire.set_area(first + 2 * n + half, value);
                    }
                }
            }
        }
    }
    if matches!(insn.mnemonic(), Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr) {
        put(wire, at, random.next() & 0xe07f | 0x1f80);
    }
    if matches!(insn.mnemonic(), Mnemonic::Fldcw) {
        put(wire, at, random.next() & 0xffff | 0x3f);
    }
    if insn.memory_size() == iced_x86::MemorySize::Bcd {
        let digits = (0..18).fold(0_u128, |digits, _| {
            digits << 4 | u128::from(random.below(10_u64))
        });
        let sign = (random.next() & 0x80) << 8;
        put(wire, at, digits as u64);
        put(wire, at + 8, (digits >> 64) as u64 | sign);
    }
    if insn.memory_size() == iced_x86::MemorySize::Float80 {
        let [low, high] = random.extended();
        put(wire, at, low);
        put(wire, at + 8, high);
    }
    if matches!(insn.mnemonic(), Mnemonic::Fldenv | Mnemonic::Frstor) {
        // No exception that is not masked is pending behind it.
        put(wire, at, 0xffff_037f);
    }
}

trait Kinds {
    fn is_xsave_kind(&self) -> bool;
}

impl Kinds for Instruction {
    fn is_xsave_kind(&self) -> bool {
        use iced_x86::MemorySize as Size;
        matches!(
            self.memory_size(),
            Size::Fxsave_512Byte | Size::Fxsave64_512Byte | Size::Xsave | Size::Xsave64
        )
    }
}

/// Random registers and control of the x87 unit.
fn x87_state(random: &mut Random, wire: &mut Wire) {
    let precision = random.pick(&[0, 2, 3, 3, 3]);
    let control = 0x7f | precision << 8 | random.below(4) << 10;
    let status = random.below(8) << 11 | random.next() & 0x4700;
    let tags = match random.below(4) {
        0 => random.next() & 0xff,
        _ => 0xff,
    };
    wire.set_area(0, control | status << 16 | tags << 32);
    for n in 0..8 {
        let [low, high] = random.extended();
        wire.set_area(area::ST0 + 2 * n, low);
        wire.set_area(area::ST0 + 2 * n + 1, high);
    }
}

/// Something that can be restored, mostly.
fn image(random: &mut Random, wire: &mut Wire, at: u64) {
    for n in 0..AREA_BYTES as u64 / 8 {
        let value = match n {
            0 => {
                0x037f
                    | (random.next() & 0x4700 | random.below(8) << 11) << 16
                    | (random.next() & 0xff) << 32
            }
            3 => 0x1f80 | random.next() & 0xe07f,
            64 => random.below(8),
            65 if random.one_in(3) => 1 << 63 | 7,
            65..=71 => u64::from(random.one_in(60)),
            n if n < 20 && n % 2 == 1 => random.next() & 0xffff,
            _ => random.next(),
        };
        put(wire, at + 8 * n, value);
    }
}

/// Puts a word into the memory of a state, if it is there.
fn put(wire: &mut Wire, at: u64, value: u64) {
    let from = at.wrapping_sub(MEMORY + PAGE) as usize;
    if let Some(place) = wire.page_mut().get_mut(from..from.wrapping_add(8)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// Whether results are estimates, which processors choose.
fn is_estimate(insn: &Instruction) -> bool {
    matches!(
        insn.mnemonic(),
        Mnemonic::Rcpps
            | Mnemonic::Rcpss
            | Mnemonic::Rsqrtps
            | Mnemonic::Rsqrtss
            | Mnemonic::Vrcpps
            | Mnemonic::Vrcpss
            | Mnemonic::Vrsqrtps
            | Mnemonic::Vrsqrtss
    )
}

/// Whether the manual leaves the result open for what ST(0) is (Intel SDM 2A, "F2XM1" and "FYL2XP1").
fn is_out_of_domain(insn: &Instruction, wire: &Wire) -> bool {
    let magnitude = wire.area(area::ST0 + 1) & 0x7fff;
    match insn.mnemonic() {
        Mnemonic::F2xm1 => magnitude >= 0x3fff,
        Mnemonic::Fyl2xp1 => magnitude >= 0x3ffd,
        _ => false,
    }
}

fn is_transcendental(insn: &Instruction) -> bool {
    matches!(
        insn.mnemonic(),
        Mnemonic::Fsin
            | Mnemonic::Fcos
            | Mnemonic::Fsincos
            | Mnemonic::Fptan
            | Mnemonic::Fpatan
            | Mnemonic::F2xm1
            | Mnemonic::Fyl2x
            | Mnemonic::Fyl2xp1
    )
}

/// Whether two words of vectors hold singles that are near each other.
fn near_singles(a: u64, b: u64) -> bool {
    [0, 32].into_iter().all(|shift| {
        let [a, b] = [a, b].map(|word| f64::from(f32::from_bits((word >> shift) as u32)));
        a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= b.abs() * 3.0 / 4096.0
    })
}

/// Whether extended numbers are the same or neighbours.
fn near_extended(a: [u64; 2], b: [u64; 2]) -> bool {
    let whole = |[low, high]: [u64; 2]| {
        (high & 0x7fff) as i128 * (1 << 63) + (low & i64::MAX as u64) as i128
    };
    a == b || a[1] >> 15 == b[1] >> 15 && (whole(a) - whole(b)).abs() <= 2
}

fn is_sha(insn: &Instruction) -> bool {
    insn.cpuid_features().contains(&iced_x86::CpuidFeature::SHA)
}

/// What differs between what a block made of a state and what the processor made of it.
fn difference(insn: &Instruction, got: &Outcome, after: &Wire) -> Option<String> {
    let masked = matches!(
        insn.mnemonic(),
        Mnemonic::Maskmovdqu | Mnemonic::Vmaskmovdqu | Mnemonic::Maskmovq
    );
    if masked && after.exception() == Some(14) {
        // Whether bytes that are left alone fault is the processor's choice (Intel SDM 2B, "MASKMOVDQU").
        return None;
    }
    if is_amd() && got.exception == Some(13) && is_sha(insn) {
        // AMD's processors let SHA's operands lie anywhere.
        return None;
    }
    if got.exception != after.exception() {
        return Some(format!(
            "exception {:?}, processor {:?}",
            got.exception,
            after.exception()
        ));
    }
    let gathers = insn.memory_index().is_vector_register();
    if gathers && got.exception.is_some() {
        // How far a gather has come before its fault is the processor's choice.
        return None;
    }
    for n in 0..16 {
        if got.state.gpr[n] != after.gpr(n) {
            let wanted = after.gpr(n);
            return Some(format!(
                "register {n} {:#x}, processor {wanted:#x}",
                got.state.gpr[n]
            ));
        }
    }
    if got.flags & 0x8d5 != after.flags() {
        return Some(format!(
            "flags {:#x}, processor {:#x}",
            got.flags,
            after.flags()
        ));
    }
    let wanted = state_of(after);
    for n in 0..16 {
        for (name, got, wanted) in [
            ("xmm", got.state.xmm[n], wanted.xmm[n]),
            ("high", got.state.ymm_high[n], wanted.ymm_high[n]),
        ] {
            let near = is_estimate(insn) && (0..2).all(|k| near_singles(got[k], wanted[k]));
            if got != wanted && !near {
                return Some(format!("{name}{n} {got:#x?}, processor {wanted:#x?}"));
            }
        }
    }
    let faulted = got.exception.is_some();
    let (mxcsr, wanted_mxcsr) = (got.mxcsr, mxcsr::read(&wanted));
    // The processor notes exceptions before the store that faults.
    if mxcsr != wanted_mxcsr && !(faulted && insn.mnemonic() == Mnemonic::Vcvtps2ph) {
        return Some(format!("mxcsr {mxcsr:#x}, processor {wanted_mxcsr:#x}"));
    }
    // MMX instructions set the stack's top before they fault.
    if faulted && (0..insn.op_count()).any(|n| insn.op_register(n).is_mm()) {
        return None;
    }
    let open = if is_transcendental(insn) { 0x220 } else { 0 };
    let (status, wanted_status) = (got.state.x87_status & !open, wanted.x87_status & !open);
    for (name, got, wanted) in [
        ("status", status, wanted_status),
        ("control", got.state.x87_control, wanted.x87_control),
        ("tags", got.state.x87_tags, wanted.x87_tags),
    ] {
        if got != wanted {
            return Some(format!("x87 {name} {got:#x}, processor {wanted:#x}"));
        }
    }
    for n in 0..8 {
        let (got, wanted) = (got.state.x87[n], wanted.x87[n]);
        let same = got == wanted || is_transcendental(insn) && near_extended(got, wanted);
        if !same {
            return Some(format!("R{n} {got:x?}, processor {wanted:x?}"));
        }
    }
    let pointers = insn.mnemonic();
    if matches!(pointers, Mnemonic::Fnstenv | Mnemonic::Fnsave) || insn.is_xsave_kind() {
        return None;
    }
    let at = (0..PAGE as usize).find(|&at| got.page[at] != after.page()[at])?;
    Some(format!("memory at {at:#x}"))
}

fn check(
    forms: &[Form],
    host: &Host,
    random: &mut Random,
) -> (usize, BTreeMap<Encoding, (usize, String)>) {
    let config = config();
    let (mut states, mut blocks) = (Vec::new(), Vec::new());
    for form in forms {
        let block = lifted(&form.bytes, USER_64, &config);
        for _ in 0..STATES {
            let mut wire = Wire::new(&form.bytes);
            prepare(random, &form.insn, &mut wire);
            states.push(wire);
            blocks.push((&form.insn, block.clone()));
        }
    }
    let results = host.run(&states);
    let mut wrong = BTreeMap::new();
    for ((before, after), (insn, block)) in states.iter().zip(&results).zip(&blocks) {
        if is_out_of_domain(insn, before) {
            continue;
        }
        let got = run(block, before, &config);
        if let Some(what) = difference(insn, &got, after) {
            let entry = wrong.entry(insn.code()).or_insert_with(|| {
                let word = before.area(0);
                let text = format!(
                    "{:?} {:02x?}: {what}\n mxcsr {:x} x87 {word:x} st0 {:x} {:x} st1 {:x} {:x}\n{}",
                    insn.code(),
                    before.code(),
                    before.area(area::MXCSR),
                    before.area(area::ST0 + 1),
                    before.area(area::ST0),
                    before.area(area::ST0 + 3),
                    before.area(area::ST0 + 2),
                    vm_ir::text::print(block, X86::layout())
                );
                (0, text)
            });
            entry.0 += 1;
        }
    }
    (states.len(), wrong)
}

/// Codes that are tested: in 64-bit mode, of ours.
fn codes() -> impl Iterator<Item = Encoding> {
    Encoding::values().filter(|code| {
        code.op_code().mode64()
            && matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX)
            && knows(code.mnemonic())
    })
}

#[test]
fn blocks_of_64_bit_code_do_what_the_host_does() {
    let host = match host::build() {
        Ok(host) => host,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let mut random = Random(7);
    let codes: Vec<Encoding> = codes().collect();
    let (mut count, mut all) = (0, BTreeMap::new());
    for codes in codes.chunks(32) {
        let forms: Vec<Form> = codes
            .iter()
            .flat_map(|&code| (0..FORMS).map(move |_| code))
            .filter_map(|code| form(code, &mut random))
            .collect();
        let (states, wrong) = check(&forms, &host, &mut random);
        count += states;
        all.extend(wrong);
    }
    let list: Vec<String> = all
        .into_values()
        .map(|(times, text)| format!("{times}x {text}"))
        .collect();
    assert!(
        list.is_empty(),
        "{} wrong:\n{}",
        list.len(),
        list.join("\n")
    );
    assert!(count > 10_000, "{count}");
}
