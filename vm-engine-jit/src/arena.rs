//! Where host code lives: executable memory that each page of guest code has pieces of.
//!
//! The blocks of a guest page are run together and thrown away together, so their code lies together: the way through
//! in one *extent* of the page, what is out of the way in another. An extent is a power of two of bytes; a page's next
//! one is as large as all it has, so that pages with little code take little. Extents of one size fill a *chunk*, which
//! serves another size when all its extents are free. An extent is free when all code in it is gone.

#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use vm_core::GuestPhysAddr;
use vm_engine::PageMap;
use vm_engine::tier::HostPlace;
use vm_osal::ExecutableMemory;

use crate::asm::DISPLACEMENT_BYTES;
use crate::template::{Site, Ways};

/// Bytes of a chunk, the most that one block's code may take.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// Bytes of the smallest extent: a chunk has as many as a word has bits.
const LEAST_BYTES: usize = CHUNK_BYTES / u64::BITS as usize;
/// Bytes of the largest extent that is made for code still to come.
const MOST_BYTES: usize = 16 << 10;
/// Sizes of extents.
const SIZES: usize = (CHUNK_BYTES / LEAST_BYTES).ilog2() as usize + 1;
/// Code starts at multiples of this, as displacements that are replaced lie at multiples of four.
const ALIGN: usize = 4;
/// Chunks that are filled before their pages are taken out of the mapping by which they were written.
const WRITTEN_CHUNKS: usize = 16;

/// Which code of a block: the way through, and what is out of the way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Part {
    Hot,
    Cold,
}

/// The extents of one part of a guest page.
#[derive(Debug, Default)]
struct Extents {
    /// Where the one starts that takes new code, if there is any.
    current: Option<usize>,
    /// Bytes of all.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Extent {
    of: (GuestPhysAddr, Part),
    bytes: usize,
    used: usize,
    /// Pieces of code alive in it.
    live: u32,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    /// Logarithm of the extents' bytes over [`LEAST_BYTES`].
    size: u8,
    /// A bit for each extent in use.
    used: u64,
    /// All extents, of which some may not be in use; none where the chunk never had any of this size.
    extents: Vec<Extent>,
}

#[derive(Debug)]
struct Chunks {
    chunks: Vec<Chunk>,
    /// Chunks without extents.
    free: Vec<usize>,
    /// For each size, chunks with extents of which some are free.
    partly: [Vec<usize>; SIZES],
    /// Chunks that were taken since pages were last taken out of the mapping.
    written: usize,
    /// The extents of each guest page, by [`Part`].
    pages: PageMap<[Extents; 2]>,
}

/// Executable memory to put code into.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: ExecutableMemory,
    chunks: Mutex<Chunks>,
    /// What jumps within a page do that are linked, and that are kept apart.
    ways: OnceLock<Ways>,
}

/// A place for code in the arena.
#[derive(Debug)]
struct Place {
    extent: u32,
    offset: u32,
    bytes: u32,
}

impl Place {
    fn offset(&self) -> usize {
        self.offset as usize
    }

    fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

/// Places for the parts of one block's code, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Piece {
    arena: Arc<Arena>,
    hot: Place,
    cold: Place,
}

/// The logarithm of an extent's bytes over the least.
fn size_of_extent(bytes: usize) -> usize {
    bytes.div_ceil(LEAST_BYTES).next_power_of_two().ilog2() as usize
}

/// The bits of all extents of a chunk.
fn all_of(size: usize) -> u64 {
    u64::MAX >> (u64::BITS as usize - CHUNK_BYTES / (LEAST_BYTES << size))
}

impl Chunks {
    /// A free extent of a size; says whether it is in a chunk that had none.
    fn take_extent(&mut self, size: usize) -> Option<(usize, bool)> {
        let (bytes, all) = (LEAST_BYTES << size, all_of(size));
        if let Some(&number) = self.partly[size].last() {
            let chunk = &mut self.chunks[number];
            let n = chunk.used.trailing_ones() as usize;
            chunk.used |= 1 << n;
            if chunk.used == all {
                self.partly[size].pop();
            }
            return Some((number * CHUNK_BYTES + n * bytes, false));
        }
        let number = self.free.pop()?;
        let chunk = &mut self.chunks[number];
        (chunk.size, chunk.used) = (size as u8, 1);
        chunk.extents.clear();
        if all != 1 {
            self.partly[size].push(number);
        }
        Some((number * CHUNK_BYTES, true))
    }

