//! What the interpreter does in a block that host code is about to run for real.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use vm_core::AccessWidth;
use vm_mem::{TlbSet, access};

/// Something that a block asked the outside for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Read(u64, AccessWidth),
    Write(u64, AccessWidth, u64),
    PortRead(u16, AccessWidth),
    PortWrite(u16, AccessWidth, u64),
    /// Registers of the virtual CPU's own interrupt controller.
    LocalRead(u32),
    LocalWrite(u32, u64),
    /// What it hands over.
    Acknowledge,
    Startup,
    Time,
    Lines,
    Random,
}

/// Where a virtual CPU is in a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It compares nothing.
    Idle,
    /// The interpreter runs, and what it does is kept back.
    Recording,
    /// The host code runs, with the answers that the interpreter got.
    Following,
}

/// Bytes of an aligned word of RAM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// Guest-physical address, a multiple of eight.
    pub(super) phys: u64,
    /// The bytes meant: all ones at each.
    pub(super) mask: u64,
    /// Their values; zero elsewhere.
    pub(super) value: u64,
}

impl Word {
    /// The parts of `value`, of `bytes` bytes at `phys`, in the one or two words that they lie in.
    fn parts(phys: u64, bytes: u64, value: u64) -> impl Iterator<Item = Self> {
        let mask = u64::MAX >> (64 - 8 * bytes);
        let (shift, base) = (8 * (phys % 8), phys & !7);
        let high = |of: u64| of.checked_shr(64 - shift as u32).unwrap_or(0);
        let value = value & mask;
        let words = [
            (base, mask << shift, value << shift),
            (base.wrapping_add(8), high(mask), high(value)),
        ];
        words
            .into_iter()
            .filter(|&(_, mask, _)| mask != 0)
            .map(|(phys, mask, value)| Self { phys, mask, value })
    }
}

/// Words that were stored, one of each address. Most blocks store a few; those that fill and copy store a thousand.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) words: Vec<Word>,
    /// Where the word of an address is, once there are more than [`Stored::FEW`].
    places: HashMap<u64, usize>,
}

impl Stored {
    const FEW: usize = 16;

    fn clear(&mut self) {
        if self.words.len() > Self::FEW {
            self.places.clear();
        }
        self.words.clear();
    }

    fn place(&self, phys: u64) -> Option<usize> {
        if self.words.len() <= Self::FEW {
            return self.words.iter().position(|word| word.phys == phys);
        }
        self.places.get(&phys).copied()
    }

    fn find(&self, phys: u64) -> Option<&Word> {
        self.place(phys).map(|at| &self.words[at])
    }

    fn put(&mut self, part: Word) {
        if let Some(at) = self.place(part.phys) {
            let word = &mut self.words[at];
            word.mask |= part.mask;
            word.value = word.value & !part.mask | part.value;
            return;
        }
        self.words.push(part);
        let count = self.words.len();
        if count > Self::FEW {
            let from = if count == Self::FEW + 1 { 0 } else { count - 1 };
            let words = self.words[from..].iter().enumerate();
            self.places
                .extend(words.map(|(n, word)| (word.phys, from + n)));
        }
    }
}

/// What a rehearsal did, and how far the real run has followed. Made once, and used again for every block.
pub(super) struct Rehearsal {
    pub(super) phase: Phase,
    /// Matches no address, so that every access takes the slow path.
    pub(super) nowhere: Box<TlbSet>,
    /// What was stored, one entry for each word.
    pub(super) stored: Stored,
    /// What was found in RAM before.
    pub(super) loaded: Vec<Word>,
    /// What was asked, and the answers.
    pub(super) log: RefCell<Vec<(Asked, Option<u64>)>>,
    /// Entries of the log that the real run has asked for.
    pub(super) followed: Cell<usize>,
    /// The first thing that the real run asked for and the rehearsal had not.
    pub(super) strayed: Cell<Option<Asked>>,
    /// What an atomic operation works on.
    pub(super) scratch: Box<[u64; 2]>,
}

