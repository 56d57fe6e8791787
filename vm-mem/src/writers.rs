//! Where a guest-physical page may be written: a hint by which a TLB finds the write tags of a page that gets
//! translated code, without looking through all its tables.

use vm_core::{GuestPhysAddr, GuestVirtAddr, PAGE_SHIFT};

/// Lines of the hint.
const LINES: usize = if cfg!(loom) { 8 } else { 1 << 14 };
/// Virtual pages that a line remembers: a kernel writes a page by its own address, a program by another.
const KNOWN: usize = 2;

/// What is known of the pages that share a line.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Of which round the rest is; of an earlier one it says nothing.
    round: u64,
    phys: u64,
    at: [u64; KNOWN],
    /// Addresses used; above [`KNOWN`], more than are remembered.
    used: usize,
}

/// The virtual pages by which a physical page has been made writable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// None but these.
    Only(Vec<GuestVirtAddr>),
    /// Perhaps any.
    Any,
}

/// The hint of one TLB.
#[derive(Debug)]
pub(crate) struct WriterHint {
    lines: Box<[Line]>,
    round: u64,
}

impl WriterHint {
    pub(crate) fn new() -> Self {
        Self {
            lines: vec![Line::default(); LINES].into(),
            round: 1,
        }
    }

    fn line(&mut self, phys: GuestPhysAddr) -> &mut Line {
        let line = &mut self.lines[(phys.raw() >> PAGE_SHIFT) as usize & (LINES - 1)];
        if line.round != self.round {
            *line = Line {
                round: self.round,
                ..Line::default()
            };
        }
        line
    }

    /// Notes that `phys` gets a write tag at `addr`.
    pub(crate) fn note(&mut self, phys: GuestPhysAddr, addr: GuestVirtAddr) {
        let (phys_page, page) = (phys.page_base().raw(), addr.page_base().raw());
        let line = self.line(phys);
        if line.used == 0 {
            line.phys = phys_page;
        }
        let known = &line.at[..line.used.min(KNOWN)];
        if line.phys == phys_page && known.contains(&page) {
            return;
        }
        if line.phys == phys_page && line.used < KNOWN {
            line.at[line.used] = page;
            line.used += 1;
        } else {
            line.used = KNOWN + 1;
        }
    }

    /// Where `phys` may have write tags; they are about to go. After [`Writers::Any`] whoever looks at all tags notes
    /// the others that share the line again.
    pub(crate) fn take(&mut self, phys: GuestPhysAddr) -> Writers {
        let line = self.line(phys);
        if line.used > KNOWN {
            line.used = 0;
            return Writers::Any;
        }
        if line.phys != phys.page_base().raw() {
            return Writers::Only(Vec::new());
        }
        let known = line.at[..line.used].iter().copied();
        let known = known.map(GuestVirtAddr).collect();
        line.used = 0;
        Writers::Only(known)
    }

    /// Whether the two pages share a line.
    pub(crate) fn share(a: GuestPhysAddr, b: GuestPhysAddr) -> bool {
        ((a.raw() ^ b.raw()) >> PAGE_SHIFT) as usize & (LINES - 1) == 0
    }

    /// All write tags are gone.
    pub(crate) fn clear(&mut self) {
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: GuestPhysAddr = GuestPhysAddr(0x8000_0000);

    #[test]
    fn two_addresses_are_remembered_and_a_third_means_any() {
        let mut hint = WriterHint::new();
        assert_eq!(hint.take(PAGE), Writers::Only(vec![]));
        hint.note(PAGE + 8, GuestVirtAddr(0x1004));
        hint.note(PAGE, GuestVirtAddr(0x1ff8));
        hint.note(PAGE, GuestVirtAddr(0x2000));
        let both = vec![GuestVirtAddr(0x1000), GuestVirtAddr(0x2000)];
        assert_eq!(hint.take(PAGE), Writers::Only(both));
        assert_eq!(hint.take(PAGE), Writers::Only(vec![]));
        for n in 1..4 {
            hint.note(PAGE, GuestVirtAddr(n << 12));
        }
        assert_eq!(hint.take(PAGE), Writers::Any);
        hint.clear();
        assert_eq!(hint.take(PAGE), Writers::Only(vec![]));
    }

    #[test]
    fn pages_that_share_a_line_are_not_taken_for_each_other() {
        let mut hint = WriterHint::new();
        let other = PAGE + ((LINES as u64) << PAGE_SHIFT);
        hint.note(PAGE, GuestVirtAddr(0x1000));
        assert_eq!(hint.take(other), Writers::Only(vec![]));
        hint.note(other, GuestVirtAddr(0x1000));
        assert_eq!(hint.take(PAGE), Writers::Any);
    }
}
