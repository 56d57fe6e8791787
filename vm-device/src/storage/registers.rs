//! Registers of controllers, which are words: what accesses of other widths make of them.

use vm_core::AccessWidth;

/// Registers of 32 bits at multiples of four.
pub(super) trait WordRegisters {
    /// Reads the register at `offset`, a multiple of four.
    fn read(&self, offset: u64) -> u32;
    /// Writes the register at `offset`, a multiple of four.
    fn write(&self, offset: u64, value: u32);

    /// A read of any width: part of a register, or two of them.
    fn read_any(&self, offset: u64, width: AccessWidth) -> u64 {
        let low = u64::from(self.read(offset & !3));
        let value = match width {
            AccessWidth::Double => low | u64::from(self.read((offset & !3) + 4)) << 32,
            _ => low >> (8 * (offset & 3)),
        };
        value & width.mask()
    }

    /// A write of any width: of whole registers, one or two (AHCI 1.3.1, 3; NVM Express Base 1.4, 3.1). Others are
    /// ignored.
    fn write_any(&self, offset: u64, width: AccessWidth, value: u64) {
        if !offset.is_multiple_of(4) || width < AccessWidth::Word {
            return;
        }
        self.write(offset, value as u32);
        if width == AccessWidth::Double {
            self.write(offset + 4, (value >> 32) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use AccessWidth::{Byte, Double, Half, Word};

    use super::*;

    /// Registers that hold their offset and note what is written.
    #[derive(Default)]
    struct Offsets(RefCell<Vec<(u64, u32)>>);

    impl WordRegisters for Offsets {
        fn read(&self, offset: u64) -> u32 {
            0x0102_0300 | offset as u32
        }
        fn write(&self, offset: u64, value: u32) {
            self.0.borrow_mut().push((offset, value));
        }
    }

    #[test]
    fn read_of_any_width_is_of_the_registers_there() {
        let registers = Offsets::default();
        assert_eq!(registers.read_any(8, Word), 0x0102_0308);
        assert_eq!(registers.read_any(8, Double), 0x0102_030c_0102_0308);
        assert_eq!(registers.read_any(9, Byte), 3);
        assert_eq!(registers.read_any(10, Half), 0x0102);
    }

    #[test]
    fn write_of_less_than_a_register_is_ignored() {
        let registers = Offsets::default();
        for (offset, width) in [(4, Byte), (4, Half), (6, Word), (2, Double)] {
            registers.write_any(offset, width, 1);
        }
        registers.write_any(4, Word, 2);
        registers.write_any(8, Double, 3 << 32 | 4);
        assert_eq!(*registers.0.borrow(), [(4, 2), (8, 4), (12, 3)]);
    }
}
