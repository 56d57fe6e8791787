//! Text about a machine that stands still, for people.

use std::fmt::Write as _;

use vm_core::{DebugTarget, GuestArch, VcpuId};

/// The calling convention's names of x0 to x31 (RISC-V ELF psABI, "Integer Register Convention").
const ABI_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// The system registers that say most about where a kernel is.
const SYSTEM_REGISTERS: [&str; 14] = [
    "mstatus", "mie", "mip", "mepc", "mcause", "mtval", "sstatus", "stvec", "sepc", "scause",
    "stval", "satp", "stimecmp", "sscratch",
];

/// The names of an x86 processor's registers.
const X86_REGISTERS: [&str; 36] = [
    "rip",
    "rflags",
    "cpl",
    "efer",
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rbp",
    "rsp",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "cs",
    "ss",
    "ds",
    "es",
    "fs",
    "gs",
    "tr",
    "fs_base",
    "gs_base",
    "k_gs_base",
    "cr0",
    "cr2",
    "cr3",
    "cr4",
    "gdtr",
    "idtr",
];

/// Names of an architecture's registers, and what is written before their values.
fn names(arch: GuestArch) -> Vec<(String, String)> {
    let same = |name: &str| (name.to_owned(), name.to_owned());
    match arch {
        GuestArch::X86_64 => X86_REGISTERS.map(same).into(),
        GuestArch::Riscv64 | GuestArch::Aarch64 => {
            let general = (0..32).zip(ABI_NAMES);
            let general = general.map(|(n, abi)| (format!("x{n}"), format!("x{n}/{abi}")));
            let first = ["pc", "priv"].map(same).into_iter();
            let system = SYSTEM_REGISTERS.map(same);
            first.chain(general).chain(system).collect()
        }
    }
}

/// The general registers of a virtual CPU and the system registers that it has, four a line.
pub fn registers(target: &dyn DebugTarget, vcpu: VcpuId) -> String {
    let mut text = format!("CPU {}:\n", vcpu.0);
    let mut shown = 0;
    for (name, label) in names(target.arch()) {
        if let Ok(value) = target.read_register(vcpu, &name) {
            shown += 1;
            let end = if shown % 4 == 0 { '\n' } else { ' ' };
            let _ = write!(text, "{label:>10} {value:016x}{end}");
        }
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
