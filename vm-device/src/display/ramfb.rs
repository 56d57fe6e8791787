//! QEMU's RAM framebuffer (`docs/specs/ramfb` in `hw/display/ramfb.c`): firmware writes to a file of fw_cfg where in guest
//! memory its picture is.

use std::sync::Arc;

use parking_lot::Mutex;
use vm_core::GuestPhysAddr;
use vm_mem::GuestMemory;

use super::{Display, Frame};
use crate::firmware::fw_cfg::{FwCfg, FwCfgError};

/// The file.
pub const FILE: &str = "etc/ramfb";
/// Its bytes: address (64 bits), format, flags, width, height, bytes of a line (32 bits each), all big-endian.
const CONFIG_BYTES: usize = 28;
/// DRM's format codes: 32 bits with blue lowest, with or without alpha, and with red lowest; 24 and 16 bits.
const XRGB: [u32; 2] = [code(*b"XR24"), code(*b"AR24")];
const XBGR: [u32; 2] = [code(*b"XB24"), code(*b"AB24")];
const RGB888: u32 = code(*b"RG24");
const RGB565: u32 = code(*b"RG16");
/// Sides of pictures that are taken.
const LONGEST_SIDE: u32 = 8192;

const fn code(letters: [u8; 4]) -> u32 {
    u32::from_le_bytes(letters)
}

#[derive(Clone, Copy)]
struct Surface {
    at: u64,
    format: u32,
    width: u32,
    height: u32,
    stride: u32,
}

/// The framebuffer.
pub struct Ramfb {
    memory: GuestMemory,
    surface: Mutex<Option<Surface>>,
}

impl Ramfb {
    /// A framebuffer in `memory` that is set up through a file of `fw_cfg`, whose reset takes the picture away.
    ///
    /// # Errors
    /// When the directory of `fw_cfg` is full.
    pub fn new(fw_cfg: &FwCfg, memory: GuestMemory) -> Result<Arc<Self>, FwCfgError> {
        let ramfb = Arc::new(Self {
            memory,
            surface: Mutex::new(None),
        });
        let weak = Arc::downgrade(&ramfb);
        let written = move |bytes: &[u8]| {
            if let Some(ramfb) = weak.upgrade() {
                *ramfb.surface.lock() = surface(bytes);
            }
        };
        fw_cfg.add_writable_file(FILE, vec![0; CONFIG_BYTES], Arc::new(written))?;
        Ok(ramfb)
    }
}

/// What a file of [`CONFIG_BYTES`] says, if it is a picture that can be shown.
fn surface(bytes: &[u8]) -> Option<Surface> {
    let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..at + 4)?.as_array()?));
    let (high, low) = (word(0)?, word(4)?);
    let format = word(8)?;
    let (width, height) = (word(16)?, word(20)?);
    let line = width.checked_mul(pixel_bytes(format)?)?;
    let stride = if word(24)? == 0 { line } else { word(24)? };
    let sides = (1..=LONGEST_SIDE).contains(&width) && (1..=LONGEST_SIDE).contains(&height);
    (sides && stride >= line).then_some(Surface {
        at: u64::from(high) << 32 | u64::from(low),
        format,
        width,
        height,
        stride,
    })
}

fn pixel_bytes(format: u32) -> Option<u32> {
    match format {
        _ if XRGB.contains(&format) || XBGR.contains(&format) => Some(4),
        RGB888 => Some(3),
        RGB565 => Some(2),
        _ => None,
    }
}

/// Eight bits of a colour that has fewer.
pub(super) fn widen(value: u32, bits: u32) -> u8 {
    let value = value & ((1 << bits) - 1);
    (value * 255 / ((1 << bits) - 1)) as u8
}

