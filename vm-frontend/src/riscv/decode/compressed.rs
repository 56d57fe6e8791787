//! Every 16-bit encoding, one a line, with the manual's names and bit patterns, and the instruction that it
//! abbreviates (RISC-V Unpriv 20240411, chapters "C" and "Zc", and "Zimop" for `c.mop`). What has no line is reserved.

use super::pattern::{Field, Pattern};
use super::table::Op;
use super::{Needs, Row};
use crate::riscv::isa::{Extension, Extensions};

/// Declares [`ROWS`] from rows of: mnemonic, bit pattern, operands as the disassembler writes them, extensions that
/// must all be present, the full instruction, and the registers and the immediate that are implied rather than encoded.
macro_rules! compressed {
    ($($name:literal $pattern:literal $operands:literal [$($($ext:ident)+)|+] => $op:ident $({$($reg:ident: $value:literal),*})? $(imm $imm:literal)?;)*) => {
        pub(super) const COUNT: usize = [$(Op::$op),*].len();

        pub(super) static ROWS: [Row; COUNT] = ROWS_CONST;

        pub(super) const ROWS_CONST: [Row; COUNT] = [
            $(Row {
                op: Op::$op,
                name: $name,
                operands: $operands,
                needs: Needs::one_of(&[$(Extensions::of(&[$(Extension::$ext),+])),+]),
                pattern: {
                    #[allow(unused_mut)]
                    let mut pattern = Pattern::parse($pattern, 16);
                    $($(pattern.$reg = Field::constant($value);)*)?
                    $(pattern.fixed_imm = $imm;)?
                    pattern
                },
            },)*
        ];
    };
}

