//! The code at the reset address.
//!
//! Every hart starts here in M-mode. It loads the registers that firmware expects (a0 = hart id, a1 = device
//! tree, a2 = `fw_dynamic` information) and jumps. The code is position independent.

use vm_core::GuestPhysAddr;

use super::dynamic_info::{DYNAMIC_INFO_BYTES, DynamicInfo};

const ZERO: u32 = 0;
const T0: u32 = 5;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
const CSR_MHARTID: u32 = 0xf14;

/// The I-type format (RISC-V Unprivileged, 2.2) with a non-negative immediate.
const fn i_type(opcode: u32, funct3: u32, rd: u32, rs1: u32, immediate: u32) -> u32 {
    immediate << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

const fn auipc(rd: u32) -> u32 {
    rd << 7 | 0x17
}
const fn addi(rd: u32, rs1: u32, immediate: usize) -> u32 {
    i_type(0x13, 0, rd, rs1, immediate as u32)
}
const fn ld(rd: u32, rs1: u32, offset: usize) -> u32 {
    i_type(0x03, 3, rd, rs1, offset as u32)
}
const fn csrr(rd: u32, csr: u32) -> u32 {
    i_type(0x73, 2, rd, ZERO, csr)
}
const fn jr(rs1: u32) -> u32 {
    i_type(0x67, 0, ZERO, rs1, 0)
}

const CODE: [u32; 6] = [
    auipc(T0),
    addi(A2, T0, INFO),
    csrr(A0, CSR_MHARTID),
    ld(A1, T0, DEVICE_TREE),
    ld(T0, T0, ENTRY),
    jr(T0),
];

/// Offset of the address that is jumped to.
const ENTRY: usize = 4 * 6;
/// Offset of the device tree's address.
const DEVICE_TREE: usize = ENTRY + 8;
/// Offset of the `fw_dynamic` information.
const INFO: usize = DEVICE_TREE + 8;

/// Length of the reset vector, data included.
pub const RESET_VECTOR_BYTES: usize = INFO + DYNAMIC_INFO_BYTES;

/// Code and data for the reset address: enters `entry` with the address of `device_tree` and of `info`.
pub fn reset_vector(
    entry: GuestPhysAddr,
    device_tree: GuestPhysAddr,
    info: DynamicInfo,
) -> [u8; RESET_VECTOR_BYTES] {
    let mut bytes = [0; RESET_VECTOR_BYTES];
    for (place, instruction) in bytes.chunks_exact_mut(4).zip(CODE) {
        place.copy_from_slice(&instruction.to_le_bytes());
    }
    bytes[ENTRY..DEVICE_TREE].copy_from_slice(&entry.raw().to_le_bytes());
    bytes[DEVICE_TREE..INFO].copy_from_slice(&device_tree.raw().to_le_bytes());
    bytes[INFO..].copy_from_slice(&info.to_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::riscv::NextMode;

    #[test]
    fn reset_vector_code_disassembles_as_meant() {
        // Encodings as the GNU assembler gives them for the same six lines.
        assert_eq!(
            CODE,
            [
                0x0000_0297, // auipc t0, 0
                0x0282_8613, // addi a2, t0, 40
                0xf140_2573, // csrr a0, mhartid
                0x0202_b583, // ld a1, 32(t0)
                0x0182_b283, // ld t0, 24(t0)
                0x0002_8067, // jr t0
            ]
        );
    }

    #[test]
    fn reset_vector_data_stands_where_the_code_looks() {
        let info = DynamicInfo {
            next_addr: GuestPhysAddr(0x8020_0000),
            next_mode: NextMode::Supervisor,
            boot_hart: 0,
        };
        let bytes = reset_vector(GuestPhysAddr(0x8000_0000), GuestPhysAddr(0xbfe0_0000), info);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(word(24), 0x8000_0000);
        assert_eq!(word(32), 0xbfe0_0000);
        assert_eq!(bytes[40..], info.to_bytes());
    }
}
