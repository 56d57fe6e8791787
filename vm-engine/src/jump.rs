//! The jump cache of a virtual CPU: where the code of a virtual address is.
//!
//! A line takes 16 bytes, so that four share a line of the host's cache. Two lines that lie side by side are the ways of
//! a set: an address belongs to one of them and is looked for in the other, too. Lines outlast switches of the address
//! space, as they name the context that they hold in. The cache doubles as long as there is more code than lines.

#![allow(unsafe_code)]

use crate::microop::BlockHead;

/// Where code is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// The micro-operations of the block with this head.
    Ops(*const BlockHead),
    /// Host code that counts its own instructions.
    Host(u64),
}

impl Entry {
    fn address(self) -> u64 {
        match self {
            Self::Ops(head) => head.expose_provenance() as u64,
            Self::Host(address) => address,
        }
    }
}

/// A number for what code addresses mean, small enough for a line. Zero is none.
pub(crate) type Context = u16;

/// The context of lines that lead nowhere.
const NOWHERE: Context = Context::MAX;

/// Contexts have numbers from 1 to this.
pub(crate) const LAST_CONTEXT: Context = NOWHERE - 1;

/// One line.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct JumpLine {
    pub(crate) pc: u64,
    /// The context in the low 16 bits, above them the address of the code. (Addresses of programs have 48 bits at most
    /// on x86-64 and AArch64.)
    pub(crate) code: u64,
}

impl JumpLine {
    const EMPTY: Self = Self {
        pc: 0,
        code: NOWHERE as u64,
    };

    /// Bits of [`JumpLine::code`] below the address.
    pub(crate) const CODE_SHIFT: u32 = Context::BITS;

    fn context(self) -> Context {
        self.code as Context
    }
}

/// How far an address is shifted to give the two numbers whose exclusive or tells its line.
pub(crate) const JUMP_SHIFTS: [u8; 2] = [1, 13];
/// Lines at first, and at most.
const LINES: [usize; 2] = [1 << 13, 1 << 18];

/// Where the lines are and how many: what running code needs to know.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Lines {
    pub(crate) first: *const JumpLine,
    /// Of a line's number, times its bytes.
    pub(crate) byte_mask: u64,
}

impl Lines {
    /// The code of an address in one of two contexts.
    ///
    /// # Safety
    /// The lines are there.
    #[inline(always)]
    pub(crate) unsafe fn find(self, pc: u64, contexts: [Context; 2]) -> Option<u64> {
        let number = line(pc) & (self.byte_mask as usize / size_of::<JumpLine>());
        [number, number ^ 1].into_iter().find_map(|number| {
            // SAFETY: the mask is of a power of two of lines, at least two.
            let line = unsafe { *self.first.add(number) };
            let holds =
                line.pc == pc && (line.context() == contexts[0] || line.context() == contexts[1]);
            holds.then_some(line.code >> JumpLine::CODE_SHIFT)
        })
    }
}

/// The number of an address's line, not yet cut to the number of lines.
#[inline(always)]
fn line(pc: u64) -> usize {
    let [near, far] = JUMP_SHIFTS;
    ((pc >> near) ^ (pc >> far)) as usize
}

/// Two lines side by side, so that host code gets from the address of one to the other's by changing a bit.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Set([JumpLine; 2]);

/// All lines of a virtual CPU.
pub(crate) struct JumpCache(Box<[Set]>);

impl JumpCache {
    pub(crate) fn new() -> Self {
        Self::with_lines(LINES[0])
    }

    fn with_lines(count: usize) -> Self {
        Self(vec![Set([JumpLine::EMPTY; 2]); count / 2].into())
    }

    fn count(&self) -> usize {
        2 * self.0.len()
    }

    fn line(&mut self, number: usize) -> &mut JumpLine {
        &mut self.0[number / 2].0[number % 2]
    }

    /// For running code; holds until the cache grows.
    pub(crate) fn lines(&self) -> Lines {
        Lines {
            first: self.0.as_ptr().cast(),
            byte_mask: ((self.count() - 1) * size_of::<JumpLine>()) as u64,
        }
    }

