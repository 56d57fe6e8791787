//! Names of registers, control and status registers, and constants.

use crate::riscv::sys::csr;

/// ABI names of the integer registers (RISC-V psABI 1.0, "Register Convention").
pub const X_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// ABI names of the floating-point registers.
pub const F_NAMES: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];

/// Rounding modes by number; 5 and 6 are reserved.
pub(super) const ROUNDING: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "?", "?", "dyn"];

/// The constants of `fli` (RISC-V Unpriv 20240411, chapter "Zfa", "Load-Immediate Instructions").
pub(super) const FLI: [&str; 32] = [
    "-1.0",
    "min",
    "1.52587890625e-05",
    "3.0517578125e-05",
    "0.00390625",
    "0.0078125",
    "0.0625",
    "0.125",
    "0.25",
    "0.3125",
    "0.375",
    "0.4375",
    "0.5",
    "0.625",
    "0.75",
    "0.875",
    "1.0",
    "1.25",
    "1.5",
    "1.75",
    "2.0",
    "2.5",
    "3.0",
    "4.0",
    "8.0",
    "16.0",
    "128.0",
    "256.0",
    "32768.0",
    "65536.0",
    "inf",
    "nan",
];

/// Registers that no hart here has, which code may name all the same (RISC-V Priv 1.13, tables 2.2 to 2.7).
const OTHER_CSRS: [(u16, &str); 11] = [
    (0x120, "scountinhibit"),
    (0x5a8, "scontext"),
    (0x747, "mseccfg"),
    (0x7a5, "tcontrol"),
    (0x7a8, "mcontext"),
    (0x7b0, "dcsr"),
    (0x7b1, "dpc"),
    (0x7b2, "dscratch0"),
    (0x7b3, "dscratch1"),
    (0x34a, "mtinst"),
    (0xda0, "scountovf"),
];

/// The name of a control and status register, or its number in hexadecimal.
pub fn csr_name(number: u16) -> String {
    let other = || OTHER_CSRS.iter().find(|(known, _)| *known == number);
    csr::name(number)
        .or_else(|| other().map(|(_, name)| (*name).to_owned()))
        .unwrap_or_else(|| format!("{number:#x}"))
}
