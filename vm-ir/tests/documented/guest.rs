//! The two guests of the document: slots, and how to run instructions on the real thing.

use vm_ir::{Effects, HelperDecl, SlotDecl, StateLayout, Type};
use vm_softfloat::{Env, Flags, RoundingDirection};

/// A state as it travels to the program that runs the instructions, 400 bytes: eight registers, flags, three vectors,
/// floating-point control, fault, number of the case, 256 bytes of memory.
pub(crate) const WIRE_BYTES: usize = 400;

const fn slot(name: &'static str, ty: Type, offset: u32) -> SlotDecl {
    SlotDecl {
        name,
        ty,
        offset,
        pin_rank: 255,
    }
}

/// A layout in the order of the wire: word `n` of the wire is at byte `8 * n`, but flags are a group at the end.
macro_rules! layout {
    ($isa:literal [$($reg:literal)*] $flags:literal [$($vec:literal)*] $helpers:expr) => {{
        const REGS: &[&str] = &[$($reg),*];
        const VECS: &[&str] = &[$($vec),*];
        const SLOTS: [SlotDecl; 12] = {
            let mut slots = [slot($flags, Type::Flags, 120); 12];
            let mut n = 0;
            while n < 8 {
                slots[n] = slot(REGS[n], Type::I64, 8 * n as u32);
                n += 1;
            }
            while n < 11 {
                slots[n] = slot(VECS[n - 8], Type::V128, 72 + 16 * (n as u32 - 8));
                n += 1;
            }
            slots
        };
        StateLayout { isa: $isa, slots: &SLOTS, bytes: 160, helpers: $helpers, vectors: &[] }
    }};
}

/// `iretq`.
const IRET: HelperDecl = HelperDecl {
    name: "iret",
    effects: Effects::READS_MEMORY
        .and(Effects::READS_STATE)
        .and(Effects::WRITES_STATE)
        .and(Effects::MAY_FAULT),
};

pub(crate) static X86_64: StateLayout = layout!("x86_64" ["rax" "rbx" "rcx" "rdx" "rsi" "rdi" "r8" "rsp"] "fl"
    ["xmm0" "xmm1" "xmm2"] &[IRET]);
pub(crate) static AARCH64: StateLayout = layout!("aarch64" ["x0" "x1" "x2" "x3" "x4" "x5" "x6" "x7"] "nzcv"
    ["v0" "v1" "v2"] &[]);

/// What the test must know of a guest.
pub(crate) struct Guest {
    pub(crate) layout: &'static StateLayout,
    /// Source of the program around the cases.
    pub(crate) program: &'static str,
    /// Source of the cases.
    pub(crate) cases: fn(&[String]) -> String,
    /// Places of carry, parity, half carry, zero, sign and overflow in the flags word; 64 where there is none.
    pub(crate) flag_bits: [u32; 6],
    /// Floating-point rules and accrued exceptions that a control word says.
    pub(crate) fp: fn(u64) -> (Env, u32),
    /// A control word of a number.
    pub(crate) control: fn(u64) -> u64,
}

pub(crate) static GUESTS: [Guest; 2] = [
    Guest {
        layout: &X86_64,
        program: include_str!("x86_64.c"),
        cases: x86_cases,
        flag_bits: [0, 2, 4, 6, 7, 11],
        fp: |mxcsr| {
            let rounding = RoundingDirection::from_x86((mxcsr >> 13) as u8);
            let place = |flag: Flags| mxcsr & u64::from(flag.x86()) != 0;
            (Env::sse(rounding), accrued(place))
        },
        control: |n| 0x1f80 | (n & 3) << 13,
    },
    Guest {
        layout: &AARCH64,
        program: include_str!("aarch64.c"),
        cases: arm_cases,
        flag_bits: [29, 64, 64, 30, 31, 28],
        fp: |word| {
            let rounding = RoundingDirection::from_arm((word >> 22) as u8);
            let place = |flag: Flags| (word >> 32) & u64::from(flag.arm()) != 0;
            (Env::arm(rounding), accrued(place))
        },
        control: |n| (n & 3) << 22,
    },
];

