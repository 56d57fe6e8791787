//! Encodings that tests write by hand (RISC-V Unpriv 20240411, 2.3).

/// Register-immediate formats: opcode and funct3 in `base`.
pub(crate) fn i_type(base: u32, rd: u32, rs1: u32, imm: i64) -> u32 {
    base | rd << 7 | rs1 << 15 | (imm as u32 & 0xfff) << 20
}

/// Stores.
pub(crate) fn s_type(base: u32, rs1: u32, rs2: u32, imm: i64) -> u32 {
    let imm = imm as u32;
    base | rs1 << 15 | rs2 << 20 | (imm & 31) << 7 | (imm >> 5 & 127) << 25
}

/// Register-register formats: opcode, funct3 and funct7 in `base`.
pub(crate) fn r_type(base: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    base | rd << 7 | rs1 << 15 | rs2 << 20
}

/// Branch `funct3` over `bytes`.
pub(crate) fn branch(funct3: u32, rs1: u32, rs2: u32, bytes: i64) -> u32 {
    let imm = bytes as u32;
    let low = (imm >> 11 & 1) << 7 | (imm >> 1 & 15) << 8;
    let high = (imm >> 5 & 63) << 25 | (imm >> 12 & 1) << 31;
    0x63 | funct3 << 12 | rs1 << 15 | rs2 << 20 | low | high
}

pub(crate) const BEQ: u32 = 0;
pub(crate) const BNE: u32 = 1;

/// `jal rd, bytes`.
pub(crate) fn jal(rd: u32, bytes: i64) -> u32 {
    let imm = bytes as u32;
    let low = (imm >> 12 & 255) << 12 | (imm >> 11 & 1) << 20;
    0x6f | rd << 7 | low | (imm >> 1 & 1023) << 21 | (imm >> 20 & 1) << 31
}

/// `jalr rd, imm(rs1)`.
pub(crate) fn jalr(rd: u32, rs1: u32, imm: i64) -> u32 {
    i_type(0x67, rd, rs1, imm)
}

/// `addi rd, rs1, imm`.
pub(crate) fn addi(rd: u32, rs1: u32, imm: i64) -> u32 {
    i_type(0x13, rd, rs1, imm)
}

/// `lui` and `addi` that put a number below 2^31 into a register.
pub(crate) fn load_address(rd: u32, value: u64) -> [u32; 2] {
    let upper = (value as u32).wrapping_add(0x800) & 0xffff_f000;
    [0x37 | rd << 7 | upper, addi(rd, rd, value as i64)]
}

pub(crate) fn ld(rd: u32, rs1: u32, imm: i64) -> u32 {
    i_type(0x3003, rd, rs1, imm)
}

pub(crate) fn sd(rs2: u32, rs1: u32, imm: i64) -> u32 {
    s_type(0x3023, rs1, rs2, imm)
}

pub(crate) fn sw(rs2: u32, rs1: u32, imm: i64) -> u32 {
    s_type(0x2023, rs1, rs2, imm)
}

pub(crate) fn sh(rs2: u32, rs1: u32, imm: i64) -> u32 {
    s_type(0x1023, rs1, rs2, imm)
}

pub(crate) fn lw(rd: u32, rs1: u32, imm: i64) -> u32 {
    i_type(0x2003, rd, rs1, imm)
}

pub(crate) const ECALL: u32 = 0x73;
pub(crate) const FENCE_I: u32 = 0x100f;
pub(crate) const FENCE_RW_RW: u32 = 0x0330_000f;
pub(crate) const SFENCE_VMA: u32 = 0x1200_0073;
/// `ret`.
pub(crate) const RET: u32 = 0x8067;

/// Code as bytes; words whose low bits are not 11 are 16-bit instructions.
pub(crate) fn bytes(words: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(&word.to_le_bytes()[..len(*word) as usize]);
    }
    bytes
}

/// Bytes of an instruction.
pub(crate) fn len(word: u32) -> i64 {
    if word & 3 == 3 { 4 } else { 2 }
}

/// Bytes of several.
pub(crate) fn span(words: &[u32]) -> i64 {
    words.iter().map(|&word| len(word)).sum()
}
