//! The assembler's own names for special cases of instructions (RISC-V Assembly Programmer's Manual,
//! "pseudoinstructions").

use super::super::decode::{Insn, Op};

/// A condition on the fields of an instruction.
#[derive(Clone, Copy)]
enum When {
    Rd(u8),
    Rs1(u8),
    Rs2(u8),
    Imm(i32),
    SameSources,
    Csr(u16),
}

/// A special case: when all conditions hold, `op` is written as `name operands`.
pub(super) struct Alias {
    op: Op,
    when: &'static [When],
    pub(super) name: &'static str,
    pub(super) operands: &'static str,
}

macro_rules! aliases {
    ($($op:ident [$($when:expr),*] $name:literal $operands:literal;)*) => {
        const ALIASES: &[Alias] = {
            use When::{Csr, Imm, Rd, Rs1, Rs2, SameSources};
            &[$(Alias { op: Op::$op, when: &[$($when),*], name: $name, operands: $operands },)*]
        };
    };
}

aliases! {
    Addi [Rd(0), Rs1(0), Imm(0)] "nop" "";
    Addi [Rs1(0)] "li" "rd,imm";
    Addi [Imm(0)] "mv" "rd,rs1";
    Addiw [Imm(0)] "sext.w" "rd,rs1";
    Xori [Imm(-1)] "not" "rd,rs1";
    Andi [Imm(255)] "zext.b" "rd,rs1";
    Sltiu [Imm(1)] "seqz" "rd,rs1";
    Sltu [Rs1(0)] "snez" "rd,rs2";
    Slt [Rs2(0)] "sltz" "rd,rs1";
    Slt [Rs1(0)] "sgtz" "rd,rs2";
    Sub [Rs1(0)] "neg" "rd,rs2";
    Subw [Rs1(0)] "negw" "rd,rs2";
    AddUw [Rs2(0)] "zext.w" "rd,rs1";
    Beq [Rs2(0)] "beqz" "rs1,target";
    Bne [Rs2(0)] "bnez" "rs1,target";
    Bge [Rs1(0)] "blez" "rs2,target";
    Bge [Rs2(0)] "bgez" "rs1,target";
    Blt [Rs2(0)] "bltz" "rs1,target";
    Blt [Rs1(0)] "bgtz" "rs2,target";
    Jal [Rd(0)] "j" "target";
    Jal [Rd(1)] "jal" "target";
    Jalr [Rd(0), Rs1(1), Imm(0)] "ret" "";
    Jalr [Rd(0), Imm(0)] "jr" "rs1";
    Jalr [Rd(0)] "jr" "imm(rs1)";
    Jalr [Rd(1), Imm(0)] "jalr" "rs1";
    Jalr [Rd(1)] "jalr" "imm(rs1)";
    Fence [Imm(0xff)] "fence" "";
    Csrrs [Rs1(0), Csr(0xc00)] "rdcycle" "rd";
    Csrrs [Rs1(0), Csr(0xc01)] "rdtime" "rd";
    Csrrs [Rs1(0), Csr(0xc02)] "rdinstret" "rd";
    Csrrs [Rs1(0), Csr(1)] "frflags" "rd";
    Csrrs [Rs1(0), Csr(2)] "frrm" "rd";
    Csrrs [Rs1(0), Csr(3)] "frcsr" "rd";
    Csrrw [Rd(0), Csr(1)] "fsflags" "rs1";
    Csrrw [Csr(1)] "fsflags" "rd,rs1";
    Csrrw [Rd(0), Csr(2)] "fsrm" "rs1";
    Csrrw [Csr(2)] "fsrm" "rd,rs1";
    Csrrw [Rd(0), Csr(3)] "fscsr" "rs1";
    Csrrw [Csr(3)] "fscsr" "rd,rs1";
    Csrrwi [Rd(0), Csr(1)] "fsflagsi" "zimm";
    Csrrwi [Csr(1)] "fsflagsi" "rd,zimm";
    Csrrwi [Rd(0), Csr(2)] "fsrmi" "zimm";
    Csrrwi [Csr(2)] "fsrmi" "rd,zimm";
    Csrrs [Rs1(0)] "csrr" "rd,csr";
    Csrrw [Rd(0)] "csrw" "csr,rs1";
    Csrrs [Rd(0)] "csrs" "csr,rs1";
    Csrrc [Rd(0)] "csrc" "csr,rs1";
    Csrrwi [Rd(0)] "csrwi" "csr,zimm";
    Csrrsi [Rd(0)] "csrsi" "csr,zimm";
    Csrrci [Rd(0)] "csrci" "csr,zimm";
    SfenceVma [Rs1(0), Rs2(0)] "sfence.vma" "";
    SfenceVma [Rs2(0)] "sfence.vma" "rs1";
    FsgnjS [SameSources] "fmv.s" "fd,fs1";
    FsgnjnS [SameSources] "fneg.s" "fd,fs1";
    FsgnjxS [SameSources] "fabs.s" "fd,fs1";
    FsgnjD [SameSources] "fmv.d" "fd,fs1";
    FsgnjnD [SameSources] "fneg.d" "fd,fs1";
    FsgnjxD [SameSources] "fabs.d" "fd,fs1";
}

impl When {
    fn holds(self, insn: &Insn) -> bool {
        match self {
            Self::Rd(number) => insn.rd == number,
            Self::Rs1(number) => insn.rs1 == number,
            Self::Rs2(number) => insn.rs2 == number,
            Self::Imm(value) => insn.imm == value,
            Self::SameSources => insn.rs1 == insn.rs2,
            Self::Csr(number) => insn.csr() == number,
        }
    }
}

/// The first special case that `insn` is.
pub(super) fn find(insn: &Insn) -> Option<&'static Alias> {
    ALIASES
        .iter()
        .find(|alias| alias.op == insn.op && alias.when.iter().all(|when| when.holds(insn)))
}
