//! Every 32-bit encoding, one a line, with the manual's names and bit patterns (RISC-V Unpriv 20240411 and the
//! chapters of the extensions; RISC-V Priv 1.13 for the privileged ones).
//!
//! Where encodings overlap (hints are special cases of ordinary instructions), the special one stands first; it
//! is passed over when its extension is missing.

use super::pattern::Pattern;
use super::{Needs, Row};
use crate::riscv::isa::{Extension, Extensions};

/// Declares [`Op`] and [`ROWS`] from rows of: variant, mnemonic, bit pattern, operands as the disassembler writes
/// them, extensions that must all be present, or behind `|` others in their place.
macro_rules! instructions {
    ($($op:ident $name:literal $pattern:literal $operands:literal [$($($ext:ident)+)|+];)*) => {
        /// An instruction. Compressed encodings decode to the instruction that they abbreviate.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        pub enum Op {
            $(#[doc = concat!("`", $name, "`")] $op,)*
        }

        pub(super) const COUNT: usize = [$(Op::$op),*].len();

        pub(super) static ROWS: [Row; COUNT] = ROWS_CONST;

        pub(super) const ROWS_CONST: [Row; COUNT] = [
            $(Row {
                op: Op::$op,
                name: $name,
                operands: $operands,
                needs: Needs::one_of(&[$(Extensions::of(&[$(Extension::$ext),+])),+]),
                pattern: Pattern::parse($pattern, 32),
            },)*
        ];
    };
}

