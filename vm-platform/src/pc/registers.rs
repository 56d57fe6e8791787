//! A processor's registers by the names that the manual and gdb give them.

use vm_core::{GuestArch, GuestVirtAddr};
use vm_engine::{Engine, Vcpu};
use vm_frontend::x86::X86;
use vm_frontend::x86::state::{CpuState, seg};
use vm_frontend::x86::sys::rflags;

use crate::machine::board::Inspect;

const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// Words that may be written: what they mean does not depend on anything else.
const BASES: [&str; 4] = ["fs_base", "gs_base", "k_gs_base", "cr2"];

/// Finds a word of the state.
type Word = fn(&mut CpuState) -> &mut u64;

/// Registers that are one word of the state.
#[rustfmt::skip]
const WORDS: [(&str, Word); 18] = [
    ("fs_base",   |state| &mut state.segments[seg::FS].base),
    ("gs_base",   |state| &mut state.segments[seg::GS].base),
    ("k_gs_base", |state| &mut state.kernel_gs_base),
    ("cr0",  |state| &mut state.cr0),
    ("cr2",  |state| &mut state.cr2),
    ("cr3",  |state| &mut state.cr3),
    ("cr4",  |state| &mut state.cr4),
    ("efer", |state| &mut state.efer),
    ("xcr0", |state| &mut state.xcr0),
    ("dr0",  |state| &mut state.dr[0]),
    ("dr1",  |state| &mut state.dr[1]),
    ("dr2",  |state| &mut state.dr[2]),
    ("dr3",  |state| &mut state.dr[3]),
    ("dr6",  |state| &mut state.dr[6]),
    ("dr7",  |state| &mut state.dr[7]),
    ("gdtr", |state| &mut state.gdtr.base),
    ("idtr", |state| &mut state.idtr.base),
    ("tr",   |state| &mut state.tr.selector),
];

/// Where a register lives.
enum Register {
    /// The linear address of the next instruction.
    Linear,
    Rip,
    Flags,
    Privilege,
    General(usize),
    Selector(usize),
    Word(Word),
    /// Half of a vector register.
    Vector(usize, usize),
    /// Half of an x87 register, counted from the top of the stack.
    Stack(usize, usize),
    X87(X87),
    Mxcsr,
}

/// Registers that describe the x87, as gdb names them.
#[derive(Clone, Copy)]
enum X87 {
    Control,
    Status,
    /// Two bits for each register, not the one that is kept.
    Tags,
    /// A part of the last instruction: the word, its first bit and its bits.
    Last(usize, u32, u32),
}

const X87_NAMES: [(&str, X87); 8] = [
    ("fctrl", X87::Control),
    ("fstat", X87::Status),
    ("ftag", X87::Tags),
    ("fiseg", X87::Last(1, 48, 16)),
    ("fioff", X87::Last(1, 0, 32)),
    ("foseg", X87::Last(2, 48, 16)),
    ("fooff", X87::Last(2, 0, 32)),
    ("fop", X87::Last(0, 0, 11)),
];

/// A register of two words, by its prefix: its number, and 1 for the half whose name ends in `h`.
fn halves(name: &str, prefix: &str, count: usize) -> Option<(usize, usize)> {
    let rest = name.strip_prefix(prefix)?;
    let (number, half) = match rest.strip_suffix('h') {
        Some(number) => (number, 1),
        None => (rest, 0),
    };
    let number = number.parse().ok().filter(|number| *number < count)?;
    Some((number, half))
}

fn find(name: &str) -> Option<Register> {
    let at = |names: &[&str]| names.iter().position(|known| *known == name);
    match name {
        "pc" => return Some(Register::Linear),
        "rip" => return Some(Register::Rip),
        "eflags" | "rflags" => return Some(Register::Flags),
        "cpl" => return Some(Register::Privilege),
        "mxcsr" => return Some(Register::Mxcsr),
        _ => {}
    }
    if let Some(number) = at(&GENERAL) {
        return Some(Register::General(number));
    }
    if let Some(number) = at(&SEGMENTS) {
        return Some(Register::Selector(number));
    }
    if let Some((number, half)) = halves(name, "xmm", 16) {
        return Some(Register::Vector(number, half));
    }
    if let Some((number, half)) = halves(name, "st", 8) {
        return Some(Register::Stack(number, half));
    }
    if let Some((_, which)) = X87_NAMES.iter().find(|(known, _)| *known == name) {
        return Some(Register::X87(*which));
    }
    let mut words = WORDS.iter();
    let (_, word) = words.find(|(known, _)| *known == name)?;
    Some(Register::Word(*word))
}

/// The physical number of an x87 register, counted from the top of the stack (Intel SDM 1, 8.1.2).
fn physical(state: &CpuState, number: usize) -> usize {
    (state.x87_status as usize >> 11 & 7).wrapping_add(number) & 7
}

fn x87(state: &CpuState, which: X87) -> u64 {
    match which {
        X87::Control => state.x87_control,
        X87::Status => state.x87_status,
        // "Empty" or "valid": what a full register holds is looked at by whoever shows it.
        X87::Tags => (0..8)
            .filter(|at| state.x87_tags >> at & 1 == 0)
            .fold(0, |tags, at| tags | 3 << (2 * at)),
        X87::Last(word, first, bits) => state.x87_last[word] >> first & ((1 << bits) - 1),
    }
}

impl Inspect for X86 {
    const ARCH: GuestArch = GuestArch::X86_64;

    const SHUTDOWN_REGISTERS: &[&str] = &[
        "rip", "eflags", "cs", "ss", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8",
        "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cr0", "cr2", "cr3", "cr4", "efer", "gdtr",
        "idtr", "tr",
    ];

    fn general_registers(state: &CpuState) -> (GuestVirtAddr, &[u64]) {
        (GuestVirtAddr(state.common.pc), &state.gpr)
    }

    fn read_register(_: &Engine<Self>, vcpu: &Vcpu<Self>, name: &str) -> Option<u64> {
        let state = vcpu.state();
        Some(match find(name)? {
            Register::Linear => state.common.pc,
            Register::Rip => state.common.pc.wrapping_sub(state.segments[seg::CS].base),
            Register::Flags => rflags::get(state),
            Register::Privilege => state.cpl,
            Register::General(number) => state.gpr[number],
            Register::Selector(number) => state.segments[number].selector,
            Register::Word(word) => *word(&mut state.clone()),
            Register::Vector(number, half) => state.xmm[number][half],
            Register::Stack(number, half) => state.x87[physical(state, number)][half],
            Register::X87(which) => x87(state, which),
            // Its exception flags accrue where those of all instruction sets do, in another order.
            Register::Mxcsr => state.mxcsr,
        })
    }

    /// Registers that decide what else means are changed by the guest only.
    fn write_register(_: &Engine<Self>, vcpu: &mut Vcpu<Self>, name: &str, value: u64) -> bool {
        let state = vcpu.state_mut();
        match find(name) {
            Some(Register::Linear) => state.common.pc = value,
            Some(Register::Rip) => {
                state.common.pc = state.segments[seg::CS].base.wrapping_add(value);
            }
            Some(Register::Flags) => rflags::set(state, value),
            Some(Register::General(number)) => state.gpr[number] = value,
            Some(Register::Vector(number, half)) => state.xmm[number][half] = value,
            Some(Register::Stack(number, half)) => {
                let at = physical(state, number);
                state.x87[at][half] = value;
            }
            Some(Register::Word(word)) if BASES.contains(&name) => *word(state) = value,
            _ => return false,
        }
        true
    }
}