    /// Whether it is smaller than the number of blocks makes worth while.
    pub(crate) fn is_small_for(&self, blocks: usize) -> bool {
        blocks > self.count() && self.count() < LINES[1]
    }

    /// Doubles the number of lines.
    pub(crate) fn grow(&mut self) {
        let grown = Self::with_lines(2 * self.count());
        let old = std::mem::replace(self, grown);
        let lines = old.0.into_iter().flat_map(|set| set.0);
        for line in lines.filter(|line| line.context() != NOWHERE) {
            self.put(line);
        }
    }

    /// Notes where the code of an address is.
    pub(crate) fn enter(&mut self, pc: u64, context: Context, code: Entry) {
        let address = code.address();
        let code = address << JumpLine::CODE_SHIFT;
        debug_assert_eq!(code >> JumpLine::CODE_SHIFT, address, "48 bits");
        self.put(JumpLine {
            pc,
            code: code | u64::from(context),
        });
    }

    fn put(&mut self, new: JumpLine) {
        let number = line(new.pc) & (self.count() - 1);
        let old = *self.line(number);
        // What was there before is likelier to be wanted again than what it had replaced.
        if old.pc != new.pc || old.context() != new.context() {
            *self.line(number ^ 1) = old;
        }
        *self.line(number) = new;
    }

    /// Forgets an address.
    pub(crate) fn forget(&mut self, pc: u64) {
        let number = line(pc) & (self.count() - 1);
        for number in [number, number ^ 1] {
            let line = self.line(number);
            if line.pc == pc {
                *line = JumpLine::EMPTY;
            }
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.fill(Set([JumpLine::EMPTY; 2]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(cache: &JumpCache, pc: u64, contexts: [Context; 2]) -> Option<u64> {
        // SAFETY: the cache is there.
        unsafe { cache.lines().find(pc, contexts) }
    }

    #[test]
    fn line_is_found_in_its_contexts_only() {
        let mut cache = JumpCache::new();
        assert_eq!(find(&cache, 0, [0, 0]), None);
        cache.enter(0x1000, 7, Entry::Host(0x7fff_ffff_fff0));
        assert_eq!(find(&cache, 0x1000, [7, 0]), Some(0x7fff_ffff_fff0));
        assert_eq!(find(&cache, 0x1000, [9, 7]), Some(0x7fff_ffff_fff0));
        assert_eq!(find(&cache, 0x1000, [8, 0]), None);
        assert_eq!(find(&cache, 0x1002, [7, 7]), None);
        cache.forget(0x1000);
        assert_eq!(find(&cache, 0x1000, [7, 0]), None);
    }

    #[test]
    fn one_address_in_two_address_spaces_stays_known_in_both() {
        let mut cache = JumpCache::new();
        for round in 0..3 {
            cache.enter(0x1000, 1, Entry::Host(round + 10));
            cache.enter(0x1000, 2, Entry::Host(round + 20));
            assert_eq!(find(&cache, 0x1000, [1, 0]), Some(round + 10));
            assert_eq!(find(&cache, 0x1000, [2, 0]), Some(round + 20));
        }
        cache.forget(0x1000);
        assert_eq!(find(&cache, 0x1000, [1, 2]), None);
    }

    #[test]
    fn two_addresses_of_one_line_are_both_found_and_growing_keeps_them() {
        let mut cache = JumpCache::new();
        let lines = LINES[0] as u64;
        let other = (1..1 << 20)
            .map(|n| n * 2)
            .find(|&pc| (line(pc) as u64).is_multiple_of(lines))
            .expect("some address shares the line");
        cache.enter(0, 1, Entry::Host(100));
        cache.enter(other, 1, Entry::Host(200));
        for _ in 0..3 {
            assert_eq!(find(&cache, 0, [1, 0]), Some(100));
            assert_eq!(find(&cache, other, [1, 0]), Some(200));
            assert!(cache.is_small_for(4 * lines as usize * 4));
            cache.grow();
        }
        assert!(!cache.is_small_for(lines as usize));
        cache.clear();
        assert_eq!(find(&cache, 0, [1, 0]), None);
    }
}
