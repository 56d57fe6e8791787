//! What a virtual CPU finds at guest-physical addresses.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use vm_core::{GuestPhysAddr, HostVirtAddr};

use crate::code::CodePages;
use crate::ram::{GuestMemory, MemoryError, RamRange};

/// Reads of a shadowed range find RAM.
const READS_RAM: u8 = 1 << 0;
/// Writes to a shadowed range reach RAM.
const WRITES_RAM: u8 = 1 << 1;

/// Is told of ranges (first address, bytes) where something else is found now.
pub type Remapped = dyn Fn(GuestPhysAddr, u64) + Send + Sync;

/// A range of RAM that is hidden, at times for reads, writes or both.
#[derive(Debug)]
pub struct Shadow {
    base: GuestPhysAddr,
    bytes: u64,
    /// What reads find where RAM is hidden; devices if it is nothing.
    rom: Option<GuestMemory>,
    state: AtomicU8,
}

impl Shadow {
    /// `bytes` bytes from `base` (whole pages), in whose place reads find `rom`, which has these addresses, or devices. RAM
    /// is hidden until [`PhysMap::uncover`].
    pub fn new(base: GuestPhysAddr, bytes: u64, rom: Option<GuestMemory>) -> Self {
        Self {
            base,
            bytes,
            rom,
            state: AtomicU8::new(0),
        }
    }

    fn holds(&self, addr: GuestPhysAddr) -> bool {
        addr.raw().wrapping_sub(self.base.raw()) < self.bytes
    }

    fn find<'a>(
        &'a self,
        ram: &'a GuestMemory,
        addr: GuestPhysAddr,
        write: bool,
    ) -> Option<Found<'a>> {
        let state = self.state.load(Ordering::SeqCst);
        let [reads, writes] = [READS_RAM, WRITES_RAM].map(|bit| state & bit != 0);
        let is_ram = if write { writes } else { reads };
        match (is_ram, write) {
            (true, _) => Found::of(ram, addr, reads, writes),
            (false, false) => Found::of(self.rom.as_ref()?, addr, true, false),
            (false, true) => None,
        }
    }
}

/// Memory behind a guest-physical address.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    memory: &'a GuestMemory,
    /// The address that the memory itself has for it.
    local: GuestPhysAddr,
    range: &'a RamRange,
    /// Which of it holds code; `None` where code is not looked for.
    pub code: Option<&'a CodePages>,
    /// Whether reads find it.
    pub reads: bool,
    /// Whether writes reach it.
    pub writes: bool,
}

impl<'a> Found<'a> {
    fn of(memory: &'a GuestMemory, addr: GuestPhysAddr, reads: bool, writes: bool) -> Option<Self> {
        let (range, code) = memory.find(addr)?;
        Some(Self {
            memory,
            local: addr,
            range,
            code: Some(code),
            reads,
            writes,
        })
    }

    /// Where this process has it; valid as long as the map, for the rest of the page.
    #[inline]
    pub fn host(&self) -> HostVirtAddr {
        self.range.host + (self.local - self.range.base)
    }

    /// Copies memory from the address on.
    ///
    /// # Errors
    /// When part of it is other memory.
    pub fn read(&self, into: &mut [u8]) -> Result<(), MemoryError> {
        self.memory.read(self.local, into)
    }

    /// Writes memory from the address on, and drops translated code that it overwrites.
    ///
    /// # Errors
    /// When part of it is other memory.
    pub fn write(&self, from: &[u8]) -> Result<(), MemoryError> {
        self.memory.write(self.local, from)
    }
}

/// Memory of a device that virtual CPUs access directly where the guest has placed it, such as what a display shows.
struct Aperture {
    /// From address 0 on.
    memory: GuestMemory,
    bytes: u64,
    at: AtomicU64,
}

/// No address: nothing is found at it.
const NOWHERE: u64 = u64::MAX;

impl Aperture {
    /// DEVIATION: code in it is not found again when it is written over; no system runs code from there.
    fn find(&self, addr: GuestPhysAddr) -> Option<Found<'_>> {
        let local = addr.raw().checked_sub(self.at.load(Ordering::SeqCst))?;
        let found = Found::of(&self.memory, GuestPhysAddr(local), true, true)?;
        Some(Found {
            code: None,
            ..found
        })
    }
}

