//! The test device of kvm-unit-tests (QEMU's `pc-testdev`, `hw/misc/pc-testdev.c`): a register that keeps what is written, a
//! port for each interrupt of the ISA bus, and memory that is a device's.

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::{AccessWidth, IrqLine};

use crate::BusDevice;

/// First port of the registers: one of four bytes, one by which a page is flushed, and the first again, byte by byte.
pub const PORT: u64 = 0xe0;
/// Ports of the registers.
pub const RANGE_BYTES: u64 = 12;
/// First of the ports for interrupts, one each.
pub const LINES_PORT: u64 = 0x2000;
/// How many.
pub const LINES_RANGE_BYTES: u64 = 24;
/// Where the memory is.
pub const MEMORY_BASE: u64 = 0xff00_0000;
/// Its length.
pub const MEMORY_BYTES: u64 = 64 << 10;

/// Offsets in the registers.
const FLUSH: u64 = 4;
const BY_BYTE: u64 = 8;

/// The registers.
#[derive(Default)]
pub struct Registers(Mutex<u32>);

impl BusDevice for Registers {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        match offset {
            FLUSH..BY_BYTE => 0,
            _ => u64::from(*self.0.lock()) >> (8 * (offset & 3)) & width.mask(),
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        // Translations follow writes to memory here, so that there is nothing to flush.
        if !(FLUSH..BY_BYTE).contains(&offset) {
            let shift = 8 * (offset & 3);
            let mask = (width.mask() << shift) as u32;
            let mut own = self.0.lock();
            *own = *own & !mask | (value << shift) as u32 & mask;
        }
    }

    fn reset(&self) {
        *self.0.lock() = 0;
    }
}

/// The ports for interrupts: a line is high while what was written last to its port is not zero.
pub struct Lines(Vec<Arc<dyn IrqLine>>);

impl Lines {
    /// Ports for these lines.
    pub fn new(lines: Vec<Arc<dyn IrqLine>>) -> Self {
        Self(lines)
    }
}

impl BusDevice for Lines {
    fn read(&self, _offset: u64, width: AccessWidth) -> u64 {
        width.mask()
    }

    fn write(&self, offset: u64, _width: AccessWidth, value: u64) {
        if let Some(line) = self.0.get(offset as usize) {
            line.set(value != 0);
        }
    }

    fn reset(&self) {
        self.0.iter().for_each(|line| line.set(false));
    }
}

/// Memory that is reached as a device's registers are.
pub struct Memory(Mutex<Vec<u8>>);

impl Default for Memory {
    fn default() -> Self {
        Self(Mutex::new(vec![0; MEMORY_BYTES as usize]))
    }
}

impl BusDevice for Memory {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let bytes = self.0.lock();
        let mut value = [0; 8];
        for (to, from) in value[..width.bytes() as usize]
            .iter_mut()
            .zip(bytes.iter().skip(offset as usize))
        {
            *to = *from;
        }
        u64::from_le_bytes(value)
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let mut bytes = self.0.lock();
        let value = value.to_le_bytes();
        for (to, from) in bytes
            .iter_mut()
            .skip(offset as usize)
            .zip(&value[..width.bytes() as usize])
        {
            *to = *from;
        }
    }

    fn reset(&self) {
        self.0.lock().fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Level;
    use AccessWidth::{Byte, Double, Half, Word};

    #[test]
    fn register_keeps_what_is_written_whole_and_by_byte() {
        let own = Registers::default();
        own.write(0, Word, 0x1234_5678);
        assert_eq!(own.read(0, Word), 0x1234_5678);
        assert_eq!((own.read(1, Byte), own.read(10, Byte)), (0x56, 0x34));
        own.write(2, Half, 0xabcd);
        assert_eq!(own.read(0, Word), 0xabcd_5678);
        own.write(4, Word, 0);
        own.write(9, Byte, 0xff);
        assert_eq!((own.read(8, Word), own.read(4, Word)), (0xabcd_ff78, 0));
        own.reset();
        assert_eq!(own.read(0, Word), 0);
    }

    #[test]
    fn lines_follow_their_ports() {
        let levels = [(); 2].map(|()| Arc::new(Level::default()));
        let lines = levels.iter().map(|level| level.clone() as Arc<dyn IrqLine>);
        let ports = Lines::new(lines.collect());
        ports.write(1, Byte, 1);
        assert_eq!((levels[0].high(), levels[1].high()), (false, true));
        ports.write(1, Byte, 0);
        assert!(!levels[1].high());
        ports.write(7, Byte, 1);
        ports.write(0, Byte, 1);
        ports.reset();
        assert!(!levels[0].high());
    }

    #[test]
    fn memory_is_read_as_it_was_written_up_to_its_end() {
        let memory = Memory::default();
        memory.write(8, Double, 0x0123_4567_89ab_cdef);
        assert_eq!(memory.read(10, Word), 0x4567_89ab);
        memory.write(MEMORY_BYTES - 2, Word, 0xffff_ffff);
        assert_eq!(memory.read(MEMORY_BYTES - 2, Word), 0xffff);
        assert_eq!(memory.read(MEMORY_BYTES, Double), 0);
    }
}
