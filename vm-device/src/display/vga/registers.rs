//! The ports of a VGA and of Bochs' extensions.

use serde::{Deserialize, Serialize};

use super::spec::{MEMORY_BYTES, attribute, crtc, extension, graphics, sequencer};

/// All registers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) miscellaneous: u8,
    feature: u8,
    /// Toggles with each read, as software waits for both.
    status: u8,
    sequencer_index: u8,
    pub(super) sequencer: [u8; 8],
    graphics_index: u8,
    pub(super) graphics: [u8; 16],
    crtc_index: u8,
    pub(super) crtc: [u8; crtc::COUNT],
    pub(super) attribute_index: u8,
    /// The next write to the attribute controller is data.
    attribute_data: bool,
    pub(super) attribute: [u8; attribute::COUNT],
    pub(super) palette_mask: u8,
    palette_read: u8,
    palette_write: u8,
    /// The next of red, green and blue.
    palette_part: u8,
    pub(super) palette: Vec<[u8; 3]>,
    pub(super) latch: [u8; 4],
    extension_index: u16,
    pub(super) extension: [u16; extension::COUNT],
}

/// Bits of the miscellaneous output: the CRT controller is at 3D4h, not 3B4h.
const COLOUR_PORTS: u8 = 1 << 0;

impl Registers {
    pub(super) fn power_on() -> Self {
        let mut registers = Self {
            miscellaneous: 0,
            feature: 0,
            status: 0,
            sequencer_index: 0,
            sequencer: [0; 8],
            graphics_index: 0,
            graphics: [0; 16],
            crtc_index: 0,
            crtc: [0; crtc::COUNT],
            attribute_index: 0,
            attribute_data: false,
            attribute: [0; attribute::COUNT],
            palette_mask: 0xff,
            palette_read: 0,
            palette_write: 0,
            palette_part: 0,
            palette: vec![[0; 3]; 256],
            latch: [0; 4],
            extension_index: 0,
            extension: [0; extension::COUNT],
        };
        registers.extension[extension::ID] = extension::ID_VALUE;
        registers.extension[extension::MEMORY] = (MEMORY_BYTES >> 16) as u16;
        registers
    }

    /// Whether a port of 3B0h to 3DFh is the other kind's, colour or monochrome.
    fn is_hidden(&self, port: u64) -> bool {
        match self.miscellaneous & COLOUR_PORTS {
            0 => (0x3d0..0x3e0).contains(&port),
            _ => (0x3b0..0x3c0).contains(&port),
        }
    }

    pub(super) fn read_port(&mut self, port: u64) -> u8 {
        if self.is_hidden(port) {
            return 0xff;
        }
        match port {
            0x3c0 if self.attribute_data => 0,
            0x3c0 => self.attribute_index,
            0x3c1 => {
                let index = usize::from(self.attribute_index & 0x1f);
                self.attribute.get(index).copied().unwrap_or(0)
            }
            0x3c2 => 0,
            0x3c4 => self.sequencer_index,
            0x3c5 => self.sequencer[usize::from(self.sequencer_index & 7)],
            0x3c6 => self.palette_mask,
            0x3c7 => 0,
            0x3c8 => self.palette_write,
            0x3c9 => {
                let value =
                    self.palette[usize::from(self.palette_read)][usize::from(self.palette_part)];
                self.palette_part = (self.palette_part + 1) % 3;
                if self.palette_part == 0 {
                    self.palette_read = self.palette_read.wrapping_add(1);
                }
                value
            }
            0x3ca => self.feature,
            0x3cc => self.miscellaneous,
            0x3ce => self.graphics_index,
            0x3cf => self.graphics[usize::from(self.graphics_index & 15)],
            0x3b4 | 0x3d4 => self.crtc_index,
            0x3b5 | 0x3d5 => {
                let index = usize::from(self.crtc_index);
                self.crtc.get(index).copied().unwrap_or(0)
            }
            0x3ba | 0x3da => {
                self.attribute_data = false;
                // Display off, and vertical retrace.
                self.status ^= 0x09;
                self.status
            }
            _ => 0xff,
        }
    }