/// What a [`PhysMap`] has beside RAM.
#[derive(Default)]
pub struct MapParts {
    /// ROM, which has its addresses.
    pub roms: Vec<GuestMemory>,
    /// Ranges of RAM that can be hidden.
    pub shadows: Vec<Shadow>,
    /// Devices' memory, from address 0 on, and nowhere until [`PhysMap::place`].
    pub apertures: Vec<GuestMemory>,
}

struct Inner {
    ram: GuestMemory,
    roms: Vec<GuestMemory>,
    shadows: Vec<Shadow>,
    apertures: Vec<Aperture>,
    /// First address and bytes of the least range that has all shadows.
    span: (u64, u64),
    remapped: OnceLock<Box<Remapped>>,
}

impl Inner {
    fn tell(&self, base: GuestPhysAddr, bytes: u64) {
        if let Some(remapped) = self.remapped.get() {
            remapped(base, bytes);
        }
    }
}

/// The physical address space of virtual CPUs, as far as it is memory: RAM, ROM beside it, ranges of RAM that can be hidden,
/// and devices' memory. What is not memory is for devices. Clones share it.
///
/// Devices' transfers go to RAM whatever is hidden.
#[derive(Clone)]
pub struct PhysMap(Arc<Inner>);

impl From<GuestMemory> for PhysMap {
    fn from(ram: GuestMemory) -> Self {
        Self::new(ram, MapParts::default())
    }
}

impl PhysMap {
    /// RAM with what there is over and beside it. Virtual CPUs read and run from ROM; writes to it and to hidden RAM go to
    /// devices.
    pub fn new(ram: GuestMemory, parts: MapParts) -> Self {
        let MapParts {
            roms,
            shadows,
            apertures,
        } = parts;
        let first = shadows.iter().map(|it| it.base.raw()).min().unwrap_or(0);
        let end = shadows.iter().map(|it| it.base.raw() + it.bytes).max();
        let span = (first, end.unwrap_or(first) - first);
        let apertures = apertures.into_iter().map(|memory| Aperture {
            bytes: memory.total_bytes(),
            memory,
            at: AtomicU64::new(NOWHERE),
        });
        Self(Arc::new(Inner {
            ram,
            roms,
            shadows,
            apertures: apertures.collect(),
            span,
            remapped: OnceLock::new(),
        }))
    }

    /// RAM, hidden or not.
    pub fn ram(&self) -> &GuestMemory {
        &self.0.ram
    }

