//! Video memory as the window below 1 MiB shows it: planes, latches, write and read modes (IBM VGA, "Graphics Controller").
//!
//! Byte `a` of plane `p` lies at `4 * a + p`.

use vm_core::GuestPhysAddr;
use vm_mem::GuestMemory;

use super::registers::Registers;
use super::spec::{MEMORY_BYTES, extension, graphics, sequencer};

/// Video memory, which processors may access at the same time. What lies behind its end reads as nothing and takes no writes.
pub(super) struct VideoMemory(GuestMemory);

impl VideoMemory {
    /// Of memory from address 0 on.
    pub(super) fn new(memory: GuestMemory) -> Self {
        Self(memory)
    }

    pub(super) fn get(&self, at: usize) -> Option<u8> {
        self.cells::<1>(at).map(|[byte]| byte)
    }

    fn cells<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut cells = [0; N];
        let read = self.0.read(GuestPhysAddr(at as u64), &mut cells);
        read.ok().map(|()| cells)
    }

    pub(super) fn set(&self, at: usize, value: u8) {
        // Nothing is behind its end.
        let _ = self.0.write(GuestPhysAddr(at as u64), &[value]);
    }

    /// Sets the first bytes to zero.
    pub(super) fn clear(&self, bytes: usize) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let bytes = bytes.min(MEMORY_BYTES);
        for at in (0..bytes).step_by(ZEROS.len()) {
            let part = &ZEROS[..ZEROS.len().min(bytes - at)];
            // It is as long as that.
            let _ = self.0.write(GuestPhysAddr(at as u64), part);
        }
    }

    /// All of it.
    pub(super) fn copy(&self) -> Vec<u8> {
        let mut copy = vec![0; MEMORY_BYTES];
        // It is as long as that.
        let _ = self.0.read(GuestPhysAddr(0), &mut copy);
        copy
    }

    pub(super) fn replace(&self, content: &[u8]) {
        // The caller has looked at the length.
        let _ = self.0.write(GuestPhysAddr(0), content);
    }
}

/// Colour bits of a nibble, a byte for each plane.
fn spread(nibble: u8) -> [u8; 4] {
    std::array::from_fn(|plane| if nibble >> plane & 1 != 0 { 0xff } else { 0 })
}

impl Registers {
    /// The offset in the window's memory of an offset from A0000h, if the window is there now.
    fn windowed(&self, offset: u64) -> Option<usize> {
        let (first, bytes) = match self.graphics[graphics::MISCELLANEOUS] >> 2 & 3 {
            0 => (0, 0x2_0000),
            1 => (0, 0x1_0000),
            2 => (0x1_0000, 0x8000),
            _ => (0x1_8000, 0x8000),
        };
        let at = offset.checked_sub(first).filter(|&at| at < bytes)?;
        let bank = if self.extension[extension::ENABLE] & extension::ON != 0 {
            usize::from(self.extension[extension::BANK]) << 16
        } else {
            0
        };
        Some(at as usize + bank)
    }

    fn chain_4(&self) -> bool {
        self.sequencer[sequencer::MODE] & sequencer::CHAIN_4 != 0
    }

    /// Reads a byte of the window.
    pub(super) fn read_window(&mut self, memory: &VideoMemory, offset: u64) -> u8 {
        let Some(at) = self.windowed(offset) else {
            return 0xff;
        };
        if self.chain_4() {
            return memory.get(at).unwrap_or(0xff);
        }
        if self.graphics[graphics::MODE] >> 4 & 1 != 0 {
            // Even and odd addresses are planes 0 and 1, or 2 and 3.
            let plane = self.graphics[graphics::READ_PLANE] as usize & 2 | at & 1;
            let at = (at & !1) << 1 | plane;
            return memory.get(at).unwrap_or(0xff);
        }
        let Some(latch) = memory.cells(at * 4) else {
            return 0xff;
        };
        self.latch = latch;
        if self.graphics[graphics::MODE] & 8 == 0 {
            return self.latch[usize::from(self.graphics[graphics::READ_PLANE] & 3)];
        }
        // Where all compared planes have the colour.
        let wanted = spread(self.graphics[graphics::COMPARE]);
        let compared = spread(self.graphics[graphics::DO_COMPARE]);
        let planes = self.latch.iter().zip(wanted).zip(compared);
        !planes.fold(0, |differs, ((&own, wanted), compared)| {
            differs | (own ^ wanted) & compared
        })
    }

    /// Writes a byte of the window.
    pub(super) fn write_window(&mut self, memory: &VideoMemory, offset: u64, value: u8) {
        let Some(at) = self.windowed(offset) else {
            return;
        };
        let planes = self.sequencer[sequencer::MAP_MASK];
        if self.chain_4() {
            if planes >> (at & 3) & 1 != 0 {
                memory.set(at, value);
            }
            return;
        }
        if self.sequencer[sequencer::MODE] & sequencer::NOT_ODD_EVEN == 0 {
            let plane = self.graphics[graphics::READ_PLANE] as usize & 2 | at & 1;
            let at = (at & !1) << 1 | plane;
            if planes >> plane & 1 != 0 {
                memory.set(at, value);
            }
            return;
        }
        let new = self.combine(value);
        for (plane, value) in new.into_iter().enumerate() {
            if planes >> plane & 1 != 0 {
                memory.set(at * 4 + plane, value);
            }
        }
    }

    /// What a write of `value` puts into each plane, by write mode.
    fn combine(&self, value: u8) -> [u8; 4] {
        let graphics = &self.graphics;
        let turned = value.rotate_right((graphics[graphics::ROTATE] & 7).into());
        let mut bits = graphics[graphics::BIT_MASK];
        let set = spread(graphics[graphics::SET_RESET]);
        let data = match graphics[graphics::MODE] & 3 {
            0 => {
                let enabled = spread(graphics[graphics::ENABLE_SET_RESET]);
                std::array::from_fn(|plane| turned & !enabled[plane] | set[plane] & enabled[plane])
            }
            // What was read last.
            1 => return self.latch,
            2 => spread(value),
            _ => {
                bits &= turned;
                set
            }
        };
        std::array::from_fn(|plane| {
            let (old, new) = (self.latch[plane], data[plane]);
            let new = match graphics[graphics::ROTATE] >> 3 & 3 {
                0 => new,
                1 => new & old,
                2 => new | old,
                _ => new ^ old,
            };
            new & bits | old & !bits
        })
    }
}