fn accrued(has: impl Fn(Flags) -> bool) -> u32 {
    let all = [
        Flags::INEXACT,
        Flags::UNDERFLOW,
        Flags::OVERFLOW,
        Flags::DIVZERO,
        Flags::INVALID,
        Flags::DENORMAL,
    ];
    all.iter()
        .filter(|flag| has(**flag))
        .fold(0, |bits, flag| bits | u32::from(flag.bits()))
}

/// A table of the cases' addresses behind them.
fn with_table(mut text: String, count: usize) -> String {
    text.push_str(".data\n.globl cases\n.balign 8\ncases:\n");
    for number in 0..count {
        text.push_str(&format!(".quad case{number}\n"));
    }
    text.push_str(".section .note.GNU-stack,\"\",%progbits\n");
    text
}

fn x86_cases(instructions: &[String]) -> String {
    const REGS: [&str; 7] = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8"];
    const SAVED: [&str; 6] = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
    let mut text = String::from(".intel_syntax noprefix\n.text\n");
    for (number, instruction) in instructions.iter().enumerate() {
        let mut line = |what: String| text.push_str(&format!("{what}\n"));
        line(format!("case{number}:"));
        SAVED.iter().for_each(|reg| line(format!("push {reg}")));
        line("mov r15, rdi".into());
        (0..3).for_each(|n| line(format!("movdqu xmm{n}, [r15 + {}]", 72 + 16 * n)));
        line("ldmxcsr [r15 + 120]\npush qword ptr [r15 + 64]\npopfq".into());
        (0..7).for_each(|n| line(format!("mov {}, [r15 + {}]", REGS[n], 8 * n)));
        if instruction == "iretq" {
            // The frame's code address and selectors are the program's own.
            line("mov r14, rsp\nmov rsp, [r15 + 56]\nlea r13, after_iretq[rip]".into());
            line("mov [rsp], r13\nmov r13, cs\nmov [rsp + 8], r13".into());
            line("mov r13, ss\nmov [rsp + 32], r13\niretq\nafter_iretq:".into());
            line("mov [r15 + 56], rsp\nmov rsp, r14".into());
        } else {
            line(instruction.clone());
        }
        line("pushfq\npop qword ptr [r15 + 64]".into());
        (0..7).for_each(|n| line(format!("mov [r15 + {}], {}", 8 * n, REGS[n])));
        (0..3).for_each(|n| line(format!("movdqu [r15 + {}], xmm{n}", 72 + 16 * n)));
        line("stmxcsr [r15 + 120]\ncld".into());
        SAVED
            .iter()
            .rev()
            .for_each(|reg| line(format!("pop {reg}")));
        line("ret".into());
    }
    with_table(text, instructions.len())
}

fn arm_cases(instructions: &[String]) -> String {
    let mut text = String::from(".text\n");
    for (number, instruction) in instructions.iter().enumerate() {
        let mut line = |what: String| text.push_str(&format!("{what}\n"));
        line(format!(
            "case{number}:\nstp x19, x30, [sp, #-16]!\nmov x19, x0"
        ));
        line("ldr x9, [x19, #64]\nmsr nzcv, x9\nldr w9, [x19, #120]\nmsr fpcr, x9".into());
        line("ldr w9, [x19, #124]\nmsr fpsr, x9".into());
        (0..3).for_each(|n| line(format!("ldur q{n}, [x19, #{}]", 72 + 16 * n)));
        (0..8).for_each(|n| line(format!("ldr x{n}, [x19, #{}]", 8 * n)));
        line(instruction.clone());
        (0..8).for_each(|n| line(format!("str x{n}, [x19, #{}]", 8 * n)));
        (0..3).for_each(|n| line(format!("stur q{n}, [x19, #{}]", 72 + 16 * n)));
        line("mrs x9, nzcv\nstr x9, [x19, #64]\nmrs x9, fpsr\nstr w9, [x19, #124]".into());
        line("msr fpcr, xzr\nldp x19, x30, [sp], #16\nret".into());
    }
    with_table(text, instructions.len())
}
