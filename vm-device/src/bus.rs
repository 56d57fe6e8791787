//! The bus: an immutable sorted map from address ranges to devices, replaced as a whole when devices come or go.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use vm_core::AccessWidth;

/// A device that answers accesses to a range of a bus.
///
/// Methods take `&self`: a device locks what it must, for as short as it can. Offsets are from the start of the
/// range and always lie, with the width, inside it. Accesses may be misaligned; a device that does not support
/// an offset or width reads as zero and ignores writes.
pub trait BusDevice: Send + Sync {
    /// Reads `width` bytes at `offset`; bits above the width are ignored by the caller.
    fn read(&self, offset: u64, width: AccessWidth) -> u64;
    /// Writes the low `width` bytes of `value` at `offset`.
    fn write(&self, offset: u64, width: AccessWidth, value: u64);
    /// Puts the device into its state after power-on.
    fn reset(&self);
}

/// Why a device cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Another device has part of the range.
    #[error("{name}: {base:#x}+{bytes:#x} overlaps {other}")]
    Overlap {
        /// The device that was to be placed.
        name: String,
        /// First address.
        base: u64,
        /// Length in bytes.
        bytes: u64,
        /// Who is there already.
        other: String,
    },
    /// The range is empty or passes the end of the address space.
    #[error("{name}: {base:#x}+{bytes:#x} is not a range")]
    BadRange {
        /// The device that was to be placed.
        name: String,
        /// First address.
        base: u64,
        /// Length in bytes.
        bytes: u64,
    },
}

#[derive(Clone)]
struct Range {
    base: u64,
    last: u64,
    name: String,
    device: Arc<dyn BusDevice>,
}

/// An address space of devices (memory-mapped or port I/O). Lookups take no lock.
#[derive(Default)]
pub struct Bus {
    ranges: ArcSwap<Vec<Range>>,
    /// What answers where none of those does.
    behind: ArcSwap<Vec<Range>>,
    /// Held while the map is replaced, so that of two changes at once neither is lost.
    changing: Mutex<()>,
}

/// A range's name and last address.
fn named(name: &str, base: u64, bytes: u64) -> Result<(String, u64), BusError> {
    let name = name.to_owned();
    match bytes.checked_sub(1).and_then(|n| base.checked_add(n)) {
        Some(last) => Ok((name, last)),
        None => Err(BusError::BadRange { name, base, bytes }),
    }
}

impl Bus {
    /// An empty bus.
    pub fn new() -> Self {
        Self::default()
    }

    /// Places a device at `bytes` bytes from `base`.
    ///
    /// # Errors
    /// When the range is malformed or taken.
    pub fn insert(
        &self,
        name: &str,
        base: u64,
        bytes: u64,
        device: Arc<dyn BusDevice>,
    ) -> Result<(), BusError> {
        let (name, last) = named(name, base, bytes)?;
        let _changing = self.changing.lock();
        let mut ranges = Vec::clone(&self.ranges.load());
        let at = ranges.partition_point(|range| range.last < base);
        if let Some(next) = ranges.get(at)
            && next.base <= last
        {
            return Err(BusError::Overlap {
                name,
                base,
                bytes,
                other: next.name.clone(),
            });
        }
        ranges.insert(
            at,
            Range {
                base,
                last,
                name,
                device,
            },
        );
        self.ranges.store(Arc::new(ranges));
        Ok(())
    }

    /// Has a device answer at `bytes` bytes from `base`, wherever no other is: a bridge to another bus.
    ///
    /// # Errors
    /// When the range is malformed.
    pub fn insert_behind(
        &self,
        name: &str,
        base: u64,
        bytes: u64,
        device: Arc<dyn BusDevice>,
    ) -> Result<(), BusError> {
        let (name, last) = named(name, base, bytes)?;
        let _changing = self.changing.lock();
        let mut behind = Vec::clone(&self.behind.load());
        behind.push(Range {
            base,
            last,
            name,
            device,
        });
        self.behind.store(Arc::new(behind));
        Ok(())
    }

    /// Takes the device at `base` away; accesses under way finish.
    pub fn remove(&self, base: u64) -> bool {
        let _changing = self.changing.lock();
        let mut ranges = Vec::clone(&self.ranges.load());
        let before = ranges.len();
        ranges.retain(|range| range.base != base);
        let found = ranges.len() != before;
        self.ranges.store(Arc::new(ranges));
        found
    }

    fn route<R>(
        &self,
        addr: u64,
        width: AccessWidth,
        access: impl FnOnce(&dyn BusDevice, u64) -> R,
    ) -> Option<R> {
        let ranges = self.ranges.load();
        let range = ranges.get(ranges.partition_point(|range| range.last < addr));
        let last = addr.checked_add(width.bytes() - 1)?;
        if let Some(range) = range.filter(|range| range.base <= addr) {
            return (last <= range.last).then(|| access(&*range.device, addr - range.base));
        }
        let behind = self.behind.load();
        let mut holding = behind.iter();
        let range = holding.find(|range| range.base <= addr && last <= range.last)?;
        Some(access(&*range.device, addr - range.base))
    }