    /// What reads, or writes, of an address find; `None` when it is left to devices.
    #[inline]
    pub fn find(&self, addr: GuestPhysAddr, write: bool) -> Option<Found<'_>> {
        let inner = &*self.0;
        let (first, bytes) = inner.span;
        if addr.raw().wrapping_sub(first) < bytes
            && let Some(shadow) = inner.shadows.iter().find(|it| it.holds(addr))
        {
            return shadow.find(&inner.ram, addr, write);
        }
        Found::of(&inner.ram, addr, true, true).or_else(|| self.beside(addr, write))
    }

    fn beside(&self, addr: GuestPhysAddr, write: bool) -> Option<Found<'_>> {
        let mut apertures = self.0.apertures.iter();
        let mut roms = self.0.roms.iter().filter(|_| !write);
        roms.find_map(|rom| Found::of(rom, addr, true, false))
            .or_else(|| apertures.find_map(|aperture| aperture.find(addr)))
    }

    /// Says for the shadow that begins at `base` whether reads find RAM, and whether writes reach it. Virtual CPUs act on it from
    /// their next block on.
    pub fn uncover(&self, base: GuestPhysAddr, reads: bool, writes: bool) {
        let Some(shadow) = self.0.shadows.iter().find(|it| it.base == base) else {
            return;
        };
        let bit = |set, bit| if set { bit } else { 0 };
        let state = bit(reads, READS_RAM) | bit(writes, WRITES_RAM);
        if shadow.state.swap(state, Ordering::SeqCst) != state {
            self.0.tell(shadow.base, shadow.bytes);
        }
    }

    /// Puts the aperture of that number at an address, of whole pages, or nowhere. RAM and ROM that are there hide it. Virtual
    /// CPUs act on it from their next block on.
    pub fn place(&self, aperture: usize, at: Option<GuestPhysAddr>) {
        let Some(aperture) = self.0.apertures.get(aperture) else {
            return;
        };
        let at = at.map_or(NOWHERE, GuestPhysAddr::raw);
        let before = aperture.at.swap(at, Ordering::SeqCst);
        for place in [before, at].into_iter().filter(|_| before != at) {
            if place != NOWHERE {
                self.0.tell(GuestPhysAddr(place), aperture.bytes);
            }
        }
    }

    /// Names who is told of changes. The first that is named stays.
    pub fn on_remapped(&self, remapped: Box<Remapped>) {
        // A second call is a machine that is wired twice; what was first goes on.
        let _ = self.0.remapped.set(remapped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn memory(base: u64, bytes: u64, first: u8) -> GuestMemory {
        let memory = GuestMemory::new(&[(GuestPhysAddr(base), bytes)]).unwrap();
        memory.write(GuestPhysAddr(base), &[first]).unwrap();
        memory
    }

    fn first_byte(found: Option<Found<'_>>) -> Option<u8> {
        let mut byte = [0];
        found?.read(&mut byte).unwrap();
        Some(byte[0])
    }

    #[test]
    fn find_follows_each_shadow_and_tells_of_changes() {
        let ram = memory(0, 0x10000, 0);
        ram.write(GuestPhysAddr(0x4000), &[1]).unwrap();
        ram.write(GuestPhysAddr(0x8000), &[2]).unwrap();
        let rom = memory(0x8000, 0x1000, 3);
        let top = memory(0xf_0000, 0x1000, 4);
        let shadow = |base, rom| Shadow::new(GuestPhysAddr(base), 0x1000, rom);
        let shadows = vec![shadow(0x4000, None), shadow(0x8000, Some(rom))];
        let parts = MapParts {
            roms: vec![top],
            shadows,
            apertures: vec![memory(0, 0x2000, 5)],
        };
        let map = PhysMap::new(ram, parts);
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        map.on_remapped(Box::new(move |base, bytes| {
            log.lock().unwrap().push((base.raw(), bytes));
        }));
        let seen = |addr| {
            let at = |write| first_byte(map.find(GuestPhysAddr(addr), write));
            (at(false), at(true))
        };
        assert_eq!(seen(0x0), (Some(0), Some(0)));
        assert_eq!(seen(0x4000), (None, None));
        assert_eq!(seen(0x8000), (Some(3), None));
        assert_eq!(seen(0xf_0000), (Some(4), None));
        assert_eq!(seen(0x9000), (Some(0), Some(0)));
        map.uncover(GuestPhysAddr(0x8000), false, true);
        assert_eq!(seen(0x8000), (Some(3), Some(2)));
        map.uncover(GuestPhysAddr(0x8000), true, true);
        assert_eq!(seen(0x8000), (Some(2), Some(2)));
        map.uncover(GuestPhysAddr(0x8000), true, false);
        assert_eq!(seen(0x8000), (Some(2), None));
        map.uncover(GuestPhysAddr(0x8000), true, false);
        map.uncover(GuestPhysAddr(0x5000), true, true);
        assert_eq!(
            std::mem::take(&mut *told.lock().unwrap()),
            [(0x8000, 0x1000); 3]
        );
        map.place(0, Some(GuestPhysAddr(0x10_0000)));
        assert_eq!(seen(0x10_0000), (Some(5), Some(5)));
        assert_eq!(seen(0x10_1000), (Some(0), Some(0)));
        assert_eq!(seen(0x10_2000), (None, None));
        map.place(0, Some(GuestPhysAddr(0x20_0000)));
        assert_eq!(
            (seen(0x10_0000), seen(0x20_0000).0),
            ((None, None), Some(5))
        );
        map.place(0, None);
        assert_eq!(seen(0x20_0000), (None, None));
        map.place(0, None);
        let moves = [0x10_0000, 0x10_0000, 0x20_0000, 0x20_0000];
        assert_eq!(*told.lock().unwrap(), moves.map(|at| (at, 0x2000)));
    }
}
