//! The machine's RAM.

use std::fs::File;
use std::sync::Arc;

use vm_core::{GuestPhysAddr, HostVirtAddr, PAGE_BYTES};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap,
};

use crate::code::{CodePages, CodeWatch, CodeWriteObserver};

/// RAM as the `vm-memory` crate describes it; every write through it checks the code words.
pub type GuestRamMap = GuestMemoryMmap<CodeWatch>;

/// Why guest memory could not be made or reached.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The host would not give the memory.
    #[error("the host cannot give {} MiB of guest RAM: {reason}, or ask for less with --memory", .bytes >> 20)]
    Reserve {
        /// Bytes that were asked for.
        bytes: u64,
        /// What the host said.
        reason: String,
    },
    /// RAM ranges overlap, are empty or do not start at a page.
    #[error("guest RAM ranges overlap, are empty or are not made of whole pages")]
    BadRanges,
    /// The address range is not all RAM.
    #[error("{bytes} bytes at {addr} are not all guest RAM")]
    NotRam {
        /// First address.
        addr: GuestPhysAddr,
        /// Length in bytes.
        bytes: u64,
    },
}

/// Where one RAM range lies in guest-physical space and in this process.
#[derive(Clone, Copy, Debug)]
pub struct RamRange {
    /// First guest-physical address.
    pub base: GuestPhysAddr,
    /// Length in bytes.
    pub bytes: u64,
    /// Where this process sees it; valid as long as the [`GuestMemory`] lives.
    pub host: HostVirtAddr,
}

impl RamRange {
    /// Whether all of `bytes` bytes at `addr` lie in the range.
    pub fn contains(&self, addr: GuestPhysAddr, bytes: u64) -> bool {
        addr.raw()
            .checked_sub(self.base.raw())
            .and_then(|offset| offset.checked_add(bytes))
            .is_some_and(|end| end <= self.bytes)
    }
}

/// All RAM of one machine. Clones share it. Freshly made RAM reads as zero.
///
/// `read` and `write` are for loaders, DMA and debuggers: writes pass the code check. A virtual CPU uses host
/// pointers and does that check itself when its TLB refuses a write tag.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    map: Arc<GuestRamMap>,
    ranges: Arc<[(RamRange, Arc<CodePages>)]>,
}

impl GuestMemory {
    /// Makes RAM at the given (base, bytes) ranges, in one memfd.
    ///
    /// # Errors
    /// When ranges are malformed or the host refuses the memory.
    pub fn new(ranges: &[(GuestPhysAddr, u64)]) -> Result<Self, MemoryError> {
        let total: u64 = ranges.iter().map(|(_, bytes)| bytes).sum();
        let whole = |n: u64| n.is_multiple_of(PAGE_BYTES);
        if ranges.is_empty()
            || ranges
                .iter()
                .any(|&(base, bytes)| bytes == 0 || !whole(bytes) || !whole(base.raw()))
        {
            return Err(MemoryError::BadRanges);
        }
        let refused = |reason: String| MemoryError::Reserve {
            bytes: total,
            reason,
        };
        let file = vm_osal::memory_file("guest-ram", total).map_err(|error| match error.kind() {
            std::io::ErrorKind::FileTooLarge => refused(
                "this process may make no file that large, as `ulimit -f` says of memory files too: raise it".into(),
            ),
            _ => refused(error.to_string()),
        })?;
        let file: Arc<File> = Arc::new(file);
        let mut regions = Vec::new();
        let mut table = Vec::new();
        let mut offset = 0;
        for &(base, bytes) in ranges {
            let code = CodePages::new(base, bytes)
                .ok_or_else(|| refused("its bookkeeping takes more memory than there is".into()))?;
            let code = Arc::new(code);
            let mapping =
                MmapRegionBuilder::new_with_bitmap(bytes as usize, CodeWatch(code.clone()))
                    .with_file_offset(FileOffset::from_arc(file.clone(), offset))
                    .with_mmap_prot(vm_osal::PROT_READ_WRITE)
                    .with_mmap_flags(vm_osal::MAP_SHARED_NORESERVE)
                    .build()
                    .map_err(|e| refused(e.to_string()))?;
            let host = HostVirtAddr(mapping.as_ptr() as u64);
            vm_osal::advise_huge_pages(host, bytes);
            regions.push(
                GuestRegionMmap::new(mapping, GuestAddress(base.raw()))
                    .ok_or(MemoryError::BadRanges)?,
            );
            table.push((RamRange { base, bytes, host }, code));
            offset += bytes;
        }
        let map = GuestRamMap::from_regions(regions).map_err(|_| MemoryError::BadRanges)?;
        Ok(Self {
            map: Arc::new(map),
            ranges: table.into(),
        })
    }

