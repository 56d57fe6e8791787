//! Every integer instruction of 64-bit code, against the host's processor.

use std::collections::BTreeMap;

use iced_x86::{Code as Encoding, Instruction, OpKind, Register};
use vm_ir::eval::block::{End as Ran, Fault, Machine, TestMemory};
use vm_ir::eval::flags;
use vm_ir::{FlagKind, Op, Slot, Type};

use super::forms::{Form, form};
use super::host::{self, AT, CODE, End, GS_BASE, MEMORY, TARGET, Wire};
use super::random::{Addresses as _, Random};
use super::{strings, *};
use crate::x86::host::{Host, Wire as _, has, is_amd};
use crate::x86::lift::context::{FL, register_number};
use crate::x86::state::{self, gpr, gpr_slot, seg, segment_base_slot};

/// States for each instruction.
const STATES: usize = 8;

/// Instructions of each code; `X86_FORMS` says another number.
fn forms_of_a_code() -> usize {
    let given = std::env::var("X86_FORMS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// What a state must hold for an instruction.
fn prepare(random: &mut Random, insn: &Instruction, wire: &mut Wire) {
    for n in 0..16 {
        wire.set_gpr(n, random.value());
    }
    wire.set_flags(random.next());
    wire.memory()
        .iter_mut()
        .for_each(|byte| *byte = random.next() as u8);
    let at = random.address();
    let stack = random.address() & !7;
    wire.set_gpr(gpr::RSP, stack);
    match insn.mnemonic() {
        Mnemonic::Leave => wire.set_gpr(gpr::RBP, at),
        Mnemonic::Xlatb => wire.set_gpr(gpr::RBX, at - 128),
        Mnemonic::Div | Mnemonic::Idiv if random.one_in(2) => {
            wire.set_gpr(gpr::RDX, random.below(3_u64).wrapping_sub(1));
        }
        Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne | Mnemonic::Jrcxz | Mnemonic::Jecxz => {
            wire.set_gpr(gpr::RCX, random.below(3) | random.below(2) << 32);
        }
        _ => {}
    }
    if insn.is_string_instruction() {
        wire.set_gpr(gpr::RSI, at);
        wire.set_gpr(gpr::RDI, random.address());
        wire.set_gpr(gpr::RCX, random.below(24));
        if random.one_in(2) {
            // Comparisons meet what is equal.
            let byte = wire.gpr(gpr::RAX) as u8;
            wire.memory().fill(byte);
        }
    }
    // The bit's number reaches beyond the operand.
    if matches!(
        insn.mnemonic(),
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
    ) && insn.op1_kind() == OpKind::Register
    {
        let (n, _) = register_number(insn.op1_register());
        wire.set_gpr(n, random.below(300_u64).wrapping_sub(100));
    }
    let mut place = None;
    if (0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory) {
        place = point(random, insn, wire, at);
    }
    // Indirect branches lead to the target.
    let returns = insn.mnemonic() == Mnemonic::Ret;
    if returns {
        place = Some(stack);
    }
    if returns || matches!(insn.mnemonic(), Mnemonic::Jmp | Mnemonic::Call) {
        match insn.op0_kind() {
            OpKind::Register if !returns => {
                wire.set_gpr(register_number(insn.op0_register()).0, TARGET)
            }
            _ => put(wire, place, TARGET),
        }
    }
}

/// Makes the operand's address lead into memory; where to.
fn point(random: &mut Random, insn: &Instruction, wire: &mut Wire, at: u64) -> Option<u64> {
    let (base, index) = (insn.memory_base(), insn.memory_index());
    let segment = if insn.memory_segment() == Register::GS {
        GS_BASE
    } else {
        0
    };
    let displacement = insn.memory_displacement64();
    if matches!(base, Register::RIP | Register::EIP) {
        return Some(displacement.wrapping_add(segment));
    }
    let mut rest = at.wrapping_sub(segment).wrapping_sub(displacement);
    let wide = base.is_gpr64() || index.is_gpr64();
    let garbage = if wide { 0 } else { random.next() << 32 };
    if index != Register::None {
        let n = random.below(20_u64).wrapping_sub(4);
        let garbage = if wide { 0 } else { random.next() << 32 };
        let n = if wide { n } else { n & 0xffff_ffff | garbage };
        wire.set_gpr(register_number(index).0, n);
        rest = rest.wrapping_sub(n.wrapping_mul(insn.memory_index_scale().into()));
    }
    if base != Register::None {
        let rest = if wide {
            rest
        } else {
            rest & 0xffff_ffff | garbage
        };
        wire.set_gpr(register_number(base).0, rest);
    }
    Some(at)
}

/// Puts a word into the memory of a state, if it is there.
fn put(wire: &mut Wire, place: Option<u64>, value: u64) {
    let Some(offset) = place.and_then(|at| at.checked_sub(MEMORY + host::PAGE)) else {
        return;
    };
    let at = match offset {
        0..=120 => offset,
        _ => match offset.checked_sub(host::PAGE - 256) {
            Some(at @ 128..=248) => at,
            _ => return,
        },
    } as usize;
    wire.memory()[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn machine(wire: &Wire) -> Machine {
    let mut machine = Machine::new(X86::layout());
    let mut memory = TestMemory::default();
    memory.map(MEMORY, false);
    memory.map(MEMORY + host::PAGE, true);
    memory.set(MEMORY, &host::pattern());
    memory.set(MEMORY + host::PAGE, &wire.page());
    memory.map(CODE, true);
    machine.memory = memory;
    machine.page_base = CODE;
    for n in 0..16 {
        machine.set(X86::layout(), gpr_slot(n), [wire.gpr(n), 0]);
    }
    let group = flags::set(FlagKind::Bits, Type::I64, [wire.flags(), 0, 0], 0);
    machine.set(X86::layout(), FL, [group, 0]);
    let backwards = wire.flags() & host::DIRECTION != 0;
    let direction = if backwards { u64::MAX } else { 1 };
    machine.set(X86::layout(), Slot::state(state::DIRECTION), [direction, 0]);
    machine.set(X86::layout(), Slot::state(state::SYSTEM_FLAGS), [0x200, 0]);
    machine.set(X86::layout(), segment_base_slot(seg::GS), [GS_BASE, 0]);
    machine
}

fn is_canonical(addr: u64) -> bool {
    (addr as i64) << 16 >> 16 == addr as i64
}

/// Runs a block; `None` when it leads to where nothing is.
fn run(machine: &mut Machine, block: &Block) -> Option<End> {
    let mut helpers = |_, _: [u64; 3], _: &mut [u8]| Ok(0);
    let behind = CODE + u64::from(AT) + u64::from(block.guest_bytes);
    let exception = |vector, address| End::Exception { vector, address };
    match machine.run(block, X86::layout(), &mut helpers) {
        Ran::Goes { pc, .. } | Ran::Exits { pc: Some(pc) } => match pc {
            TARGET => Some(End::Target),
            _ => (pc == behind).then_some(End::Behind),
        },
        Ran::Faults { fault, .. } => Some(match fault {
            Fault::Read { addr } | Fault::Write { addr } if is_canonical(addr) => {
                exception(14, Some(addr))
            }
            Fault::Read { .. } | Fault::Write { .. } | Fault::Misaligned { .. } => {
                exception(13, None)
            }
            Fault::Exception { code, .. } => exception(code.0 as u8, None),
        }),
        end => panic!("{end:?}"),
    }
}

/// Flags that the manual leaves open.
fn undefined(insn: &Instruction) -> u64 {
    use iced_x86::RflagsBits as Bits;
    let open = insn.rflags_undefined();
    [
        (Bits::CF, flags::C),
        (Bits::PF, flags::P),
        (Bits::AF, flags::A),
        (Bits::ZF, flags::Z),
        (Bits::SF, flags::N),
        (Bits::OF, flags::V),
    ]
    .iter()
    .filter(|(bit, _)| open & bit != 0)
    .fold(0, |all, (_, flag)| all | flag)
}

/// What came of an instruction.
pub(super) struct Outcome {
    pub(super) end: End,
    pub(super) gpr: [u64; 16],
    /// In the places of [`FlagKind::Bits`].
    pub(super) flags: u64,
    pub(super) direction: u64,
    pub(super) memory: TestMemory,
}

/// What a block makes of a state; `None` when it leads to where nothing is.
fn outcome(block: &Block, before: &Wire) -> Option<Outcome> {
    let mut machine = machine(before);
    let end = run(&mut machine, block)?;
    let get = |slot| machine.get(X86::layout(), slot)[0];
    Some(Outcome {
        end,
        gpr: std::array::from_fn(|n| get(gpr_slot(n))),
        flags: flags::bits(get(FL)),
        direction: get(Slot::state(state::DIRECTION)),
        memory: machine.memory,
    })
}

/// Whether AMD's processors do something else than Intel's, which guests have: 16-bit branches of 64-bit code keep their
/// operand size (AMD APM 3, 1.2.3), and what has the encoding of PREFETCHW needs memory.
fn is_of_intel(insn: &Instruction) -> bool {
    match insn.code() {
        Encoding::Call_rm16 | Encoding::Jmp_rm16 | Encoding::Retnw | Encoding::Retnw_imm16 => true,
        Encoding::Reservednop_rm16_r16_0F0D
        | Encoding::Reservednop_rm32_r32_0F0D
        | Encoding::Reservednop_rm64_r64_0F0D => insn.op0_kind() == OpKind::Register,
        // Of 16 bits, by more than those: the manuals leave the result open.
        Encoding::Shld_rm16_r16_imm8 | Encoding::Shrd_rm16_r16_imm8 => insn.immediate8() & 31 > 16,
        Encoding::Shld_rm16_r16_CL | Encoding::Shrd_rm16_r16_CL => true,
        _ => false,
    }
}

/// Flags that AMD's processors change where Intel's keep them: rotations that come round, and comparisons of strings that
/// fault half-way.
fn changed_by_amd(insn: &Instruction, faulted: bool) -> u64 {
    match insn.mnemonic() {
        Mnemonic::Rcl | Mnemonic::Rcr => flags::V,
        _ if faulted && insn.is_string_instruction() => flags::ALL,
        _ => 0,
    }
}

/// What differs between an outcome and what the processor made of a state.
fn difference(insn: &Instruction, got: &Outcome, after: &Wire) -> Option<String> {
    if is_amd() && is_of_intel(insn) {
        return None;
    }
    if insn.mnemonic() == Mnemonic::Arpl && after.end() == End::Behind && got.end != End::Behind {
        // See the rule's deviation.
        return None;
    }
    if got.end != after.end() {
        return Some(format!("ended {:?}, processor {:?}", got.end, after.end()));
    }
    let faulted = matches!(got.end, End::Exception { .. });
    if faulted && matches!(insn.mnemonic(), Mnemonic::Popa | Mnemonic::Popad) {
        // Processors leave what they have popped before they faulted.
        return None;
    }
    for n in 0..16 {
        let (got, wanted) = (got.gpr[n], after.gpr(n));
        if got != wanted {
            return Some(format!("register {n} {got:#x}, processor {wanted:#x}"));
        }
    }
    let mut open = if faulted { 0 } else { undefined(insn) };
    if is_amd() {
        open |= changed_by_amd(insn, faulted);
    }
    let (flags, wanted) = (got.flags & !open, after.flags() & flags::ALL & !open);
    if flags != wanted {
        return Some(format!("flags {flags:#x}, processor {wanted:#x}"));
    }
    if got.direction & host::DIRECTION != after.flags() & host::DIRECTION {
        return Some("direction".into());
    }
    let pushes = [Mnemonic::Enter, Mnemonic::Pusha, Mnemonic::Pushad];
    if faulted && pushes.contains(&insn.mnemonic()) {
        // Processors leave below the stack what they have pushed before they faulted.
        return None;
    }
    let mut page = vec![0; host::PAGE as usize];
    let read = got.memory.read(MEMORY + host::PAGE, &mut page);
    read.expect("the page is there");
    (host::hash(&page) != after.hash()).then(|| "memory".into())
}

/// Whether a block can be run by the evaluator: it calls no helper.
fn is_pure(block: &Block) -> bool {
    block.insts.iter().all(|inst| inst.op != Op::Call)
}

/// Instructions that programs cannot run, or that tell of the machine.
fn is_excluded(insn: &Instruction) -> bool {
    insn.is_privileged()
        || !gate::exists(&config(), insn)
        || insn.mnemonic() == Mnemonic::Serialize && !has("serialize")
        || matches!(
            insn.mnemonic(),
            Mnemonic::Int3 | Mnemonic::Int1 | Mnemonic::Int | Mnemonic::Sti | Mnemonic::Cli
        )
}

/// How an instruction is run.
enum Runs {
    Block(Block),
    /// By the helper for strings, with this argument.
    Strings(u64),
}

/// How a block can be run here, if at all.
fn runs(block: Block) -> Option<Runs> {
    let string = block.insts.iter().find_map(|inst| match inst.attr {
        vm_ir::Attr::Helper(helper::STRING) => inst.args[0].imm(),
        _ => None,
    });
    match string {
        Some(packed) => Some(Runs::Strings(packed as u64)),
        None if is_pure(&block) => Some(Runs::Block(block)),
        None => None,
    }
}

fn check(
    forms: &[Form],
    bits: u32,
    host: &Host,
    random: &mut Random,
) -> (usize, BTreeMap<Mnemonic, String>) {
    let mode = if bits == 64 { USER_64 } else { USER_32 };
    let forms: Vec<(&Form, Runs)> = forms
        .iter()
        .filter(|form| !is_excluded(&form.insn))
        .filter_map(|form| Some((form, runs(lifted(AT, &form.bytes, mode, 1))?)))
        .collect();
    let mut states = Vec::new();
    for (form, _) in &forms {
        for _ in 0..STATES {
            let mut wire = Wire::new(&form.bytes, bits);
            prepare(random, &form.insn, &mut wire);
            if bits == 32 {
                wire.narrow();
            }
            states.push(wire);
        }
    }
    let results = host.run(&states);
    let mut wrong = BTreeMap::new();
    for (n, (before, after)) in states.iter().zip(&results).enumerate() {
        let (form, runs) = &forms[n / STATES];
        let outcome = match runs {
            Runs::Block(block) => outcome(block, before),
            Runs::Strings(packed) => Some(strings::outcome(*packed, machine(before), before)),
        };
        let what = outcome.and_then(|outcome| difference(&form.insn, &outcome, after));
        if let Some(what) = what {
            wrong
                .entry(form.insn.mnemonic())
                .or_insert_with(|| describe(form, before, mode, &what));
        }
    }
    (states.len(), wrong)
}

fn describe(form: &Form, before: &Wire, mode: Mode, what: &str) -> String {
    let registers: Vec<String> = (0..16).map(|n| format!("{:x}", before.gpr(n))).collect();
    let block = lifted(AT, &form.bytes, mode, 1);
    format!(
        "{:?} {:02x?}: {what}\n flags {:x} registers {}\n{}",
        form.insn.code(),
        before.code(),
        before.flags(),
        registers.join(" "),
        vm_ir::text::print(&block, X86::layout())
    )
}

fn compare(bits: u32, least: usize) {
    let host = match host::build() {
        Ok(host) => host,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let mut random = Random(7);
    let exists = |code: &Encoding| match bits {
        64 => code.op_code().mode64(),
        _ => code.op_code().mode32(),
    };
    let codes: Vec<Encoding> = Encoding::values()
        .filter(exists)
        .filter(|code| !matches!(rule(code.mnemonic()), Rule::Missing))
        .collect();
    let (mut count, mut all) = (0, BTreeMap::new());
    for codes in codes.chunks(64) {
        let forms: Vec<Form> = codes
            .iter()
            .flat_map(|&code| (0..forms_of_a_code()).map(move |_| code))
            .filter_map(|code| form(code, bits, &mut random))
            .collect();
        let (states, wrong) = check(&forms, bits, &host, &mut random);
        count += states;
        all.extend(wrong);
    }
    let list: Vec<String> = all.into_values().collect();
    assert!(
        list.is_empty(),
        "{} wrong:\n{}",
        list.len(),
        list.join("\n")
    );
    assert!(count > least, "{count}");
}

#[test]
fn blocks_of_64_bit_code_do_what_the_host_does() {
    compare(64, 12_000);
}

#[test]
fn blocks_of_32_bit_code_do_what_the_host_does() {
    compare(32, 8_000);
}