    /// The extent that starts there.
    fn extent(&mut self, start: usize) -> &mut Extent {
        let chunk = &mut self.chunks[start / CHUNK_BYTES];
        let n = start % CHUNK_BYTES / (LEAST_BYTES << chunk.size);
        &mut chunk.extents[n]
    }

    /// Notes what an extent in use is for now.
    fn set_extent(&mut self, start: usize, extent: Extent) {
        let chunk = &mut self.chunks[start / CHUNK_BYTES];
        let n = start % CHUNK_BYTES / extent.bytes;
        // Those of a chunk are first taken in order.
        match chunk.extents.get_mut(n) {
            Some(place) => *place = extent,
            None => chunk.extents.push(extent),
        }
    }

    /// Frees an extent.
    fn release_extent(&mut self, start: usize) {
        let extent = self.extent(start);
        let ((of, part), bytes) = (extent.of, extent.bytes);
        if let Some(parts) = self.pages.get_mut(&of.raw()) {
            let page = &mut parts[part as usize];
            page.bytes -= bytes;
            page.current = page.current.filter(|&current| current != start);
            if parts.iter().all(|part| part.bytes == 0) {
                self.pages.remove(&of.raw());
            }
        }
        let number = start / CHUNK_BYTES;
        let chunk = &mut self.chunks[number];
        let (size, before) = (usize::from(chunk.size), chunk.used);
        chunk.used &= !(1 << (start % CHUNK_BYTES / (LEAST_BYTES << size)));
        if chunk.used == 0 {
            self.free.push(number);
            self.partly[size].retain(|&other| other != number);
        } else if before == all_of(size) {
            self.partly[size].push(number);
        }
    }
}

impl Arena {
    /// Manages executable memory; a remainder of less than a chunk is not used.
    pub(crate) fn new(memory: ExecutableMemory) -> Arc<Self> {
        // Offsets have 32 bits, and jumps reach 2 GiB.
        let count = memory.bytes().min(1 << 31) / CHUNK_BYTES;
        Arc::new(Self {
            memory,
            chunks: Mutex::new(Chunks {
                chunks: vec![Chunk::default(); count],
                free: (0..count).rev().collect(),
                partly: Default::default(),
                written: 0,
                pages: PageMap::default(),
            }),
            ways: OnceLock::new(),
        })
    }

    /// Says where the shared code for jumps is, once that is there.
    pub(crate) fn set_ways(&self, ways: Ways) {
        // Said twice, the first holds; nobody does.
        let _ = self.ways.set(ways);
    }

