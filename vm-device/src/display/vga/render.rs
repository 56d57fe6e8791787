//! What a VGA shows.

use super::registers::Registers;
use super::spec::{attribute, crtc, extension, graphics, sequencer};
use crate::display::Frame;
use crate::display::ramfb::widen;

/// Addresses of a plane.
const PLANE_BYTES: usize = 0x1_0000;

impl Registers {
    /// The colour of a palette entry.
    fn colour(&self, index: u8) -> [u8; 3] {
        let wide = self.extension[extension::ENABLE] & extension::WIDE_PALETTE != 0;
        let entry = self.palette[usize::from(index & self.palette_mask)];
        entry.map(|part| if wide { part } else { widen(part.into(), 6) })
    }

    /// The colour of one of sixteen, through the attribute controller.
    fn attribute_colour(&self, index: u8) -> [u8; 3] {
        let own = self.attribute[usize::from(index & 15)];
        let select = self.attribute[attribute::COLOUR_SELECT];
        let index = if self.attribute[attribute::MODE] & 0x80 != 0 {
            own & 0x0f | select << 4
        } else {
            own & 0x3f | (select & 0x0c) << 4
        };
        self.colour(index)
    }

    fn word(&self, high: usize) -> usize {
        usize::from(self.crtc[high]) << 8 | usize::from(self.crtc[high + 1])
    }

    /// Lines that are shown.
    fn height(&self) -> usize {
        let overflow = usize::from(self.crtc[crtc::OVERFLOW]);
        (usize::from(self.crtc[crtc::HEIGHT]) | (overflow & 2) << 7 | (overflow & 0x40) << 3) + 1
    }

    fn columns(&self) -> usize {
        usize::from(self.crtc[crtc::WIDTH]) + 1
    }

    fn character_lines(&self) -> usize {
        usize::from(self.crtc[crtc::CHARACTER] & 0x1f) + 1
    }

    fn is_graphics(&self) -> bool {
        self.graphics[graphics::MISCELLANEOUS] & 1 != 0
    }

    fn is_on(&self) -> bool {
        self.attribute_index & attribute::PALETTE_ON != 0 && self.crtc[crtc::HEIGHT] != 0
    }

    /// Bytes of the line of a plane.
    fn plane_line(&self) -> usize {
        usize::from(self.crtc[crtc::OFFSET]) * 2
    }

    /// The character and attribute at a place of the text.
    fn cell(&self, memory: &[u8], row: usize, column: usize) -> (usize, u8, u8) {
        let at = self.word(crtc::START) + row * self.plane_line() + column;
        let at = at % PLANE_BYTES;
        let byte = |plane: usize| memory.get(at * 4 + plane).copied().unwrap_or(0);
        (at, byte(0), byte(1))
    }

    /// The text of a display in text mode, a line each, without blanks at their ends.
    pub(super) fn text(&self, memory: &[u8]) -> Option<Vec<String>> {
        let extended = self.extension[extension::ENABLE] & extension::ON != 0;
        if extended || self.is_graphics() || !self.is_on() {
            return None;
        }
        let rows = self.height() / self.character_lines();
        let line = |row| {
            let cells = (0..self.columns()).map(|column| self.cell(memory, row, column).1);
            let text: String = cells
                .map(|code| {
                    if (0x20..0x7f).contains(&code) {
                        code.into()
                    } else {
                        ' '
                    }
                })
                .collect();
            text.trim_end().to_owned()
        };
        Some((0..rows).map(line).collect())
    }

    pub(super) fn frame(&self, memory: &[u8]) -> Option<Frame> {
        if self.extension[extension::ENABLE] & extension::ON != 0 {
            return self.extended_frame(memory);
        }
        if !self.is_on() {
            return None;
        }
        Some(
            match (self.is_graphics(), self.graphics[graphics::MODE] >> 5 & 3) {
                (false, _) => self.text_frame(memory),
                (true, 0) => self.planar_frame(memory),
                (true, 1) => self.cga_frame(memory),
                (true, _) => self.byte_frame(memory),
            },
        )
    }