#[rustfmt::skip]
instructions! {
    // RV64I
    Lui    "lui"    "imm[31:12] rd 0110111"                        "rd,upper"     [I];
    Auipc  "auipc"  "imm[31:12] rd 0010111"                        "rd,upper"     [I];
    Jal    "jal"    "imm[20|10:1|11|19:12] rd 1101111"             "rd,target"    [I];
    Jalr   "jalr"   "imm[11:0] rs1 000 rd 1100111"                 "rd,imm(rs1)"  [I];
    Beq    "beq"    "imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011" "rs1,rs2,target" [I];
    Bne    "bne"    "imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011" "rs1,rs2,target" [I];
    Blt    "blt"    "imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011" "rs1,rs2,target" [I];
    Bge    "bge"    "imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011" "rs1,rs2,target" [I];
    Bltu   "bltu"   "imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011" "rs1,rs2,target" [I];
    Bgeu   "bgeu"   "imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011" "rs1,rs2,target" [I];
    Lb     "lb"     "imm[11:0] rs1 000 rd 0000011"                 "rd,imm(rs1)"  [I];
    Lh     "lh"     "imm[11:0] rs1 001 rd 0000011"                 "rd,imm(rs1)"  [I];
    Lw     "lw"     "imm[11:0] rs1 010 rd 0000011"                 "rd,imm(rs1)"  [I];
    Ld     "ld"     "imm[11:0] rs1 011 rd 0000011"                 "rd,imm(rs1)"  [I];
    Lbu    "lbu"    "imm[11:0] rs1 100 rd 0000011"                 "rd,imm(rs1)"  [I];
    Lhu    "lhu"    "imm[11:0] rs1 101 rd 0000011"                 "rd,imm(rs1)"  [I];
    Lwu    "lwu"    "imm[11:0] rs1 110 rd 0000011"                 "rd,imm(rs1)"  [I];
    Sb     "sb"     "imm[11:5] rs2 rs1 000 imm[4:0] 0100011"       "rs2,imm(rs1)" [I];
    Sh     "sh"     "imm[11:5] rs2 rs1 001 imm[4:0] 0100011"       "rs2,imm(rs1)" [I];
    Sw     "sw"     "imm[11:5] rs2 rs1 010 imm[4:0] 0100011"       "rs2,imm(rs1)" [I];
    Sd     "sd"     "imm[11:5] rs2 rs1 011 imm[4:0] 0100011"       "rs2,imm(rs1)" [I];
    Addi   "addi"   "imm[11:0] rs1 000 rd 0010011"                 "rd,rs1,imm"   [I];
    Slti   "slti"   "imm[11:0] rs1 010 rd 0010011"                 "rd,rs1,imm"   [I];
    Sltiu  "sltiu"  "imm[11:0] rs1 011 rd 0010011"                 "rd,rs1,imm"   [I];
    Xori   "xori"   "imm[11:0] rs1 100 rd 0010011"                 "rd,rs1,imm"   [I];
    PrefetchI "prefetch.i" "imm[11:5] 00000 rs1 110 00000 0010011" "imm(rs1)"     [Zicbop];
    PrefetchR "prefetch.r" "imm[11:5] 00001 rs1 110 00000 0010011" "imm(rs1)"     [Zicbop];
    PrefetchW "prefetch.w" "imm[11:5] 00011 rs1 110 00000 0010011" "imm(rs1)"     [Zicbop];
    Ori    "ori"    "imm[11:0] rs1 110 rd 0010011"                 "rd,rs1,imm"   [I];
    Andi   "andi"   "imm[11:0] rs1 111 rd 0010011"                 "rd,rs1,imm"   [I];
    Slli   "slli"   "000000 uimm[5:0] rs1 001 rd 0010011"          "rd,rs1,shamt" [I];
    Srli   "srli"   "000000 uimm[5:0] rs1 101 rd 0010011"          "rd,rs1,shamt" [I];
    Srai   "srai"   "010000 uimm[5:0] rs1 101 rd 0010011"          "rd,rs1,shamt" [I];
    NtlP1  "ntl.p1"   "0000000 00010 00000 000 00000 0110011"      ""             [Zihintntl];
    NtlPall "ntl.pall" "0000000 00011 00000 000 00000 0110011"     ""             [Zihintntl];
    NtlS1  "ntl.s1"   "0000000 00100 00000 000 00000 0110011"      ""             [Zihintntl];
    NtlAll "ntl.all"  "0000000 00101 00000 000 00000 0110011"      ""             [Zihintntl];
    Add    "add"    "0000000 rs2 rs1 000 rd 0110011"               "rd,rs1,rs2"   [I];
    Sub    "sub"    "0100000 rs2 rs1 000 rd 0110011"               "rd,rs1,rs2"   [I];
    Sll    "sll"    "0000000 rs2 rs1 001 rd 0110011"               "rd,rs1,rs2"   [I];
    Slt    "slt"    "0000000 rs2 rs1 010 rd 0110011"               "rd,rs1,rs2"   [I];
    Sltu   "sltu"   "0000000 rs2 rs1 011 rd 0110011"               "rd,rs1,rs2"   [I];
    Xor    "xor"    "0000000 rs2 rs1 100 rd 0110011"               "rd,rs1,rs2"   [I];
    Srl    "srl"    "0000000 rs2 rs1 101 rd 0110011"               "rd,rs1,rs2"   [I];
    Sra    "sra"    "0100000 rs2 rs1 101 rd 0110011"               "rd,rs1,rs2"   [I];
    Or     "or"     "0000000 rs2 rs1 110 rd 0110011"               "rd,rs1,rs2"   [I];
    And    "and"    "0000000 rs2 rs1 111 rd 0110011"               "rd,rs1,rs2"   [I];
    Addiw  "addiw"  "imm[11:0] rs1 000 rd 0011011"                 "rd,rs1,imm"   [I];
    Slliw  "slliw"  "0000000 uimm[4:0] rs1 001 rd 0011011"         "rd,rs1,shamt" [I];
    Srliw  "srliw"  "0000000 uimm[4:0] rs1 101 rd 0011011"         "rd,rs1,shamt" [I];
    Sraiw  "sraiw"  "0100000 uimm[4:0] rs1 101 rd 0011011"         "rd,rs1,shamt" [I];
    Addw   "addw"   "0000000 rs2 rs1 000 rd 0111011"               "rd,rs1,rs2"   [I];
    Subw   "subw"   "0100000 rs2 rs1 000 rd 0111011"               "rd,rs1,rs2"   [I];
    Sllw   "sllw"   "0000000 rs2 rs1 001 rd 0111011"               "rd,rs1,rs2"   [I];
    Srlw   "srlw"   "0000000 rs2 rs1 101 rd 0111011"               "rd,rs1,rs2"   [I];
    Sraw   "sraw"   "0100000 rs2 rs1 101 rd 0111011"               "rd,rs1,rs2"   [I];
    Pause    "pause"     "0000 0001 0000 00000 000 00000 0001111"  ""             [Zihintpause];
    FenceTso "fence.tso" "1000 0011 0011 ----- 000 ----- 0001111"  ""             [I];
    Fence  "fence"  "fm pred succ ----- 000 ----- 0001111"         "pred,succ"    [I];
    Ecall  "ecall"  "000000000000 00000 000 00000 1110011"         ""             [I];
    Ebreak "ebreak" "000000000001 00000 000 00000 1110011"         ""             [I];
    // Zifencei: implementations ignore the other fields
    FenceI "fence.i" "------------ ----- 001 ----- 0001111"        ""             [Zifencei];
    // M
    Mul    "mul"    "0000001 rs2 rs1 000 rd 0110011"               "rd,rs1,rs2"   [M];
    Mulh   "mulh"   "0000001 rs2 rs1 001 rd 0110011"               "rd,rs1,rs2"   [M];
    Mulhsu "mulhsu" "0000001 rs2 rs1 010 rd 0110011"               "rd,rs1,rs2"   [M];
    Mulhu  "mulhu"  "0000001 rs2 rs1 011 rd 0110011"               "rd,rs1,rs2"   [M];
    Div    "div"    "0000001 rs2 rs1 100 rd 0110011"               "rd,rs1,rs2"   [M];
    Divu   "divu"   "0000001 rs2 rs1 101 rd 0110011"               "rd,rs1,rs2"   [M];
    Rem    "rem"    "0000001 rs2 rs1 110 rd 0110011"               "rd,rs1,rs2"   [M];
    Remu   "remu"   "0000001 rs2 rs1 111 rd 0110011"               "rd,rs1,rs2"   [M];
    Mulw   "mulw"   "0000001 rs2 rs1 000 rd 0111011"               "rd,rs1,rs2"   [M];
    Divw   "divw"   "0000001 rs2 rs1 100 rd 0111011"               "rd,rs1,rs2"   [M];
    Divuw  "divuw"  "0000001 rs2 rs1 101 rd 0111011"               "rd,rs1,rs2"   [M];
    Remw   "remw"   "0000001 rs2 rs1 110 rd 0111011"               "rd,rs1,rs2"   [M];
    Remuw  "remuw"  "0000001 rs2 rs1 111 rd 0111011"               "rd,rs1,rs2"   [M];
    // A
    LrW      "lr.w"      "00010 aq rl 00000 rs1 010 rd 0101111"    "rd,(rs1)"     [A];
    ScW      "sc.w"      "00011 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoswapW "amoswap.w" "00001 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoaddW  "amoadd.w"  "00000 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoxorW  "amoxor.w"  "00100 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoandW  "amoand.w"  "01100 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoorW   "amoor.w"   "01000 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmominW  "amomin.w"  "10000 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmomaxW  "amomax.w"  "10100 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmominuW "amominu.w" "11000 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmomaxuW "amomaxu.w" "11100 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [A];
    LrD      "lr.d"      "00010 aq rl 00000 rs1 011 rd 0101111"    "rd,(rs1)"     [A];
    ScD      "sc.d"      "00011 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoswapD "amoswap.d" "00001 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoaddD  "amoadd.d"  "00000 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoxorD  "amoxor.d"  "00100 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoandD  "amoand.d"  "01100 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmoorD   "amoor.d"   "01000 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmominD  "amomin.d"  "10000 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmomaxD  "amomax.d"  "10100 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmominuD "amominu.d" "11000 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    AmomaxuD "amomaxu.d" "11100 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [A];
    // Zabha
    AmoswapB "amoswap.b"  "00001 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoaddB  "amoadd.b"   "00000 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoxorB  "amoxor.b"   "00100 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoandB  "amoand.b"   "01100 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoorB   "amoor.b"    "01000 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmominB  "amomin.b"   "10000 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmomaxB  "amomax.b"   "10100 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmominuB "amominu.b"  "11000 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmomaxuB "amomaxu.b"  "11100 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoswapH "amoswap.h"  "00001 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoaddH  "amoadd.h"   "00000 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoxorH  "amoxor.h"   "00100 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoandH  "amoand.h"   "01100 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmoorH   "amoor.h"    "01000 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmominH  "amomin.h"   "10000 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmomaxH  "amomax.h"   "10100 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmominuH "amominu.h"  "11000 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    AmomaxuH "amomaxu.h"  "11100 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha];
    // Zacas
    AmocasB  "amocas.b"   "00101 aq rl rs2 rs1 000 rd 0101111"      "rd,rs2,(rs1)" [Zabha Zacas];
    AmocasH  "amocas.h"   "00101 aq rl rs2 rs1 001 rd 0101111"      "rd,rs2,(rs1)" [Zabha Zacas];
    AmocasW  "amocas.w"   "00101 aq rl rs2 rs1 010 rd 0101111"      "rd,rs2,(rs1)" [Zacas];
    AmocasD  "amocas.d"   "00101 aq rl rs2 rs1 011 rd 0101111"      "rd,rs2,(rs1)" [Zacas];
    AmocasQ  "amocas.q"   "00101 aq rl rs2:2 rs1 100 rd:2 0101111"  "rd,rs2,(rs1)" [Zacas];
    // Zawrs
    WrsNto "wrs.nto" "000000001101 00000 000 00000 1110011"        ""             [Zawrs];
    WrsSto "wrs.sto" "000000011101 00000 000 00000 1110011"        ""             [Zawrs];
    // Zicsr
    Csrrw  "csrrw"  "csr rs1 001 rd 1110011"                       "rd,csr,rs1"   [Zicsr];
    Csrrs  "csrrs"  "csr rs1 010 rd 1110011"                       "rd,csr,rs1"   [Zicsr];
    Csrrc  "csrrc"  "csr rs1 011 rd 1110011"                       "rd,csr,rs1"   [Zicsr];
    Csrrwi "csrrwi" "csr zimm 101 rd 1110011"                      "rd,csr,zimm"  [Zicsr];
    Csrrsi "csrrsi" "csr zimm 110 rd 1110011"                      "rd,csr,zimm"  [Zicsr];
    Csrrci "csrrci" "csr zimm 111 rd 1110011"                      "rd,csr,zimm"  [Zicsr];
    // Zimop: the number follows the name
    MopR   "mop.r.n"  "1 uimm[4] 00 uimm[3:2] 0111 uimm[1:0] rs1 100 rd 1110011" "rd,rs1" [Zimop];
    MopRr  "mop.rr.n" "1 uimm[2] 00 uimm[1:0] 1 rs2 rs1 100 rd 1110011" "rd,rs1,rs2" [Zimop];
    // Privileged
    Sret   "sret"   "0001000 00010 00000 000 00000 1110011"        ""             [I];
    Mret   "mret"   "0011000 00010 00000 000 00000 1110011"        ""             [I];
    Wfi    "wfi"    "0001000 00101 00000 000 00000 1110011"        ""             [I];
    SfenceVma    "sfence.vma"      "0001001 rs2 rs1 000 00000 1110011"     "rs1,rs2" [I];
    SinvalVma    "sinval.vma"      "0001011 rs2 rs1 000 00000 1110011"     "rs1,rs2" [Svinval];
    SfenceWInval "sfence.w.inval"  "0001100 00000 00000 000 00000 1110011" ""        [Svinval];
    SfenceInvalIr "sfence.inval.ir" "0001100 00001 00000 000 00000 1110011" ""       [Svinval];
    // Zicbom, Zicboz
    CboInval "cbo.inval" "000000000000 rs1 010 00000 0001111"      "(rs1)"        [Zicbom];
    CboClean "cbo.clean" "000000000001 rs1 010 00000 0001111"      "(rs1)"        [Zicbom];
    CboFlush "cbo.flush" "000000000010 rs1 010 00000 0001111"      "(rs1)"        [Zicbom];
    CboZero  "cbo.zero"  "000000000100 rs1 010 00000 0001111"      "(rs1)"        [Zicboz];
    // Zicond
    CzeroEqz "czero.eqz" "0000111 rs2 rs1 101 rd 0110011"          "rd,rs1,rs2"   [Zicond];
    CzeroNez "czero.nez" "0000111 rs2 rs1 111 rd 0110011"          "rd,rs1,rs2"   [Zicond];
    // Zba
    AddUw    "add.uw"    "0000100 rs2 rs1 000 rd 0111011"          "rd,rs1,rs2"   [Zba];
    Sh1add   "sh1add"    "0010000 rs2 rs1 010 rd 0110011"          "rd,rs1,rs2"   [Zba];
    Sh2add   "sh2add"    "0010000 rs2 rs1 100 rd 0110011"          "rd,rs1,rs2"   [Zba];
    Sh3add   "sh3add"    "0010000 rs2 rs1 110 rd 0110011"          "rd,rs1,rs2"   [Zba];
    Sh1addUw "sh1add.uw" "0010000 rs2 rs1 010 rd 0111011"          "rd,rs1,rs2"   [Zba];
    Sh2addUw "sh2add.uw" "0010000 rs2 rs1 100 rd 0111011"          "rd,rs1,rs2"   [Zba];
    Sh3addUw "sh3add.uw" "0010000 rs2 rs1 110 rd 0111011"          "rd,rs1,rs2"   [Zba];
    SlliUw   "slli.uw"   "000010 uimm[5:0] rs1 001 rd 0011011"     "rd,rs1,shamt" [Zba];
    // Zbb
    Andn   "andn"   "0100000 rs2 rs1 111 rd 0110011"               "rd,rs1,rs2"   [Zbb | Zbkb];
    Orn    "orn"    "0100000 rs2 rs1 110 rd 0110011"               "rd,rs1,rs2"   [Zbb | Zbkb];
    Xnor   "xnor"   "0100000 rs2 rs1 100 rd 0110011"               "rd,rs1,rs2"   [Zbb | Zbkb];
    Clz    "clz"    "0110000 00000 rs1 001 rd 0010011"             "rd,rs1"       [Zbb];
    Ctz    "ctz"    "0110000 00001 rs1 001 rd 0010011"             "rd,rs1"       [Zbb];
    Cpop   "cpop"   "0110000 00010 rs1 001 rd 0010011"             "rd,rs1"       [Zbb];
    Clzw   "clzw"   "0110000 00000 rs1 001 rd 0011011"             "rd,rs1"       [Zbb];
    Ctzw   "ctzw"   "0110000 00001 rs1 001 rd 0011011"             "rd,rs1"       [Zbb];
    Cpopw  "cpopw"  "0110000 00010 rs1 001 rd 0011011"             "rd,rs1"       [Zbb];
    Max    "max"    "0000101 rs2 rs1 110 rd 0110011"               "rd,rs1,rs2"   [Zbb];
    Maxu   "maxu"   "0000101 rs2 rs1 111 rd 0110011"               "rd,rs1,rs2"   [Zbb];
    Min    "min"    "0000101 rs2 rs1 100 rd 0110011"               "rd,rs1,rs2"   [Zbb];
    Minu   "minu"   "0000101 rs2 rs1 101 rd 0110011"               "rd,rs1,rs2"   [Zbb];
    SextB  "sext.b" "0110000 00100 rs1 001 rd 0010011"             "rd,rs1"       [Zbb];
    SextH  "sext.h" "0110000 00101 rs1 001 rd 0010011"             "rd,rs1"       [Zbb];
    ZextH  "zext.h" "0000100 00000 rs1 100 rd 0111011"             "rd,rs1"       [Zbb];
    Rol    "rol"    "0110000 rs2 rs1 001 rd 0110011"               "rd,rs1,rs2"   [Zbb | Zbkb];
    Ror    "ror"    "0110000 rs2 rs1 101 rd 0110011"               "rd,rs1,rs2"   [Zbb | Zbkb];
    Rori   "rori"   "011000 uimm[5:0] rs1 101 rd 0010011"          "rd,rs1,shamt" [Zbb | Zbkb];
    Rolw   "rolw"   "0110000 rs2 rs1 001 rd 0111011"               "rd,rs1,rs2"   [Zbb | Zbkb];
    Rorw   "rorw"   "0110000 rs2 rs1 101 rd 0111011"               "rd,rs1,rs2"   [Zbb | Zbkb];
    Roriw  "roriw"  "0110000 uimm[4:0] rs1 101 rd 0011011"         "rd,rs1,shamt" [Zbb | Zbkb];
    OrcB   "orc.b"  "001010000111 rs1 101 rd 0010011"              "rd,rs1"       [Zbb];
    Rev8   "rev8"   "011010111000 rs1 101 rd 0010011"              "rd,rs1"       [Zbb | Zbkb];
    // Zbc
    Clmul  "clmul"  "0000101 rs2 rs1 001 rd 0110011"               "rd,rs1,rs2"   [Zbc | Zbkc];
    Clmulr "clmulr" "0000101 rs2 rs1 010 rd 0110011"               "rd,rs1,rs2"   [Zbc];
    Clmulh "clmulh" "0000101 rs2 rs1 011 rd 0110011"               "rd,rs1,rs2"   [Zbc | Zbkc];
    // Zbkb; of packw, the special case with x0 is Zbb's zext.h, which stands above
    Pack   "pack"   "0000100 rs2 rs1 100 rd 0110011"               "rd,rs1,rs2"   [Zbkb];
    Packh  "packh"  "0000100 rs2 rs1 111 rd 0110011"               "rd,rs1,rs2"   [Zbkb];
    Packw  "packw"  "0000100 rs2 rs1 100 rd 0111011"               "rd,rs1,rs2"   [Zbkb];
    Brev8  "brev8"  "011010000111 rs1 101 rd 0010011"              "rd,rs1"       [Zbkb];
    // Zbkx
    Xperm4 "xperm4" "0010100 rs2 rs1 010 rd 0110011"               "rd,rs1,rs2"   [Zbkx];
    Xperm8 "xperm8" "0010100 rs2 rs1 100 rd 0110011"               "rd,rs1,rs2"   [Zbkx];
    // Zbs
    Bclr   "bclr"   "0100100 rs2 rs1 001 rd 0110011"               "rd,rs1,rs2"   [Zbs];
    Bext   "bext"   "0100100 rs2 rs1 101 rd 0110011"               "rd,rs1,rs2"   [Zbs];
    Binv   "binv"   "0110100 rs2 rs1 001 rd 0110011"               "rd,rs1,rs2"   [Zbs];
    Bset   "bset"   "0010100 rs2 rs1 001 rd 0110011"               "rd,rs1,rs2"   [Zbs];
    Bclri  "bclri"  "010010 uimm[5:0] rs1 001 rd 0010011"          "rd,rs1,shamt" [Zbs];
    Bexti  "bexti"  "010010 uimm[5:0] rs1 101 rd 0010011"          "rd,rs1,shamt" [Zbs];
    Binvi  "binvi"  "011010 uimm[5:0] rs1 001 rd 0010011"          "rd,rs1,shamt" [Zbs];
    Bseti  "bseti"  "001010 uimm[5:0] rs1 001 rd 0010011"          "rd,rs1,shamt" [Zbs];
    // F
    Flw    "flw"    "imm[11:0] rs1 010 rd 0000111"                 "fd,imm(rs1)"  [F];
    Fsw    "fsw"    "imm[11:5] rs2 rs1 010 imm[4:0] 0100111"       "fs2,imm(rs1)" [F];
    FmaddS  "fmadd.s"  "rs3 00 rs2 rs1 rm rd 1000011"              "fd,fs1,fs2,fs3,rm" [F];
    FmsubS  "fmsub.s"  "rs3 00 rs2 rs1 rm rd 1000111"              "fd,fs1,fs2,fs3,rm" [F];
    FnmsubS "fnmsub.s" "rs3 00 rs2 rs1 rm rd 1001011"              "fd,fs1,fs2,fs3,rm" [F];
    FnmaddS "fnmadd.s" "rs3 00 rs2 rs1 rm rd 1001111"              "fd,fs1,fs2,fs3,rm" [F];
    FaddS   "fadd.s"   "0000000 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [F];
    FsubS   "fsub.s"   "0000100 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [F];
    FmulS   "fmul.s"   "0001000 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [F];
    FdivS   "fdiv.s"   "0001100 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [F];
    FsqrtS  "fsqrt.s"  "0101100 00000 rs1 rm rd 1010011"           "fd,fs1,rm"    [F];
    FsgnjS  "fsgnj.s"  "0010000 rs2 rs1 000 rd 1010011"            "fd,fs1,fs2"   [F];
    FsgnjnS "fsgnjn.s" "0010000 rs2 rs1 001 rd 1010011"            "fd,fs1,fs2"   [F];
    FsgnjxS "fsgnjx.s" "0010000 rs2 rs1 010 rd 1010011"            "fd,fs1,fs2"   [F];
    FminS   "fmin.s"   "0010100 rs2 rs1 000 rd 1010011"            "fd,fs1,fs2"   [F];
    FmaxS   "fmax.s"   "0010100 rs2 rs1 001 rd 1010011"            "fd,fs1,fs2"   [F];
    FcvtWS  "fcvt.w.s"  "1100000 00000 rs1 rm rd 1010011"          "rd,fs1,rm"    [F];
    FcvtWuS "fcvt.wu.s" "1100000 00001 rs1 rm rd 1010011"          "rd,fs1,rm"    [F];
    FcvtLS  "fcvt.l.s"  "1100000 00010 rs1 rm rd 1010011"          "rd,fs1,rm"    [F];
    FcvtLuS "fcvt.lu.s" "1100000 00011 rs1 rm rd 1010011"          "rd,fs1,rm"    [F];
    FcvtSW  "fcvt.s.w"  "1101000 00000 rs1 rm rd 1010011"          "fd,rs1,rm"    [F];
    FcvtSWu "fcvt.s.wu" "1101000 00001 rs1 rm rd 1010011"          "fd,rs1,rm"    [F];
    FcvtSL  "fcvt.s.l"  "1101000 00010 rs1 rm rd 1010011"          "fd,rs1,rm"    [F];
    FcvtSLu "fcvt.s.lu" "1101000 00011 rs1 rm rd 1010011"          "fd,rs1,rm"    [F];
    FmvXW   "fmv.x.w"  "1110000 00000 rs1 000 rd 1010011"          "rd,fs1"       [F];
    FclassS "fclass.s" "1110000 00000 rs1 001 rd 1010011"          "rd,fs1"       [F];
    FmvWX   "fmv.w.x"  "1111000 00000 rs1 000 rd 1010011"          "fd,rs1"       [F];
    FeqS    "feq.s"    "1010000 rs2 rs1 010 rd 1010011"            "rd,fs1,fs2"   [F];
    FltS    "flt.s"    "1010000 rs2 rs1 001 rd 1010011"            "rd,fs1,fs2"   [F];
    FleS    "fle.s"    "1010000 rs2 rs1 000 rd 1010011"            "rd,fs1,fs2"   [F];
    // D
    Fld    "fld"    "imm[11:0] rs1 011 rd 0000111"                 "fd,imm(rs1)"  [D];
    Fsd    "fsd"    "imm[11:5] rs2 rs1 011 imm[4:0] 0100111"       "fs2,imm(rs1)" [D];
    FmaddD  "fmadd.d"  "rs3 01 rs2 rs1 rm rd 1000011"              "fd,fs1,fs2,fs3,rm" [D];
    FmsubD  "fmsub.d"  "rs3 01 rs2 rs1 rm rd 1000111"              "fd,fs1,fs2,fs3,rm" [D];
    FnmsubD "fnmsub.d" "rs3 01 rs2 rs1 rm rd 1001011"              "fd,fs1,fs2,fs3,rm" [D];
    FnmaddD "fnmadd.d" "rs3 01 rs2 rs1 rm rd 1001111"              "fd,fs1,fs2,fs3,rm" [D];
    FaddD   "fadd.d"   "0000001 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [D];
    FsubD   "fsub.d"   "0000101 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [D];
    FmulD   "fmul.d"   "0001001 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [D];
    FdivD   "fdiv.d"   "0001101 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [D];
    FsqrtD  "fsqrt.d"  "0101101 00000 rs1 rm rd 1010011"           "fd,fs1,rm"    [D];
    FsgnjD  "fsgnj.d"  "0010001 rs2 rs1 000 rd 1010011"            "fd,fs1,fs2"   [D];
    FsgnjnD "fsgnjn.d" "0010001 rs2 rs1 001 rd 1010011"            "fd,fs1,fs2"   [D];
    FsgnjxD "fsgnjx.d" "0010001 rs2 rs1 010 rd 1010011"            "fd,fs1,fs2"   [D];
    FminD   "fmin.d"   "0010101 rs2 rs1 000 rd 1010011"            "fd,fs1,fs2"   [D];
    FmaxD   "fmax.d"   "0010101 rs2 rs1 001 rd 1010011"            "fd,fs1,fs2"   [D];
    FcvtSD  "fcvt.s.d"  "0100000 00001 rs1 rm rd 1010011"          "fd,fs1,rm"    [D];
    FcvtDS  "fcvt.d.s"  "0100001 00000 rs1 rm rd 1010011"          "fd,fs1,exact" [D];
    FcvtWD  "fcvt.w.d"  "1100001 00000 rs1 rm rd 1010011"          "rd,fs1,rm"    [D];
    FcvtWuD "fcvt.wu.d" "1100001 00001 rs1 rm rd 1010011"          "rd,fs1,rm"    [D];
    FcvtLD  "fcvt.l.d"  "1100001 00010 rs1 rm rd 1010011"          "rd,fs1,rm"    [D];
    FcvtLuD "fcvt.lu.d" "1100001 00011 rs1 rm rd 1010011"          "rd,fs1,rm"    [D];
    FcvtDW  "fcvt.d.w"  "1101001 00000 rs1 rm rd 1010011"          "fd,rs1,exact" [D];
    FcvtDWu "fcvt.d.wu" "1101001 00001 rs1 rm rd 1010011"          "fd,rs1,exact" [D];
    FcvtDL  "fcvt.d.l"  "1101001 00010 rs1 rm rd 1010011"          "fd,rs1,rm"    [D];
    FcvtDLu "fcvt.d.lu" "1101001 00011 rs1 rm rd 1010011"          "fd,rs1,rm"    [D];
    FmvXD   "fmv.x.d"  "1110001 00000 rs1 000 rd 1010011"          "rd,fs1"       [D];
    FclassD "fclass.d" "1110001 00000 rs1 001 rd 1010011"          "rd,fs1"       [D];
    FmvDX   "fmv.d.x"  "1111001 00000 rs1 000 rd 1010011"          "fd,rs1"       [D];
    FeqD    "feq.d"    "1010001 rs2 rs1 010 rd 1010011"            "rd,fs1,fs2"   [D];
    FltD    "flt.d"    "1010001 rs2 rs1 001 rd 1010011"            "rd,fs1,fs2"   [D];
    FleD    "fle.d"    "1010001 rs2 rs1 000 rd 1010011"            "rd,fs1,fs2"   [D];
    // Zfhmin
    Flh    "flh"    "imm[11:0] rs1 001 rd 0000111"                 "fd,imm(rs1)"  [Zfhmin];
    Fsh    "fsh"    "imm[11:5] rs2 rs1 001 imm[4:0] 0100111"       "fs2,imm(rs1)" [Zfhmin];
    FmvXH  "fmv.x.h"  "1110010 00000 rs1 000 rd 1010011"           "rd,fs1"       [Zfhmin];
    FmvHX  "fmv.h.x"  "1111010 00000 rs1 000 rd 1010011"           "fd,rs1"       [Zfhmin];
    FcvtSH "fcvt.s.h" "0100000 00010 rs1 rm rd 1010011"            "fd,fs1,exact" [Zfhmin];
    FcvtHS "fcvt.h.s" "0100010 00000 rs1 rm rd 1010011"            "fd,fs1,rm"    [Zfhmin];
    FcvtDH "fcvt.d.h" "0100001 00010 rs1 rm rd 1010011"            "fd,fs1,exact" [Zfhmin D];
    FcvtHD "fcvt.h.d" "0100010 00001 rs1 rm rd 1010011"            "fd,fs1,rm"    [Zfhmin D];
    // Zfh
    FmaddH  "fmadd.h"  "rs3 10 rs2 rs1 rm rd 1000011"              "fd,fs1,fs2,fs3,rm" [Zfh];
    FmsubH  "fmsub.h"  "rs3 10 rs2 rs1 rm rd 1000111"              "fd,fs1,fs2,fs3,rm" [Zfh];
    FnmsubH "fnmsub.h" "rs3 10 rs2 rs1 rm rd 1001011"              "fd,fs1,fs2,fs3,rm" [Zfh];
    FnmaddH "fnmadd.h" "rs3 10 rs2 rs1 rm rd 1001111"              "fd,fs1,fs2,fs3,rm" [Zfh];
    FaddH   "fadd.h"   "0000010 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [Zfh];
    FsubH   "fsub.h"   "0000110 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [Zfh];
    FmulH   "fmul.h"   "0001010 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [Zfh];
    FdivH   "fdiv.h"   "0001110 rs2 rs1 rm rd 1010011"             "fd,fs1,fs2,rm" [Zfh];
    FsqrtH  "fsqrt.h"  "0101110 00000 rs1 rm rd 1010011"           "fd,fs1,rm"    [Zfh];
    FsgnjH  "fsgnj.h"  "0010010 rs2 rs1 000 rd 1010011"            "fd,fs1,fs2"   [Zfh];
    FsgnjnH "fsgnjn.h" "0010010 rs2 rs1 001 rd 1010011"            "fd,fs1,fs2"   [Zfh];
    FsgnjxH "fsgnjx.h" "0010010 rs2 rs1 010 rd 1010011"            "fd,fs1,fs2"   [Zfh];
    FminH   "fmin.h"   "0010110 rs2 rs1 000 rd 1010011"            "fd,fs1,fs2"   [Zfh];
    FmaxH   "fmax.h"   "0010110 rs2 rs1 001 rd 1010011"            "fd,fs1,fs2"   [Zfh];
    FcvtWH  "fcvt.w.h"  "1100010 00000 rs1 rm rd 1010011"          "rd,fs1,rm"    [Zfh];
    FcvtWuH "fcvt.wu.h" "1100010 00001 rs1 rm rd 1010011"          "rd,fs1,rm"    [Zfh];
    FcvtLH  "fcvt.l.h"  "1100010 00010 rs1 rm rd 1010011"          "rd,fs1,rm"    [Zfh];
    FcvtLuH "fcvt.lu.h" "1100010 00011 rs1 rm rd 1010011"          "rd,fs1,rm"    [Zfh];
    FcvtHW  "fcvt.h.w"  "1101010 00000 rs1 rm rd 1010011"          "fd,rs1,rm"    [Zfh];
    FcvtHWu "fcvt.h.wu" "1101010 00001 rs1 rm rd 1010011"          "fd,rs1,rm"    [Zfh];
    FcvtHL  "fcvt.h.l"  "1101010 00010 rs1 rm rd 1010011"          "fd,rs1,rm"    [Zfh];
    FcvtHLu "fcvt.h.lu" "1101010 00011 rs1 rm rd 1010011"          "fd,rs1,rm"    [Zfh];
    FclassH "fclass.h" "1110010 00000 rs1 001 rd 1010011"          "rd,fs1"       [Zfh];
    FeqH    "feq.h"    "1010010 rs2 rs1 010 rd 1010011"            "rd,fs1,fs2"   [Zfh];
    FltH    "flt.h"    "1010010 rs2 rs1 001 rd 1010011"            "rd,fs1,fs2"   [Zfh];
    FleH    "fle.h"    "1010010 rs2 rs1 000 rd 1010011"            "rd,fs1,fs2"   [Zfh];
    // Zfa; the register field of fli selects the constant
    FliS     "fli.s"     "1111000 00001 zimm 000 rd 1010011"       "fd,fli"       [Zfa];
    FminmS   "fminm.s"   "0010100 rs2 rs1 010 rd 1010011"          "fd,fs1,fs2"   [Zfa];
    FmaxmS   "fmaxm.s"   "0010100 rs2 rs1 011 rd 1010011"          "fd,fs1,fs2"   [Zfa];
    FroundS  "fround.s"  "0100000 00100 rs1 rm rd 1010011"         "fd,fs1,rm"    [Zfa];
    FroundnxS "froundnx.s" "0100000 00101 rs1 rm rd 1010011"       "fd,fs1,rm"    [Zfa];
    FleqS    "fleq.s"    "1010000 rs2 rs1 100 rd 1010011"          "rd,fs1,fs2"   [Zfa];
    FltqS    "fltq.s"    "1010000 rs2 rs1 101 rd 1010011"          "rd,fs1,fs2"   [Zfa];
    FliD     "fli.d"     "1111001 00001 zimm 000 rd 1010011"       "fd,fli"       [Zfa D];
    FminmD   "fminm.d"   "0010101 rs2 rs1 010 rd 1010011"          "fd,fs1,fs2"   [Zfa D];
    FmaxmD   "fmaxm.d"   "0010101 rs2 rs1 011 rd 1010011"          "fd,fs1,fs2"   [Zfa D];
    FroundD  "fround.d"  "0100001 00100 rs1 rm rd 1010011"         "fd,fs1,rm"    [Zfa D];
    FroundnxD "froundnx.d" "0100001 00101 rs1 rm rd 1010011"       "fd,fs1,rm"    [Zfa D];
    FleqD    "fleq.d"    "1010001 rs2 rs1 100 rd 1010011"          "rd,fs1,fs2"   [Zfa D];
    FltqD    "fltq.d"    "1010001 rs2 rs1 101 rd 1010011"          "rd,fs1,fs2"   [Zfa D];
    FliH     "fli.h"     "1111010 00001 zimm 000 rd 1010011"       "fd,fli"       [Zfa Zfh];
    FminmH   "fminm.h"   "0010110 rs2 rs1 010 rd 1010011"          "fd,fs1,fs2"   [Zfa Zfh];
    FmaxmH   "fmaxm.h"   "0010110 rs2 rs1 011 rd 1010011"          "fd,fs1,fs2"   [Zfa Zfh];
    FroundH  "fround.h"  "0100010 00100 rs1 rm rd 1010011"         "fd,fs1,rm"    [Zfa Zfh];
    FroundnxH "froundnx.h" "0100010 00101 rs1 rm rd 1010011"       "fd,fs1,rm"    [Zfa Zfh];
    FleqH    "fleq.h"    "1010010 rs2 rs1 100 rd 1010011"          "rd,fs1,fs2"   [Zfa Zfh];
    FltqH    "fltq.h"    "1010010 rs2 rs1 101 rd 1010011"          "rd,fs1,fs2"   [Zfa Zfh];
    FcvtmodWD "fcvtmod.w.d" "1100001 01000 rs1 001 rd 1010011"     "rd,fs1,rtz"   [Zfa D];
}