    /// Whether a device is at `addr`.
    pub fn answers(&self, addr: u64) -> bool {
        self.route(addr, AccessWidth::Byte, |_, _| ()).is_some()
    }

    /// Reads from the device at `addr`; `None` when none is there.
    pub fn read(&self, addr: u64, width: AccessWidth) -> Option<u64> {
        self.route(addr, width, |device, offset| {
            device.read(offset, width) & width.mask()
        })
    }

    /// Writes to the device at `addr`; false when none is there.
    #[must_use]
    pub fn write(&self, addr: u64, width: AccessWidth, value: u64) -> bool {
        self.route(addr, width, |device, offset| {
            device.write(offset, width, value & width.mask());
        })
        .is_some()
    }

    /// Resets every device, lowest address first.
    pub fn reset(&self) {
        for ranges in [&self.ranges, &self.behind] {
            for range in ranges.load().iter() {
                range.device.reset();
            }
        }
    }

    /// (first address, bytes, name) of every device, lowest address first.
    pub fn map(&self) -> Vec<(u64, u64, String)> {
        let ranges = self.ranges.load();
        ranges
            .iter()
            .map(|r| (r.base, (r.last - r.base).wrapping_add(1), r.name.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Cell(AtomicU64);
    impl BusDevice for Cell {
        fn read(&self, offset: u64, _width: AccessWidth) -> u64 {
            self.0.load(Ordering::Relaxed) + offset
        }
        fn write(&self, offset: u64, _width: AccessWidth, value: u64) {
            self.0.store(value + offset, Ordering::Relaxed);
        }
        fn reset(&self) {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    #[test]
    fn access_reaches_the_device_with_its_offset_and_mask() {
        let bus = Bus::new();
        bus.insert("b", 0x2000, 0x100, Arc::new(Cell::default()))
            .unwrap();
        bus.insert("a", 0x1000, 0x100, Arc::new(Cell::default()))
            .unwrap();
        assert!(bus.write(0x1000, AccessWidth::Byte, 0x1ff));
        assert_eq!(bus.read(0x1004, AccessWidth::Word), Some(0xff + 4));
        assert_eq!(bus.read(0x2000, AccessWidth::Word), Some(0));
        assert_eq!(bus.read(0x10fe, AccessWidth::Word), None);
        assert_eq!(bus.read(0x1100, AccessWidth::Byte), None);
        assert_eq!(bus.read(u64::MAX, AccessWidth::Double), None);
        bus.reset();
        assert_eq!(bus.read(0x1004, AccessWidth::Word), Some(4));
        assert!(bus.remove(0x1000));
        assert!(!bus.write(0x1000, AccessWidth::Byte, 1));
    }

    #[test]
    fn insert_and_remove_from_several_threads_lose_no_device() {
        let bus = Bus::new();
        const EACH: u64 = 100;
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let bus = &bus;
                threads.spawn(move || {
                    for number in 0..EACH {
                        let base = (number * 4 + thread) * 0x1000;
                        bus.insert("d", base, 0x100, Arc::new(Cell::default()))
                            .unwrap();
                        // Every other device goes again.
                        if number % 2 == 0 {
                            assert!(bus.remove(base));
                        }
                    }
                });
            }
        });
        let expected = (0..EACH * 4)
            .filter(|at| at / 4 % 2 == 1)
            .map(|at| (at * 0x1000, 0x100, "d".to_owned()));
        assert_eq!(bus.map(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn device_behind_answers_where_no_other_does() {
        let bus = Bus::new();
        let at = |addr| bus.read(addr, AccessWidth::Word);
        let (behind, before) = (Arc::new(Cell::default()), Arc::new(Cell::default()));
        before.write(0, AccessWidth::Word, 0x100);
        bus.insert_behind("behind", 0x1000, 0x2000, behind).unwrap();
        assert_eq!((at(0x1004), at(0x3000)), (Some(4), None));
        bus.insert("before", 0x1800, 0x100, before).unwrap();
        assert_eq!(at(0x17fc), Some(0x7fc));
        assert_eq!(at(0x1804), Some(0x104));
        assert_eq!((at(0x18fe), at(0x1900)), (None, Some(0x900)));
        assert!(bus.remove(0x1800));
        assert_eq!(at(0x1804), Some(0x804));
        bus.reset();
    }

    #[test]
    fn insert_over_another_is_refused() {
        let bus = Bus::new();
        bus.insert("a", 0x1000, 0x100, Arc::new(Cell::default()))
            .unwrap();
        assert!(
            bus.insert("b", 0x10ff, 1, Arc::new(Cell::default()))
                .is_err()
        );
        assert!(
            bus.insert("b", 0xf00, 0x101, Arc::new(Cell::default()))
                .is_err()
        );
        assert!(
            bus.insert("b", 0xf00, 0, Arc::new(Cell::default()))
                .is_err()
        );
        assert!(
            bus.insert("b", 0xf00, 0x100, Arc::new(Cell::default()))
                .is_ok()
        );
        assert!(
            bus.insert("c", u64::MAX, 2, Arc::new(Cell::default()))
                .is_err()
        );
    }
}