    fn text_frame(&self, memory: &[u8]) -> Frame {
        let lines = self.character_lines();
        let (rows, columns) = (self.height() / lines, self.columns());
        let wide = if self.sequencer[1] & 1 == 0 { 9 } else { 8 };
        let mut frame = Frame::black(columns * wide, rows * lines);
        // Which of eight places the font is at, for characters without the intensity bit.
        let fonts = usize::from(self.sequencer[sequencer::FONTS]);
        let place = fonts & 3 | fonts >> 2 & 4;
        let font = [0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000][place];
        let cursor = self.word(crtc::CURSOR);
        let (first, last) = (
            self.crtc[crtc::CURSOR_START],
            self.crtc[crtc::CURSOR_END] & 0x1f,
        );
        for row in 0..rows {
            for column in 0..columns {
                let (at, code, colours) = self.cell(memory, row, column);
                let [fore, back] =
                    [colours & 15, colours >> 4].map(|index| self.attribute_colour(index));
                for line in 0..lines {
                    let shape = font + usize::from(code) * 32 + line;
                    let mut bits = u16::from(memory.get(shape * 4 + 2).copied().unwrap_or(0)) << 1;
                    if wide == 9 && (0xc0..0xe0).contains(&code) {
                        // Box drawing goes on into the ninth column.
                        bits |= bits >> 1 & 1;
                    }
                    let in_cursor = (usize::from(first & 0x1f)..=usize::from(last)).contains(&line);
                    if at == cursor && first & 0x20 == 0 && in_cursor {
                        bits = 0x1ff;
                    }
                    for x in 0..wide {
                        let colour = if bits >> (8 - x) & 1 != 0 { fore } else { back };
                        frame.put(column * wide + x, row * lines + line, colour);
                    }
                }
            }
        }
        frame
    }

    /// How often a line is shown.
    fn repeats(&self) -> usize {
        let doubled = if self.crtc[crtc::CHARACTER] & 0x80 != 0 {
            2
        } else {
            1
        };
        self.character_lines() * doubled
    }

    /// Sixteen colours, a bit of each pixel in each plane.
    fn planar_frame(&self, memory: &[u8]) -> Frame {
        let mut frame = Frame::black(self.columns() * 8, self.height());
        for y in 0..frame.height {
            let line = self.word(crtc::START) + y / self.repeats() * self.plane_line();
            for column in 0..self.columns() {
                let at = (line + column) % PLANE_BYTES * 4;
                let planes = memory.get(at..at + 4).unwrap_or(&[0; 4]);
                for x in 0..8 {
                    let bits = planes.iter().enumerate();
                    let index = bits.fold(0, |index, (plane, byte)| {
                        index | (byte >> (7 - x) & 1) << plane
                    });
                    frame.put(column * 8 + x, y, self.attribute_colour(index));
                }
            }
        }
        frame
    }

    /// Four colours, two bits of each pixel, even and odd lines apart.
    fn cga_frame(&self, memory: &[u8]) -> Frame {
        let mut frame = Frame::black(self.columns() * 8, self.height());
        for y in 0..frame.height {
            let row = y / self.repeats().max(1);
            let line = self.word(crtc::START) + (row & 1) * 0x2000 + row / 2 * self.plane_line();
            for x in 0..frame.width {
                let at = (line + x / 8) % PLANE_BYTES * 4 + ((x / 4) & 1);
                let byte = memory.get(at).copied().unwrap_or(0);
                let index = byte >> (6 - 2 * (x & 3)) & 3;
                frame.put(x, y, self.attribute_colour(index));
            }
        }
        frame
    }

    /// 256 colours, a byte each.
    fn byte_frame(&self, memory: &[u8]) -> Frame {
        let mut frame = Frame::black(self.columns() * 4, self.height() / self.repeats());
        for y in 0..frame.height {
            let line = (self.word(crtc::START) + y * self.plane_line()) * 4;
            for x in 0..frame.width {
                let index = memory.get(line + x).copied().unwrap_or(0);
                frame.put(x, y, self.colour(index));
            }
        }
        frame
    }

    fn extended_frame(&self, memory: &[u8]) -> Option<Frame> {
        let side = |index: usize| usize::from(self.extension[index]);
        let (width, height) = (side(extension::WIDTH), side(extension::HEIGHT));
        let depth = self.extension[extension::DEPTH];
        if width == 0 || height == 0 || depth == 0 {
            return None;
        }
        let mut frame = Frame::black(width, height);
        let bytes = self.pixel_bytes();
        for y in 0..height {
            let line = (y + side(extension::Y)) * self.line_bytes();
            for x in 0..width {
                let place = x + side(extension::X);
                if depth == 4 {
                    let at = (line / 4 + place / 8) * 4;
                    let planes = memory.get(at..at + 4).unwrap_or(&[0; 4]).iter().enumerate();
                    let index = planes.fold(0, |index, (plane, byte)| {
                        index | (byte >> (7 - place % 8) & 1) << plane
                    });
                    frame.put(x, y, self.attribute_colour(index));
                    continue;
                }
                let at = line + place * bytes;
                let pixel = memory.get(at..at + bytes).unwrap_or(&[]);
                let value = pixel
                    .iter()
                    .rev()
                    .fold(0u32, |value, &byte| value << 8 | u32::from(byte));
                let rgb = match depth {
                    8 => self.colour(value as u8),
                    15 => [widen(value >> 10, 5), widen(value >> 5, 5), widen(value, 5)],
                    16 => [widen(value >> 11, 5), widen(value >> 5, 6), widen(value, 5)],
                    _ => [(value >> 16) as u8, (value >> 8) as u8, value as u8],
                };
                frame.put(x, y, rgb);
            }
        }
        Some(frame)
    }
}