    fn lock(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places for a block's code, so many bytes of each part, made from a guest page; `None` when there is no room.
    pub(crate) fn allocate(
        self: &Arc<Self>,
        page: GuestPhysAddr,
        hot_bytes: usize,
        cold_bytes: usize,
    ) -> Option<Piece> {
        let mut chunks = self.lock();
        let hot = self.place(&mut chunks, (page, Part::Hot), hot_bytes)?;
        let Some(cold) = self.place(&mut chunks, (page, Part::Cold), cold_bytes) else {
            self.give_back(&mut chunks, &hot);
            return None;
        };
        drop(chunks);
        Some(Piece {
            arena: self.clone(),
            hot,
            cold,
        })
    }

    fn place(&self, chunks: &mut Chunks, of: (GuestPhysAddr, Part), bytes: usize) -> Option<Place> {
        let bytes = bytes.max(1).next_multiple_of(ALIGN);
        if bytes > CHUNK_BYTES {
            return None;
        }
        let (current, all) = match chunks.pages.get(&of.0.raw()) {
            Some(parts) => (parts[of.1 as usize].current, parts[of.1 as usize].bytes),
            None => (None, 0),
        };
        let has_room = |extent: &Extent| extent.used + bytes <= extent.bytes;
        let start = match current {
            Some(start) if has_room(chunks.extent(start)) => start,
            _ => self.extend(chunks, of, bytes.max(all.min(MOST_BYTES)))?,
        };
        let extent = chunks.extent(start);
        let offset = start + extent.used;
        extent.used += bytes;
        extent.live += 1;
        Some(Place {
            extent: start as u32,
            offset: offset as u32,
            bytes: bytes as u32,
        })
    }

    /// Gives a page another extent to put code into.
    fn extend(
        &self,
        chunks: &mut Chunks,
        of: (GuestPhysAddr, Part),
        bytes: usize,
    ) -> Option<usize> {
        let size = size_of_extent(bytes);
        let bytes = LEAST_BYTES << size;
        let (start, new_chunk) = chunks.take_extent(size)?;
        if new_chunk {
            chunks.written += 1;
            if chunks.written == WRITTEN_CHUNKS {
                chunks.written = 0;
                let all = chunks.chunks.len() * CHUNK_BYTES;
                self.memory.drop_writable_pages(0, all);
            }
            let chunk = start / CHUNK_BYTES * CHUNK_BYTES;
            self.memory.populate(chunk, CHUNK_BYTES);
        }
        let page = &mut chunks.pages.entry(of.0.raw()).or_default()[of.1 as usize];
        page.bytes += bytes;
        page.current = Some(start);
        let extent = Extent {
            of,
            bytes,
            used: 0,
            live: 0,
        };
        chunks.set_extent(start, extent);
        Some(start)
    }

    fn give_back(&self, chunks: &mut Chunks, place: &Place) {
        let start = place.extent as usize;
        let extent = chunks.extent(start);
        extent.live -= 1;
        if extent.live == 0 {
            chunks.release_extent(start);
        }
    }
}

impl Piece {
    /// Where its code is executed: the way through, and what is out of the way.
    pub(crate) fn addresses(&self) -> [u64; 2] {
        [&self.hot, &self.cold].map(|place| self.arena.memory.address(place.offset()))
    }

    /// Bytes taken by each.
    pub(crate) fn bytes(&self) -> [usize; 2] {
        [self.hot.bytes(), self.cold.bytes()]
    }

    /// Puts the code there. Nobody knows the addresses yet, which is why this takes the piece by mutable reference.
    pub(crate) fn fill(&mut self, hot: &[u8], cold: &[u8]) {
        for (place, code) in [(&self.hot, hot), (&self.cold, cold)] {
            assert!(
                code.len() <= place.bytes(),
                "invariant: the piece was made for the code"
            );
            // SAFETY: the range is this piece's alone, and nobody executes a piece before it is filled.
            unsafe { self.arena.memory.write(place.offset(), code) }
        }
    }

    /// Replaces the displacement `at` bytes into one of the parts.
    ///
    /// # Safety
    /// It is the displacement of a jump or call; with the target the code does what it is for, and it is there as long as
    /// this code.
    unsafe fn lead(&self, of: &Place, at: usize, target: u64) {
        let end = at + DISPLACEMENT_BYTES as usize;
        assert!(end <= of.bytes(), "invariant: the jump is of this piece");
        let from = self.arena.memory.address(of.offset()) + end as u64;
        let displacement = i32::try_from(target.wrapping_sub(from) as i64);
        let displacement = displacement.expect("invariant: one arena");
        // SAFETY: the caller's promise.
        unsafe {
            let place = of.offset() + at;
            self.arena.memory.replace(place, displacement as u32);
        }
    }

    /// Where in the part out of the way a site is, and what stands there.
    fn site(&self, site: u64) -> (usize, Site) {
        assert!(self.holds(site), "invariant: the site is of this piece");
        let [_, cold] = self.addresses();
        let bytes: *const [u8; Site::BYTES] = std::ptr::with_exposed_provenance(site as usize);
        // SAFETY: the site is of this piece, whose code can be read, and has this many bytes.
        let found = Site::read(unsafe { bytes.read() });
        ((site - cold) as usize, found)
    }

