//! One fuzzer for every device: arbitrary bytes become a hostile guest's accesses.

use vm_core::AccessWidth;

use crate::BusDevice;

const WIDTHS: [AccessWidth; 4] = [
    AccessWidth::Byte,
    AccessWidth::Half,
    AccessWidth::Word,
    AccessWidth::Double,
];

/// Reads the script; ends with it.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A little-endian number of `bytes` bytes; the script's end counts as zeros.
    fn number(&mut self, bytes: u32) -> u64 {
        (0..bytes).fold(0, |sum, at| {
            sum | u64::from(self.byte().unwrap_or(0)) << (8 * at)
        })
    }
}

/// Interprets `script` as accesses to a device that occupies `range_bytes` bytes of a bus, as [`crate::Bus`]
/// would make them (inside the range, of any alignment).
///
/// Each access starts with a byte: bits 0-1 width; bit 2 write; bits 3-4 how the offset follows (0 one byte:
/// the first 256 bytes; 1 four bytes: anywhere; 2 two bytes: a multiple of 4 KiB plus 0 to 15; 3 none: where
/// the previous access ended); bits 5-6 how a written value follows (0 one byte; 1 eight bytes; 2 one byte
/// repeated; 3 one byte with its bit reversed order in the top byte); bit 7, with all others, a reset.
pub fn drive(device: &dyn BusDevice, range_bytes: u64, script: &[u8]) {
    let mut script = Script(script);
    let mut next = 0;
    while let Some(op) = script.byte() {
        if op == 0xff {
            device.reset();
            continue;
        }
        let width = WIDTHS[usize::from(op & 3)];
        let wanted = match op >> 3 & 3 {
            0 => script.number(1),
            1 => script.number(4),
            2 => {
                let pick = script.number(2);
                (pick >> 4) << 12 | pick & 0xf
            }
            _ => next,
        };
        let Some(positions) = (range_bytes + 1).checked_sub(width.bytes()) else {
            continue;
        };
        if positions == 0 {
            continue;
        }
        let offset = wanted % positions;
        next = offset + width.bytes();
        if op & 4 == 0 {
            device.read(offset, width);
            continue;
        }
        let value = match op >> 5 & 3 {
            0 => script.number(1),
            1 => script.number(8),
            2 => script.number(1) * 0x0101_0101_0101_0101,
            _ => {
                let low = script.number(1);
                low | low.reverse_bits()
            }
        };
        device.write(offset, width, value & width.mask());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Debug, PartialEq)]
    enum Seen {
        Read(u64, AccessWidth),
        Write(u64, AccessWidth, u64),
        Reset,
    }

    #[derive(Default)]
    struct Recorder(Mutex<Vec<Seen>>);
    impl BusDevice for Recorder {
        fn read(&self, offset: u64, width: AccessWidth) -> u64 {
            self.0.lock().push(Seen::Read(offset, width));
            0
        }
        fn write(&self, offset: u64, width: AccessWidth, value: u64) {
            self.0.lock().push(Seen::Write(offset, width, value));
        }
        fn reset(&self) {
            self.0.lock().push(Seen::Reset);
        }
    }

    #[test]
    fn drive_script_becomes_its_accesses() {
        let device = Recorder::default();
        drive(
            &device,
            0x2000,
            &[
                0x02, 0x10, 0xff, 0x1c, 0xab, 0x2e, 0, 0x10, 0, 0, 1, 2, 3, 4,
            ],
        );
        assert_eq!(
            *device.0.lock(),
            [
                Seen::Read(0x10, AccessWidth::Word),
                Seen::Reset,
                Seen::Write(0x14, AccessWidth::Byte, 0xab),
                Seen::Write(0x1000, AccessWidth::Word, 0x0403_0201),
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn drive_accesses_stay_inside_the_range(script: Vec<u8>, range in 0u64..64) {
            let device = Recorder::default();
            drive(&device, range, &script);
            for seen in device.0.lock().iter() {
                let (Seen::Read(offset, width) | Seen::Write(offset, width, _)) = seen else {
                    continue;
                };
                proptest::prop_assert!(offset + width.bytes() <= range);
            }
        }
    }
}