    /// The same RAM for crates that speak `vm-memory` (virtqueues, vhost).
    pub fn map(&self) -> &Arc<GuestRamMap> {
        &self.map
    }

    /// The RAM ranges in the order they were given.
    pub fn ranges(&self) -> impl Iterator<Item = RamRange> + '_ {
        self.ranges.iter().map(|(range, _)| *range)
    }

    /// Bytes of RAM in all ranges.
    pub fn total_bytes(&self) -> u64 {
        self.map.iter().map(|region| region.len()).sum()
    }

    /// The range and code words that hold `addr`, when it is RAM.
    #[inline]
    pub fn find(&self, addr: GuestPhysAddr) -> Option<(&RamRange, &CodePages)> {
        self.ranges
            .iter()
            .find(|(range, _)| range.contains(addr, 1))
            .map(|(range, code)| (range, &**code))
    }

    /// Host address of `bytes` bytes of RAM at `addr`, when they lie in one range.
    #[inline]
    pub fn host_range(&self, addr: GuestPhysAddr, bytes: u64) -> Option<HostVirtAddr> {
        let (range, _) = self.find(addr)?;
        range
            .contains(addr, bytes)
            .then(|| range.host + (addr - range.base))
    }

    /// Names who is told of writes to code. Returns false when someone was named before.
    pub fn set_code_observer(&self, observer: &Arc<dyn CodeWriteObserver>) -> bool {
        self.ranges
            .iter()
            .all(|(_, code)| code.set_observer(observer.clone()))
    }

    /// Copies RAM at `addr` into `into`.
    ///
    /// # Errors
    /// When part of it is not RAM; `into` may be partly written then.
    pub fn read(&self, addr: GuestPhysAddr, into: &mut [u8]) -> Result<(), MemoryError> {
        self.map
            .read_slice(into, GuestAddress(addr.raw()))
            .map_err(|_| MemoryError::NotRam {
                addr,
                bytes: into.len() as u64,
            })
    }

    /// Copies `from` to RAM at `addr` and drops translated code that it overwrites.
    ///
    /// # Errors
    /// When part of it is not RAM; the part before may have been written then.
    pub fn write(&self, addr: GuestPhysAddr, from: &[u8]) -> Result<(), MemoryError> {
        self.map
            .write_slice(from, GuestAddress(addr.raw()))
            .map_err(|_| MemoryError::NotRam {
                addr,
                bytes: from.len() as u64,
            })
    }

    /// Gives `bytes` bytes of RAM at `addr` back to the host; they read as zero until they are written again. Drops
    /// translated code that was made from them.
    ///
    /// # Errors
    /// When the range is not made of whole pages of one RAM range, or the host refuses.
    pub fn discard(&self, addr: GuestPhysAddr, bytes: u64) -> Result<(), MemoryError> {
        let whole = addr.page_offset() == 0 && bytes.is_multiple_of(PAGE_BYTES);
        let (range, code) = self
            .find(addr)
            .filter(|(range, _)| whole && range.contains(addr, bytes))
            .ok_or(MemoryError::NotRam { addr, bytes })?;
        discard_in(range, code, addr, bytes)
    }

    /// Sets all RAM to zero, as power-on would leave it for us, giving the pages back to the host.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn clear(&self) -> Result<(), MemoryError> {
        for (range, code) in self.ranges.iter() {
            discard_in(range, code, range.base, range.bytes)?;
        }
        Ok(())
    }
}