    pub(super) fn write_port(&mut self, port: u64, value: u8) {
        if self.is_hidden(port) {
            return;
        }
        match port {
            0x3c0 => {
                if !self.attribute_data {
                    self.attribute_index = value & 0x3f;
                } else if let Some(register) = self
                    .attribute
                    .get_mut(usize::from(self.attribute_index & 0x1f))
                {
                    *register = value;
                }
                self.attribute_data = !self.attribute_data;
            }
            0x3c2 => self.miscellaneous = value,
            0x3c4 => self.sequencer_index = value & 7,
            0x3c5 => self.sequencer[usize::from(self.sequencer_index & 7)] = value,
            0x3c6 => self.palette_mask = value,
            0x3c7 => (self.palette_read, self.palette_part) = (value, 0),
            0x3c8 => (self.palette_write, self.palette_part) = (value, 0),
            0x3c9 => {
                let colour = &mut self.palette[usize::from(self.palette_write)];
                colour[usize::from(self.palette_part)] = value;
                self.palette_part = (self.palette_part + 1) % 3;
                if self.palette_part == 0 {
                    self.palette_write = self.palette_write.wrapping_add(1);
                }
            }
            0x3ce => self.graphics_index = value & 15,
            0x3cf => self.graphics[usize::from(self.graphics_index & 15)] = value,
            0x3b4 | 0x3d4 => self.crtc_index = value,
            0x3b5 | 0x3d5 => self.write_crtc(value),
            0x3ba | 0x3da => self.feature = value,
            _ => {}
        }
    }

    fn write_crtc(&mut self, value: u8) {
        let index = usize::from(self.crtc_index);
        let protected = self.crtc[crtc::PROTECT] & 0x80 != 0;
        if protected && index < 8 {
            // But for one bit of the overflow register (IBM VGA, "Vertical Retrace End").
            if index == crtc::OVERFLOW {
                let kept = self.crtc[index] & !0x10;
                self.crtc[index] = kept | value & 0x10;
            }
        } else if let Some(register) = self.crtc.get_mut(index) {
            *register = value;
        }
    }

    pub(super) fn read_extension_index(&self) -> u16 {
        self.extension_index
    }

    pub(super) fn set_extension_index(&mut self, index: u16) {
        self.extension_index = index;
    }

    pub(super) fn selected_extension(&self) -> usize {
        self.extension_index.into()
    }

    /// Reads a register of the extensions.
    pub(super) fn read_extension(&self, index: usize) -> u16 {
        let asks = self.extension[extension::ENABLE] & extension::CAPABILITIES != 0;
        match index {
            extension::WIDTH..=extension::DEPTH if asks => {
                extension::MOST[index - extension::WIDTH]
            }
            extension::VIRTUAL_HEIGHT => self.virtual_height(),
            _ => self.extension.get(index).copied().unwrap_or(0),
        }
    }

    fn virtual_height(&self) -> u16 {
        let line = self.line_bytes().max(1);
        (MEMORY_BYTES / line).min(0xffff) as u16
    }

    /// Bytes of a pixel.
    pub(super) fn pixel_bytes(&self) -> usize {
        usize::from(self.extension[extension::DEPTH]).div_ceil(8)
    }

    /// Bytes of a line of memory.
    pub(super) fn line_bytes(&self) -> usize {
        let width = usize::from(self.extension[extension::VIRTUAL_WIDTH]);
        match self.extension[extension::DEPTH] {
            4 => width / 2,
            _ => width * self.pixel_bytes(),
        }
    }

    /// Writes a register of the extensions; true when memory is to be cleared.
    pub(super) fn write_extension(&mut self, index: usize, value: u16) -> bool {
        let on = self.extension[extension::ENABLE] & extension::ON != 0;
        match index {
            // Older versions can be asked for, and are what is here.
            extension::ID if (0xb0c0..=extension::ID_VALUE).contains(&value) => {
                self.extension[index] = value;
            }
            extension::WIDTH | extension::HEIGHT if !on => {
                let most = extension::MOST[index - extension::WIDTH];
                self.extension[index] = value.min(most);
            }
            extension::DEPTH if !on => {
                let value = if value == 0 { 8 } else { value };
                if matches!(value, 4 | 8 | 15 | 16 | 24 | 32) {
                    self.extension[index] = value;
                }
            }
            extension::BANK => {
                self.extension[index] = value % (MEMORY_BYTES >> 16) as u16;
            }
            extension::VIRTUAL_WIDTH => {
                self.extension[index] = value.max(self.extension[extension::WIDTH]);
            }
            extension::X | extension::Y => self.extension[index] = value,
            extension::ENABLE => {
                self.extension[index] = value;
                if value & extension::ON != 0 && !on {
                    self.switch_on();
                    return value & extension::KEEP_MEMORY == 0;
                }
                if value & extension::ON == 0 {
                    self.extension[extension::BANK] = 0;
                }
            }
            _ => {}
        }
        false
    }

    /// The window shows memory as it is, from the bank on.
    fn switch_on(&mut self) {
        self.extension[extension::VIRTUAL_WIDTH] = self.extension[extension::WIDTH];
        self.extension[extension::X] = 0;
        self.extension[extension::Y] = 0;
        self.graphics[graphics::MISCELLANEOUS] =
            self.graphics[graphics::MISCELLANEOUS] & !0x0c | 0x05;
        self.sequencer[sequencer::MODE] |= sequencer::CHAIN_4;
        self.sequencer[sequencer::MAP_MASK] |= 0x0f;
        self.graphics[graphics::MODE] &= !0x60;
    }
}
