//! Video memory as the window below 1 MiB shows it: planes, latches, write and read modes (IBM VGA, "Graphics Controller").
//!
//! Byte `a` of plane `p` lies at `4 * a + p`.

use super::registers::Registers;
use super::spec::{extension, graphics, sequencer};

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
    pub(super) fn read_window(&mut self, memory: &[u8], offset: u64) -> u8 {
        let Some(at) = self.windowed(offset) else {
            return 0xff;
        };
        if self.chain_4() {
            return memory.get(at).copied().unwrap_or(0xff);
        }
        if self.graphics[graphics::MODE] >> 4 & 1 != 0 {
            // Even and odd addresses are planes 0 and 1, or 2 and 3.
            let plane = self.graphics[graphics::READ_PLANE] as usize & 2 | at & 1;
            let at = (at & !1) << 1 | plane;
            return memory.get(at).copied().unwrap_or(0xff);
        }
        let Some(latch) = memory.get(at * 4..at * 4 + 4) else {
            return 0xff;
        };
        self.latch.copy_from_slice(latch);
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
    pub(super) fn write_window(&mut self, memory: &mut [u8], offset: u64, value: u8) {
        let Some(at) = self.windowed(offset) else {
            return;
        };
        let planes = self.sequencer[sequencer::MAP_MASK];
        if self.chain_4() {
            if planes >> (at & 3) & 1 != 0
                && let Some(cell) = memory.get_mut(at)
            {
                *cell = value;
            }
            return;
        }
        if self.sequencer[sequencer::MODE] & sequencer::NOT_ODD_EVEN == 0 {
            let plane = self.graphics[graphics::READ_PLANE] as usize & 2 | at & 1;
            let at = (at & !1) << 1 | plane;
            if planes >> plane & 1 != 0
                && let Some(cell) = memory.get_mut(at)
            {
                *cell = value;
            }
            return;
        }
        let new = self.combine(value);
        if let Some(cells) = memory.get_mut(at * 4..at * 4 + 4) {
            for (plane, cell) in cells.iter_mut().enumerate() {
                if planes >> plane & 1 != 0 {
                    *cell = new[plane];
                }
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