    /// Has the call before a site go elsewhere.
    fn replace_way(&self, at: usize, way: impl Fn(&Ways) -> u64) {
        let ways = self.arena.ways.get();
        let ways = ways.expect("invariant: shared code is there before blocks");
        // SAFETY: each of the ways does what a jump within the page needs.
        unsafe { self.lead(&self.cold, at - DISPLACEMENT_BYTES as usize, way(ways)) }
    }
}

impl HostPlace for Piece {
    fn holds(&self, site: u64) -> bool {
        let [_, cold] = self.addresses();
        (cold..cold + self.cold.bytes() as u64).contains(&site)
    }

    fn link(&self, site: u64, target: u64) {
        let (at, site) = self.site(site);
        if let Some(jump) = site.jump() {
            // SAFETY: the jump has led out of the block and now leads to another one, which is dropped no sooner.
            unsafe { self.lead(&self.hot, jump as usize, target) }
            self.replace_way(at, |ways| ways.linked);
        }
    }

    fn keep_apart(&self, site: u64) {
        let (at, _) = self.site(site);
        self.replace_way(at, |ways| ways.apart);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut chunks = self.arena.lock();
        self.arena.give_back(&mut chunks, &self.hot);
        self.arena.give_back(&mut chunks, &self.cold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: GuestPhysAddr = GuestPhysAddr(0x8000_0000);
    const OTHER: GuestPhysAddr = GuestPhysAddr(0x8000_1000);

    fn arena(chunks: usize) -> Arc<Arena> {
        Arena::new(ExecutableMemory::new(chunks * CHUNK_BYTES).expect("this host allows it"))
    }

    #[test]
    fn code_of_a_page_lies_together_apart_from_what_is_out_of_the_way() {
        let arena = arena(8);
        let mut pieces = Vec::new();
        for _ in 0..20 {
            for page in [PAGE, OTHER] {
                pieces.push((page, arena.allocate(page, 41, 100).expect("there is room")));
            }
        }
        for page in [PAGE, OTHER] {
            let of_page = pieces.iter().filter(|(of, _)| *of == page);
            let at: Vec<u64> = of_page.map(|(_, piece)| piece.addresses()[0]).collect();
            assert!(at.windows(2).all(|pair| pair[1] == pair[0] + 44), "{at:x?}");
        }
        let mut taken: Vec<(u64, u64)> = pieces
            .iter()
            .flat_map(|(_, piece)| std::iter::zip(piece.addresses(), piece.bytes()))
            .map(|(at, bytes)| (at, at + bytes as u64))
            .collect();
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }

    #[test]
    fn arena_full_of_live_code_refuses_and_takes_extents_back() {
        let arena = arena(2);
        let first = arena.allocate(PAGE, CHUNK_BYTES, CHUNK_BYTES).unwrap();
        assert!(arena.allocate(OTHER, 1, 1).is_none());
        drop(first);
        assert!(arena.allocate(PAGE, CHUNK_BYTES + 1, 1).is_none());
        // All sizes of extents have their turn in the two chunks.
        for size in (0..SIZES - 1).chain((0..SIZES - 1).rev()) {
            let bytes = LEAST_BYTES << size;
            let pieces: Vec<Piece> = (0..)
                .map_while(|n| arena.allocate(PAGE + n * 4096, bytes, bytes))
                .collect();
            assert_eq!(pieces.len(), CHUNK_BYTES / bytes);
        }
        let chunks = arena.lock();
        assert_eq!(chunks.free.len(), 2);
        assert!(chunks.pages.is_empty());
    }

    #[test]
    fn page_whose_code_is_made_again_and_again_takes_no_more_room() {
        let arena = arena(4);
        let mut old = arena.allocate(PAGE, 100, 100).unwrap();
        for _ in 0..10_000 {
            old = arena.allocate(PAGE, 100, 100).expect("old code is gone");
        }
        let chunks = arena.lock();
        let page = &chunks.pages[&PAGE.raw()];
        let bytes: usize = page.iter().map(|part| part.bytes).sum();
        assert!(bytes <= 4 * MOST_BYTES, "{bytes}");
        drop(chunks);
        drop(old);
    }
}
