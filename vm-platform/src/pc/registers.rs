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
    Rip,
    Flags,
    Privilege,
    General(usize),
    Selector(usize),
    Word(Word),
}

fn find(name: &str) -> Option<Register> {
    let at = |names: &[&str]| names.iter().position(|known| *known == name);
    match name {
        "rip" | "pc" => return Some(Register::Rip),
        "eflags" | "rflags" => return Some(Register::Flags),
        "cpl" => return Some(Register::Privilege),
        _ => {}
    }
    if let Some(number) = at(&GENERAL) {
        return Some(Register::General(number));
    }
    if let Some(number) = at(&SEGMENTS) {
        return Some(Register::Selector(number));
    }
    let mut words = WORDS.iter();
    let (_, word) = words.find(|(known, _)| *known == name)?;
    Some(Register::Word(*word))
}

/// The offset that stands for a linear address of code.
fn rip(state: &CpuState) -> u64 {
    let base = state.segments[seg::CS].base;
    state.common.pc.wrapping_sub(base)
}

impl Inspect for X86 {
    const ARCH: GuestArch = GuestArch::X86_64;

    fn general_registers(state: &CpuState) -> (GuestVirtAddr, &[u64]) {
        (GuestVirtAddr(state.common.pc), &state.gpr)
    }

    fn read_register(_: &Engine<Self>, vcpu: &Vcpu<Self>, name: &str) -> Option<u64> {
        let state = vcpu.state();
        Some(match find(name)? {
            Register::Rip => rip(state),
            Register::Flags => rflags::get(state),
            Register::Privilege => state.cpl,
            Register::General(number) => state.gpr[number],
            Register::Selector(number) => state.segments[number].selector,
            Register::Word(word) => *word(&mut state.clone()),
        })
    }

    /// Registers that decide what else means are changed by the guest only.
    fn write_register(_: &Engine<Self>, vcpu: &mut Vcpu<Self>, name: &str, value: u64) -> bool {
        let state = vcpu.state_mut();
        match (find(name), name) {
            (Some(Register::Rip), _) => {
                state.common.pc = state.segments[seg::CS].base.wrapping_add(value);
            }
            (Some(Register::Flags), _) => rflags::set(state, value),
            (Some(Register::General(number)), _) => state.gpr[number] = value,
            (Some(Register::Word(word)), "fs_base" | "gs_base" | "k_gs_base" | "cr2") => {
                *word(state) = value;
            }
            _ => return false,
        }
        true
    }
}
