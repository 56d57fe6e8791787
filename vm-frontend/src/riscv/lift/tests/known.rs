//! Comparisons that the lifter turns into others.

use super::machine::Machine;
use super::*;

const ECALL: u32 = 0x0000_0073;
/// Zero at the start, which the lifter does not know.
const A0: u32 = 10;

fn addi(rd: u32, rs1: u32, imm: u32) -> u32 {
    imm << 20 | rs1 << 15 | rd << 7 | 0x13
}

fn sltiu(rd: u32, rs1: u32, imm: u32) -> u32 {
    imm << 20 | rs1 << 15 | 3 << 12 | rd << 7 | 0x13
}

fn sltu(rd: u32, rs1: u32, rs2: u32) -> u32 {
    rs2 << 20 | rs1 << 15 | 3 << 12 | rd << 7 | 0x33
}

#[test]
fn comparisons_with_zero_and_one_are_right_for_known_and_unknown_values() {
    for value in [0, 1, 2] {
        for (number, source) in [("unknown", A0), ("known", 0)] {
            let code = [
                addi(11, source, value),
                sltiu(12, 11, 1), // seqz
                sltu(13, 0, 11),  // snez
                sltiu(14, 11, 2),
                ECALL,
            ];
            let image: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
            for optimized in [false, true] {
                let mut machine = Machine::new(BASE, &image, BASE, optimized);
                machine.run();
                let results = [12, 13, 14].map(|register| machine.x(register));
                let expected = [value == 0, value != 0, value < 2].map(u64::from);
                assert_eq!(results, expected, "{number} {value}");
            }
        }
    }
}
