//! Which pages code was fetched from, so that a flush of any other page leaves what is known about code alone.

use vm_core::GuestVirtAddr;
use vm_mem::{CodeFlush, LargePages};

/// Words of a bitmap: enough for the pages of a kernel and large programs, a compiler's 8,000, not to share bits with the
/// data that they map and unmap.
const WORDS: usize = 1 << 13;

/// Pages of one kind, perhaps some more.
struct Pages {
    /// Hashed page numbers.
    bits: Box<[u64; WORDS]>,
    /// Pages above 4 KiB.
    large: LargePages,
}

impl Pages {
    fn new() -> Self {
        Self {
            bits: Box::new([0; WORDS]),
            large: LargePages::default(),
        }
    }

    fn place(addr: GuestVirtAddr) -> (usize, u64) {
        // Mixed, or low programs would share the bits of kernels at the start of a large part of the address space.
        let mixed = addr.page_number().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((mixed >> 6) as usize & (WORDS - 1), 1 << (mixed & 63))
    }

    fn note(&mut self, addr: GuestVirtAddr, page_bytes: u64) {
        let (word, bit) = Self::place(addr);
        self.bits[word] |= bit;
        self.large.note(addr, page_bytes);
    }

    fn may_hold(&self, addr: GuestVirtAddr) -> bool {
        let (word, bit) = Self::place(addr);
        self.bits[word] & bit != 0 || self.large.may_hold(addr)
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        self.large = LargePages::default();
    }
}

/// Pages that code was fetched from since the last flush of everything.
pub(super) struct FetchedPages {
    /// Those that an address space has for itself.
    own: Pages,
    /// Those that are mapped in all of them.
    global: Pages,
}

impl FetchedPages {
    pub(super) fn new() -> Self {
        Self {
            own: Pages::new(),
            global: Pages::new(),
        }
    }

    /// Notes a fetch from the guest page of `page_bytes` bytes around an address.
    pub(super) fn note(&mut self, addr: GuestVirtAddr, page_bytes: u64, global: bool) {
        let pages = if global {
            &mut self.global
        } else {
            &mut self.own
        };
        pages.note(addr, page_bytes);
    }

    /// What a flush of this page may concern.
    pub(super) fn flush(&self, addr: GuestVirtAddr) -> CodeFlush {
        CodeFlush {
            own: self.own.may_hold(addr),
            global: self.global.may_hold(addr),
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.own.clear();
        self.global.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flush_of_data_beside_a_large_program_rarely_concerns_its_code() {
        let mut pages = FetchedPages::new();
        for page in 0..8000 {
            pages.note(GuestVirtAddr(0x1_0000 + page * 4096), 4096, false);
        }
        let heap = (0..10_000).map(|page| GuestVirtAddr(0x2a_0000_0000 + page * 4096));
        let mistaken = heap.filter(|&page| pages.flush(page).own).count();
        assert!(mistaken < 300, "{mistaken} of 10000");
    }

    #[test]
    fn flush_concerns_the_kind_of_page_that_was_fetched() {
        let mut pages = FetchedPages::new();
        let (program, kernel) = (GuestVirtAddr(0x1_0000), GuestVirtAddr(!0 << 31));
        pages.note(program, 4096, false);
        pages.note(kernel, 2 << 20, true);
        let both = |own, global| CodeFlush { own, global };
        assert_eq!(pages.flush(program + 8), both(true, false));
        assert_eq!(pages.flush(kernel + 0x5000), both(false, true));
        assert_eq!(pages.flush(program + 4096), both(false, false));
        pages.clear();
        assert_eq!(pages.flush(program), both(false, false));
        assert_eq!(pages.flush(kernel), both(false, false));
    }
}