impl Display for Ramfb {
    fn frame(&self) -> Option<Frame> {
        let surface = (*self.surface.lock())?;
        let bytes = pixel_bytes(surface.format)? as usize;
        let mut frame = Frame::black(surface.width as usize, surface.height as usize);
        let mut line = vec![0; surface.width as usize * bytes];
        for y in 0..surface.height {
            let offset = u64::from(y) * u64::from(surface.stride);
            let at = GuestPhysAddr(surface.at).wrapping_add(offset);
            // What is no RAM stays black.
            if self.memory.read(at, &mut line).is_err() {
                continue;
            }
            for (x, pixel) in line.chunks_exact(bytes).enumerate() {
                let rgb = match (surface.format, pixel) {
                    (RGB565, &[low, high]) => {
                        let value = u32::from(low) | u32::from(high) << 8;
                        [widen(value >> 11, 5), widen(value >> 5, 6), widen(value, 5)]
                    }
                    (format, &[red, green, blue, _]) if XBGR.contains(&format) => {
                        [red, green, blue]
                    }
                    (_, &[blue, green, red, ..]) => [red, green, blue],
                    _ => [0; 3],
                };
                frame.put(x, y as usize, rgb);
            }
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BusDevice;
    use vm_core::AccessWidth;

    fn configure(bytes: [u8; CONFIG_BYTES]) -> (Arc<Ramfb>, FwCfg) {
        let memory = GuestMemory::new(&[(GuestPhysAddr(0), 0x1_0000)]).unwrap();
        let fw_cfg = FwCfg::new(memory.clone());
        let ramfb = Ramfb::new(&fw_cfg, memory.clone()).unwrap();
        assert!(ramfb.frame().is_none());
        memory.write(GuestPhysAddr(0x100), &bytes).unwrap();
        let mut access = [0; 16];
        access[..4].copy_from_slice(&(0x20u32 << 16 | 0x18).to_be_bytes());
        access[4..8].copy_from_slice(&(CONFIG_BYTES as u32).to_be_bytes());
        access[8..].copy_from_slice(&0x100u64.to_be_bytes());
        memory.write(GuestPhysAddr(0x200), &access).unwrap();
        memory
            .write(GuestPhysAddr(0x8000), &[3, 2, 1, 0, 6, 5, 4, 0])
            .unwrap();
        fw_cfg.write(0x14, AccessWidth::Word, 0x200u32.swap_bytes().into());
        (ramfb, fw_cfg)
    }

    fn config(at: u64, format: &[u8; 4], sides: [u32; 2], stride: u32) -> [u8; CONFIG_BYTES] {
        let mut bytes = [0; CONFIG_BYTES];
        bytes[..8].copy_from_slice(&at.to_be_bytes());
        bytes[8..12].copy_from_slice(&u32::from_le_bytes(*format).to_be_bytes());
        for (at, value) in [(16, sides[0]), (20, sides[1]), (24, stride)] {
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn picture_is_read_from_memory() {
        let (ramfb, fw_cfg) = configure(config(0x8000, b"XR24", [2, 2], 8));
        let frame = ramfb.frame().unwrap();
        assert_eq!((frame.width, frame.height), (2, 2));
        assert_eq!(frame.rgb[..6], [1, 2, 3, 4, 5, 6]);
        fw_cfg.reset();
        assert!(ramfb.frame().is_none());
        let (ramfb, _fw_cfg) = configure(config(0x8000, b"RG16", [1, 1], 0));
        assert_eq!(ramfb.frame().unwrap().rgb, [0, 64, 24]);
    }

    #[test]
    fn nonsense_shows_nothing_or_black() {
        for bytes in [
            config(0x8000, b"????", [2, 2], 8),
            config(0x8000, b"XR24", [0, 2], 8),
            config(0x8000, b"XR24", [2, 9000], 8),
            config(0x8000, b"XR24", [4, 4], 8),
        ] {
            assert!(configure(bytes).0.frame().is_none());
        }
        let (ramfb, _fw_cfg) = configure(config(u64::MAX - 3, b"XR24", [2, 2], 8));
        assert_eq!(ramfb.frame(), Some(Frame::black(2, 2)));
    }
}
