//! Every 16-bit encoding, one a line, with the manual's names and bit patterns, and the instruction that it
//! abbreviates (RISC-V Unpriv 20240411, chapter "C"). What has no line is reserved.

use super::Row;
use super::pattern::{Field, Pattern};
use super::table::Op;
use crate::riscv::isa::{Extension, Extensions};

/// Declares [`ROWS`] from rows of: mnemonic, bit pattern, operands as the disassembler writes them, extensions that
/// must all be present, the full instruction, and the registers that are implied rather than encoded.
macro_rules! compressed {
    ($($name:literal $pattern:literal $operands:literal [$($ext:ident)*] => $op:ident $({$($reg:ident: $value:literal),*})?;)*) => {
        pub(super) const COUNT: usize = [$(Op::$op),*].len();

        pub(super) static ROWS: [Row; COUNT] = ROWS_CONST;

        pub(super) const ROWS_CONST: [Row; COUNT] = [
            $(Row {
                op: Op::$op,
                name: $name,
                operands: $operands,
                needs: Extensions::of(&[$(Extension::$ext),*]),
                pattern: {
                    #[allow(unused_mut)]
                    let mut pattern = Pattern::parse($pattern, 16);
                    $($(pattern.$reg = Field::constant($value);)*)?
                    pattern
                },
            },)*
        ];
    };
}

#[rustfmt::skip]
compressed! {
    // Quadrant 0
    "c.addi4spn" "000 nzuimm[5:4|9:6|2|3] rd' 00"         "rd,sp,imm"    [C]   => Addi {rs1: 2};
    "c.fld"      "001 uimm[5:3] rs1' uimm[7:6] rd' 00"    "fd,imm(rs1)"  [C D] => Fld;
    "c.lw"       "010 uimm[5:3] rs1' uimm[2|6] rd' 00"    "rd,imm(rs1)"  [C]   => Lw;
    "c.ld"       "011 uimm[5:3] rs1' uimm[7:6] rd' 00"    "rd,imm(rs1)"  [C]   => Ld;
    "c.fsd"      "101 uimm[5:3] rs1' uimm[7:6] rs2' 00"   "fs2,imm(rs1)" [C D] => Fsd;
    "c.sw"       "110 uimm[5:3] rs1' uimm[2|6] rs2' 00"   "rs2,imm(rs1)" [C]   => Sw;
    "c.sd"       "111 uimm[5:3] rs1' uimm[7:6] rs2' 00"   "rs2,imm(rs1)" [C]   => Sd;
    // Quadrant 1; encodings with rd = x0 or a zero immediate that are not listed as reserved are hints
    "c.nop"      "000 0 00000 00000 01"                   ""             [C]   => Addi;
    "c.addi"     "000 imm[5] rs1/rd imm[4:0] 01"          "rd,imm"       [C]   => Addi;
    "c.addiw"    "001 imm[5] rs1/rd!=0 imm[4:0] 01"       "rd,imm"       [C]   => Addiw;
    "c.li"       "010 imm[5] rd imm[4:0] 01"              "rd,imm"       [C]   => Addi;
    "c.addi16sp" "011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01" "sp,imm"       [C]   => Addi {rd: 2, rs1: 2};
    "c.lui"      "011 nzimm[17] rd nzimm[16:12] 01"       "rd,upper"     [C]   => Lui;
    "c.srli"     "100 uimm[5] 00 rs1'/rd' uimm[4:0] 01"   "rd,shamt"     [C]   => Srli;
    "c.srai"     "100 uimm[5] 01 rs1'/rd' uimm[4:0] 01"   "rd,shamt"     [C]   => Srai;
    "c.andi"     "100 imm[5] 10 rs1'/rd' imm[4:0] 01"     "rd,imm"       [C]   => Andi;
    "c.sub"      "100 0 11 rs1'/rd' 00 rs2' 01"           "rd,rs2"       [C]   => Sub;
    "c.xor"      "100 0 11 rs1'/rd' 01 rs2' 01"           "rd,rs2"       [C]   => Xor;
    "c.or"       "100 0 11 rs1'/rd' 10 rs2' 01"           "rd,rs2"       [C]   => Or;
    "c.and"      "100 0 11 rs1'/rd' 11 rs2' 01"           "rd,rs2"       [C]   => And;
    "c.subw"     "100 1 11 rs1'/rd' 00 rs2' 01"           "rd,rs2"       [C]   => Subw;
    "c.addw"     "100 1 11 rs1'/rd' 01 rs2' 01"           "rd,rs2"       [C]   => Addw;
    "c.j"        "101 imm[11|4|9:8|10|6|7|3:1|5] 01"      "target"       [C]   => Jal;
    "c.beqz"     "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01"  "rs1,target"   [C]   => Beq;
    "c.bnez"     "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01"  "rs1,target"   [C]   => Bne;
    // Quadrant 2
    "c.slli"     "000 uimm[5] rs1/rd uimm[4:0] 10"        "rd,shamt"     [C]   => Slli;
    "c.fldsp"    "001 uimm[5] rd uimm[4:3|8:6] 10"        "fd,imm(sp)"   [C D] => Fld {rs1: 2};
    "c.lwsp"     "010 uimm[5] rd!=0 uimm[4:2|7:6] 10"     "rd,imm(sp)"   [C]   => Lw {rs1: 2};
    "c.ldsp"     "011 uimm[5] rd!=0 uimm[4:3|8:6] 10"     "rd,imm(sp)"   [C]   => Ld {rs1: 2};
    "c.jr"       "100 0 rs1!=0 00000 10"                  "rs1"          [C]   => Jalr;
    "c.mv"       "100 0 rd rs2!=0 10"                     "rd,rs2"       [C]   => Add;
    "c.ebreak"   "100 1 00000 00000 10"                   ""             [C]   => Ebreak;
    "c.jalr"     "100 1 rs1!=0 00000 10"                  "rs1"          [C]   => Jalr {rd: 1};
    "c.ntl.p1"   "100 1 00000 00010 10"                   ""             [C Zihintntl] => NtlP1;
    "c.ntl.pall" "100 1 00000 00011 10"                   ""             [C Zihintntl] => NtlPall;
    "c.ntl.s1"   "100 1 00000 00100 10"                   ""             [C Zihintntl] => NtlS1;
    "c.ntl.all"  "100 1 00000 00101 10"                   ""             [C Zihintntl] => NtlAll;
    "c.add"      "100 1 rs1/rd rs2!=0 10"                 "rd,rs2"       [C]   => Add;
    "c.fsdsp"    "101 uimm[5:3|8:6] rs2 10"               "fs2,imm(sp)"  [C D] => Fsd {rs1: 2};
    "c.swsp"     "110 uimm[5:2|7:6] rs2 10"               "rs2,imm(sp)"  [C]   => Sw {rs1: 2};
    "c.sdsp"     "111 uimm[5:3|8:6] rs2 10"               "rs2,imm(sp)"  [C]   => Sd {rs1: 2};
}
