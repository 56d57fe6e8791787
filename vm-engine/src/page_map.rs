//! Maps by page.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use vm_core::PAGE_SHIFT;

/// A map from the base addresses of pages. A guest can choose pages that are found slowly, but pays for that itself; the
/// standard library's hash was a tenth of the time that rewriting code took.
pub type PageMap<V> = HashMap<u64, V, BuildHasherDefault<PageHasher>>;

/// Spreads page numbers over all bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageHasher(u64);

/// 2^64 over the golden ratio: neighbours come to lie far apart (Knuth, The Art of Computer Programming 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for PageHasher {
    fn write_u64(&mut self, addr: u64) {
        let spread = (addr >> PAGE_SHIFT).wrapping_mul(SPREAD);
        self.0 = spread ^ spread >> 32;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(SPREAD);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_side_by_side_and_far_apart_have_hashes_of_their_own() {
        let hash = |addr: u64| {
            let mut hasher = PageHasher::default();
            hasher.write_u64(addr);
            hasher.finish()
        };
        for step in [12, 21, 30] {
            let all = (0..1024_u64).map(|n| hash(0x8000_0000 + (n << step)));
            // What a table of so many places goes by, and what tells entries of one place apart.
            let parts = all.map(|hash| (hash % 1024, hash >> 57));
            let different = parts.collect::<std::collections::HashSet<_>>().len();
            assert!(different > 900, "{different} of 1024 in steps of 2^{step}");
        }
    }
}