/// Gives back part of a RAM range.
fn discard_in(
    range: &RamRange,
    code: &CodePages,
    addr: GuestPhysAddr,
    bytes: u64,
) -> Result<(), MemoryError> {
    let host = range.host + (addr - range.base);
    vm_osal::discard_pages(host, bytes).map_err(|e| MemoryError::Reserve {
        bytes,
        reason: e.to_string(),
    })?;
    code.written(addr, bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Count(AtomicU64);
    impl CodeWriteObserver for Count {
        fn code_written(&self, _page: GuestPhysAddr) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn write_then_read_returns_the_bytes() {
        let ram = GuestMemory::new(&[(GuestPhysAddr(0x8000_0000), 0x4000)]).unwrap();
        ram.write(GuestPhysAddr(0x8000_0ffe), b"abcd").unwrap();
        let mut back = [0; 4];
        ram.read(GuestPhysAddr(0x8000_0ffe), &mut back).unwrap();
        assert_eq!(&back, b"abcd");
        assert!(ram.read(GuestPhysAddr(0x8000_3ffe), &mut back).is_err());
        assert!(ram.write(GuestPhysAddr(0x7fff_fffe), &back).is_err());
        ram.clear().unwrap();
        ram.read(GuestPhysAddr(0x8000_0ffe), &mut back).unwrap();
        assert_eq!(back, [0; 4]);
    }

    #[test]
    fn write_over_code_reaches_the_observer() {
        let ram = GuestMemory::new(&[(GuestPhysAddr(0), 0x4000)]).unwrap();
        let count = Arc::new(Count::default());
        let observer: Arc<dyn CodeWriteObserver> = count.clone();
        assert!(ram.set_code_observer(&observer));
        ram.find(GuestPhysAddr(0x1000))
            .unwrap()
            .1
            .mark(GuestPhysAddr(0x1000), 4);
        ram.write(GuestPhysAddr(0x1040), &[1]).unwrap();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        ram.write(GuestPhysAddr(0x0fff), &[1, 2]).unwrap();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn discard_clears_whole_pages_and_tells_the_observer() {
        let base = GuestPhysAddr(0x8000_0000);
        let ram = GuestMemory::new(&[(base, 0x4000)]).unwrap();
        let count = Arc::new(Count::default());
        let observer: Arc<dyn CodeWriteObserver> = count.clone();
        assert!(ram.set_code_observer(&observer));
        ram.write(base, &[7; 0x4000]).unwrap();
        ram.find(base).unwrap().1.mark(base + 0x1000, 4);
        ram.discard(base + 0x1000, 0x2000).unwrap();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let mut all = [0; 0x4000];
        ram.read(base, &mut all).unwrap();
        assert!(all[..0x1000].iter().chain(&all[0x3000..]).all(|&b| b == 7));
        assert!(all[0x1000..0x3000].iter().all(|&b| b == 0));
        for (addr, bytes) in [
            (base + 0x800, 0x1000),
            (base, 0x800),
            (base, 0x5000),
            (GuestPhysAddr(0), 0x1000),
            (base + 0x1000, u64::MAX - 0xfff),
        ] {
            assert!(ram.discard(addr, bytes).is_err(), "{bytes:#x} at {addr}");
        }
    }

    #[test]
    fn new_with_bad_ranges_is_refused() {
        assert!(GuestMemory::new(&[]).is_err());
        assert!(GuestMemory::new(&[(GuestPhysAddr(1), 0x1000)]).is_err());
        assert!(
            GuestMemory::new(&[(GuestPhysAddr(0), 0x2000), (GuestPhysAddr(0x1000), 0x1000)])
                .is_err()
        );
    }
}