impl Rehearsal {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            nowhere: Box::new(TlbSet::empty()),
            stored: Stored::default(),
            loaded: Vec::new(),
            log: RefCell::default(),
            followed: Cell::new(0),
            strayed: Cell::new(None),
            scratch: Box::new([0; 2]),
        }
    }

    /// Begins with another block.
    pub(super) fn start(&mut self) {
        self.phase = Phase::Recording;
        self.stored.clear();
        self.loaded.clear();
        self.log.get_mut().clear();
        self.followed.set(0);
        self.strayed.set(None);
    }

    /// What the rehearsal sees at `bytes` bytes of RAM, eight at most, which the host has at `host`.
    pub(super) fn load(&mut self, phys: u64, host: u64, bytes: u64) -> u64 {
        // SAFETY: the caller's bytes lie in one page of mapped RAM.
        let mut value = unsafe { access::load(host, bytes.trailing_zeros() as u8) };
        self.loaded.extend(Word::parts(phys, bytes, value));
        if self.stored.words.is_empty() {
            return value;
        }
        let (shift, base) = (8 * (phys % 8), phys & !7);
        if let Some(word) = self.stored.find(base) {
            value = value & !(word.mask >> shift) | word.value >> shift;
        }
        if shift != 0
            && let Some(word) = self.stored.find(base.wrapping_add(8))
        {
            let up = 64 - shift;
            value = value & !(word.mask << up) | word.value << up;
        }
        value & (u64::MAX >> (64 - 8 * bytes))
    }

    /// Keeps back a store of up to eight bytes.
    pub(super) fn store(&mut self, phys: u64, bytes: u64, value: u64) {
        for part in Word::parts(phys, bytes, value) {
            self.stored.put(part);
        }
    }

    /// The bytes of a word that the rehearsal did not store.
    pub(super) fn unstored(&self, word: &Word) -> u64 {
        let stored = self.stored.find(word.phys);
        word.mask & !stored.map_or(0, |stored| stored.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_words_are_found_as_few_are() {
        let mut stored = Stored::default();
        for round in 0..3 {
            for n in 0..100 {
                let (phys, mask) = (8 * (n * 7 % 100), 0xff << (8 * (n % 8)));
                let value = mask & (0x0101_0101_0101_0101 * (round + 1));
                stored.put(Word { phys, mask, value });
                stored.put(Word {
                    phys,
                    mask: 1,
                    value: 1,
                });
                let word = stored.find(phys).expect("stored");
                assert_eq!((word.mask, word.value & mask & !1), (mask | 1, value & !1));
                assert!(stored.find(phys + 800).is_none());
            }
            assert_eq!(stored.words.len(), 100);
            stored.clear();
            assert!(stored.find(0).is_none());
        }
    }

    #[test]
    fn loads_see_the_stores_before_them_however_they_overlap() {
        let ram: Vec<u64> = (0..4).map(|n| 0x0101_0101_0101_0101 * (n + 1)).collect();
        let host = ram.as_ptr().expose_provenance() as u64;
        let mut bytes: Vec<u8> = ram.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut rehearsal = Rehearsal::new();
        rehearsal.start();
        let mut random = 1_u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let size = 1 << (random >> 40 & 3);
            let at = (random >> 50) % (32 - size + 1);
            let place = at as usize..(at + size) as usize;
            if random >> 63 == 0 {
                rehearsal.store(0x8000_0000 + at, size, random);
                bytes[place].copy_from_slice(&random.to_le_bytes()[..size as usize]);
            } else {
                let mut expected = [0; 8];
                expected[..size as usize].copy_from_slice(&bytes[place]);
                let found = rehearsal.load(0x8000_0000 + at, host + at, size);
                assert_eq!(found, u64::from_le_bytes(expected), "{size} bytes at {at}");
            }
        }
        assert!(rehearsal.stored.words.len() <= 4);
    }
}
