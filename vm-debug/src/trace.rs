//! Execution traces.
//!
//! One record an instruction, before it is executed: a line with the virtual CPU, the program counter and the
//! symbol it lies in, then the general registers in the rows that QEMU prints with `-d cpu` for RISC-V, so that
//! filtering both traces for lines that start with ` x` or ` pc` gives texts that can be compared line by line
//! (QEMU with `-accel tcg,one-insn-per-tb=on -d cpu,nochain`).

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use vm_core::{ExecTrace, GuestArch, GuestVirtAddr, Notices, VcpuId};

use crate::symbols::SymbolTable;

/// ABI names of the general registers (RISC-V calling convention).
const ABI: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// Names of the general registers of x86 by their numbers in instructions.
const X86: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// What is written before the value of general register `number`.
fn name(arch: GuestArch, number: usize) -> String {
    match arch {
        GuestArch::X86_64 => X86.get(number).copied().unwrap_or_default().to_owned(),
        GuestArch::Riscv64 | GuestArch::Aarch64 => format!("x{number}/{}", ABI[number]),
    }
}

/// Writes a trace as text.
pub struct TextTrace {
    /// Nothing once it takes no more.
    out: Mutex<Option<Box<dyn Write + Send>>>,
    symbols: Option<Arc<SymbolTable>>,
    notices: Notices,
}

impl TextTrace {
    /// Writes to `out`, with names from `symbols` where there are some. Buffering is the writer's affair. When `out` takes
    /// no more (full disk), `notices` hears of it, and the trace ends; the guest goes on.
    pub fn new(
        out: Box<dyn Write + Send>,
        symbols: Option<Arc<SymbolTable>>,
        notices: Notices,
    ) -> Self {
        Self {
            out: Mutex::new(Some(out)),
            symbols,
            notices,
        }
    }

    fn write(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = out.as_mut().map(|out| write(out)) {
            *out = None;
            self.notices.say(&format!("the trace ends: {error}"));
        }
    }

    fn record(
        &self,
        arch: GuestArch,
        vcpu: VcpuId,
        pc: GuestVirtAddr,
        registers: &[u64],
    ) -> String {
        let mut text = format!("{vcpu} {:016x}", pc.raw());
        if let Some(place) = self.symbols.as_ref().and_then(|table| table.lookup(pc)) {
            let _ = write!(text, " {}+{:#x}", place.name, place.offset);
        }
        let _ = write!(text, "\n pc       {:016x}", pc.raw());
        for (number, value) in registers.iter().enumerate().take(ABI.len()) {
            text.push_str(if number % 4 == 0 { "\n " } else { " " });
            let name = name(arch, number);
            let _ = write!(text, "{name:<8} {value:016x}");
        }
        text.push('\n');
        text
    }
}

impl ExecTrace for TextTrace {
    fn instruction(&self, arch: GuestArch, vcpu: VcpuId, pc: GuestVirtAddr, registers: &[u64]) {
        let text = self.record(arch, vcpu, pc, registers);
        self.write(|out| out.write_all(text.as_bytes()));
    }

    fn end(&self) {
        self.write(|out| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_has_qemus_register_rows() {
        let trace = TextTrace::new(Box::new(std::io::sink()), None, Notices::default());
        let mut registers = [0; 32];
        registers[1] = 0xab;
        registers[31] = u64::MAX;
        let text = trace.record(
            GuestArch::Riscv64,
            VcpuId(1),
            GuestVirtAddr(0x8020_0000),
            &registers,
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "cpu1 0000000080200000");
        assert_eq!(lines[1], " pc       0000000080200000");
        assert_eq!(
            lines[2],
            " x0/zero  0000000000000000 x1/ra    00000000000000ab x2/sp    0000000000000000 \
             x3/gp    0000000000000000"
        );
        assert_eq!(lines.len(), 10);
        assert!(lines[9].ends_with("x31/t6   ffffffffffffffff"));
    }

    #[test]
    fn trace_whose_file_is_full_says_so_once_and_ends() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let said = Arc::new(Mutex::new(Vec::new()));
        let hear = said.clone();
        let notices = Notices::to(move |line| hear.lock().unwrap().push(line.to_owned()));
        let trace = TextTrace::new(Box::new(full.unwrap()), None, notices);
        for _ in 0..3 {
            trace.instruction(
                GuestArch::Riscv64,
                VcpuId(0),
                GuestVirtAddr(0x1000),
                &[0; 32],
            );
        }
        trace.end();
        let said = said.lock().unwrap();
        assert!(
            said.len() == 1 && said[0].starts_with("the trace ends: "),
            "{said:?}"
        );
    }
}