#[rustfmt::skip]
compressed! {
    // Quadrant 0
    "c.addi4spn" "000 nzuimm[5:4|9:6|2|3] rd' 00"         "rd,sp,imm"    [Zca] => Addi {rs1: 2};
    "c.fld"      "001 uimm[5:3] rs1' uimm[7:6] rd' 00"    "fd,imm(rs1)"  [C D] => Fld;
    "c.lw"       "010 uimm[5:3] rs1' uimm[2|6] rd' 00"    "rd,imm(rs1)"  [Zca] => Lw;
    "c.ld"       "011 uimm[5:3] rs1' uimm[7:6] rd' 00"    "rd,imm(rs1)"  [Zca] => Ld;
    "c.fsd"      "101 uimm[5:3] rs1' uimm[7:6] rs2' 00"   "fs2,imm(rs1)" [C D] => Fsd;
    "c.sw"       "110 uimm[5:3] rs1' uimm[2|6] rs2' 00"   "rs2,imm(rs1)" [Zca] => Sw;
    "c.sd"       "111 uimm[5:3] rs1' uimm[7:6] rs2' 00"   "rs2,imm(rs1)" [Zca] => Sd;
    "c.lbu"      "100 000 rs1' uimm[0|1] rd' 00"          "rd,imm(rs1)"  [Zcb] => Lbu;
    "c.lhu"      "100 001 rs1' 0 uimm[1] rd' 00"          "rd,imm(rs1)"  [Zcb] => Lhu;
    "c.lh"       "100 001 rs1' 1 uimm[1] rd' 00"          "rd,imm(rs1)"  [Zcb] => Lh;
    "c.sb"       "100 010 rs1' uimm[0|1] rs2' 00"         "rs2,imm(rs1)" [Zcb] => Sb;
    "c.sh"       "100 011 rs1' 0 uimm[1] rs2' 00"         "rs2,imm(rs1)" [Zcb] => Sh;
    // Quadrant 1; encodings with rd = x0 or a zero immediate that are not listed as reserved are hints
    "c.nop"      "000 0 00000 00000 01"                   ""             [Zca] => Addi;
    "c.addi"     "000 imm[5] rs1/rd imm[4:0] 01"          "rd,imm"       [Zca] => Addi;
    "c.addiw"    "001 imm[5] rs1/rd!=0 imm[4:0] 01"       "rd,imm"       [Zca] => Addiw;
    "c.li"       "010 imm[5] rd imm[4:0] 01"              "rd,imm"       [Zca] => Addi;
    "c.addi16sp" "011 nzimm[9] 00010 nzimm[4|6|8:7|5] 01" "sp,imm"       [Zca] => Addi {rd: 2, rs1: 2};
    "c.lui"      "011 nzimm[17] rd nzimm[16:12] 01"       "rd,upper"     [Zca] => Lui;
    "c.srli"     "100 uimm[5] 00 rs1'/rd' uimm[4:0] 01"   "rd,shamt"     [Zca] => Srli;
    "c.srai"     "100 uimm[5] 01 rs1'/rd' uimm[4:0] 01"   "rd,shamt"     [Zca] => Srai;
    "c.andi"     "100 imm[5] 10 rs1'/rd' imm[4:0] 01"     "rd,imm"       [Zca] => Andi;
    "c.sub"      "100 0 11 rs1'/rd' 00 rs2' 01"           "rd,rs2"       [Zca] => Sub;
    "c.xor"      "100 0 11 rs1'/rd' 01 rs2' 01"           "rd,rs2"       [Zca] => Xor;
    "c.or"       "100 0 11 rs1'/rd' 10 rs2' 01"           "rd,rs2"       [Zca] => Or;
    "c.and"      "100 0 11 rs1'/rd' 11 rs2' 01"           "rd,rs2"       [Zca] => And;
    "c.subw"     "100 1 11 rs1'/rd' 00 rs2' 01"           "rd,rs2"       [Zca] => Subw;
    "c.addw"     "100 1 11 rs1'/rd' 01 rs2' 01"           "rd,rs2"       [Zca] => Addw;
    "c.mul"      "100 1 11 rs1'/rd' 10 rs2' 01"           "rd,rs2"       [Zcb M] => Mul;
    "c.zext.b"   "100 1 11 rs1'/rd' 11 000 01"            "rd"           [Zcb] => Andi imm 255;
    "c.sext.b"   "100 1 11 rs1'/rd' 11 001 01"            "rd"           [Zcb Zbb] => SextB;
    "c.zext.h"   "100 1 11 rs1'/rd' 11 010 01"            "rd"           [Zcb Zbb] => ZextH;
    "c.sext.h"   "100 1 11 rs1'/rd' 11 011 01"            "rd"           [Zcb Zbb] => SextH;
    "c.zext.w"   "100 1 11 rs1'/rd' 11 100 01"            "rd"           [Zcb Zba] => AddUw;
    "c.not"      "100 1 11 rs1'/rd' 11 101 01"            "rd"           [Zcb] => Xori imm -1;
    "c.mop.1"    "011 0 00001 00000 01"                    ""             [Zcmop] => Addi;
    "c.mop.3"    "011 0 00011 00000 01"                    ""             [Zcmop] => Addi;
    "c.mop.5"    "011 0 00101 00000 01"                    ""             [Zcmop] => Addi;
    "c.mop.7"    "011 0 00111 00000 01"                    ""             [Zcmop] => Addi;
    "c.mop.9"    "011 0 01001 00000 01"                    ""             [Zcmop] => Addi;
    "c.mop.11"   "011 0 01011 00000 01"                    ""             [Zcmop] => Addi;
    "c.mop.13"   "011 0 01101 00000 01"                    ""             [Zcmop] => Addi;
    "c.mop.15"   "011 0 01111 00000 01"                    ""             [Zcmop] => Addi;
    "c.j"        "101 imm[11|4|9:8|10|6|7|3:1|5] 01"      "target"       [Zca] => Jal;
    "c.beqz"     "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01"  "rs1,target"   [Zca] => Beq;
    "c.bnez"     "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01"  "rs1,target"   [Zca] => Bne;
    // Quadrant 2
    "c.slli"     "000 uimm[5] rs1/rd uimm[4:0] 10"        "rd,shamt"     [Zca] => Slli;
    "c.fldsp"    "001 uimm[5] rd uimm[4:3|8:6] 10"        "fd,imm(sp)"   [C D] => Fld {rs1: 2};
    "c.lwsp"     "010 uimm[5] rd!=0 uimm[4:2|7:6] 10"     "rd,imm(sp)"   [Zca] => Lw {rs1: 2};
    "c.ldsp"     "011 uimm[5] rd!=0 uimm[4:3|8:6] 10"     "rd,imm(sp)"   [Zca] => Ld {rs1: 2};
    "c.jr"       "100 0 rs1!=0 00000 10"                  "rs1"          [Zca] => Jalr;
    "c.mv"       "100 0 rd rs2!=0 10"                     "rd,rs2"       [Zca] => Add;
    "c.ebreak"   "100 1 00000 00000 10"                   ""             [Zca] => Ebreak;
    "c.jalr"     "100 1 rs1!=0 00000 10"                  "rs1"          [Zca] => Jalr {rd: 1};
    "c.ntl.p1"   "100 1 00000 00010 10"                   ""             [Zca Zihintntl] => NtlP1;
    "c.ntl.pall" "100 1 00000 00011 10"                   ""             [Zca Zihintntl] => NtlPall;
    "c.ntl.s1"   "100 1 00000 00100 10"                   ""             [Zca Zihintntl] => NtlS1;
    "c.ntl.all"  "100 1 00000 00101 10"                   ""             [Zca Zihintntl] => NtlAll;
    "c.add"      "100 1 rs1/rd rs2!=0 10"                 "rd,rs2"       [Zca] => Add;
    "c.fsdsp"    "101 uimm[5:3|8:6] rs2 10"               "fs2,imm(sp)"  [C D] => Fsd {rs1: 2};
    "c.swsp"     "110 uimm[5:2|7:6] rs2 10"               "rs2,imm(sp)"  [Zca] => Sw {rs1: 2};
    "c.sdsp"     "111 uimm[5:3|8:6] rs2 10"               "rs2,imm(sp)"  [Zca] => Sd {rs1: 2};
}
