//! Where everything goes in RAM, and how the boot processor starts.
//!
//! What the kernel is told lies in conventional memory at fixed places, tables that systems look for between
//! [`TABLES_START`] and 1 MiB, the kernel where it wants to be, and the RAM disk as high as kernel and RAM allow.

use vm_core::{GuestPhysAddr, PAGE_BYTES};
use vm_mem::GuestMemory;

use super::entry::{self, EntryMode, EntryState, GDT_BYTES, GeneralRegisters};
use super::identity_map::{IDENTITY_MAP_BYTES, identity_map};
use super::memory_map::{CONVENTIONAL_END, HIGH_RAM_BASE, MapEntry, PcRam, TABLES_START, boot_map};
use super::multiboot::{self, MultibootInfo};
use super::pvh::StartInfo;
use super::zero_page::{LoaderFacts, zero_page};
use crate::image::{BzImage, ElfProgram, MultibootProgram, Program, ProgramKind, Segment};
use crate::part::{Part, check_apart};
use crate::{BootError, BootFile, Extent};

const MIB: u64 = 1 << 20;

/// Fixed places in conventional memory: descriptor table, page tables, what the kernel is told, command line.
const GDT: GuestPhysAddr = GuestPhysAddr(0x500);
const PAGE_TABLES: GuestPhysAddr = GuestPhysAddr(0x9000);
const INFORMATION: GuestPhysAddr = GuestPhysAddr(0x1_0000);
const COMMAND_LINE: GuestPhysAddr = GuestPhysAddr(0x2_0000);
/// Bytes from the information to the command line.
const INFORMATION_ROOM_BYTES: u64 = COMMAND_LINE.raw() - INFORMATION.raw();
/// Longest command line for other kernels than bzImages, which say what they take.
const COMMAND_LINE_MAX_BYTES: u64 = 4095;
/// The 64-bit entry of a bzImage, from the start of its protected-mode kernel.
const LONG64_ENTRY: u64 = 0x200;

/// By which entry a bzImage is started.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LinuxEntry {
    /// The 64-bit entry if the kernel has one, or else the 32-bit entry.
    #[default]
    Auto,
    /// The 64-bit entry.
    Long64,
    /// The 32-bit entry, which every bzImage has.
    Protected32,
}

/// Tables for the system, ready for their places in RAM.
#[derive(Clone, Debug, Default)]
pub struct SystemTables {
    /// What goes where.
    pub parts: Vec<(GuestPhysAddr, Vec<u8>)>,
    /// Where ACPI's root pointer is, when there is ACPI.
    pub rsdp: Option<GuestPhysAddr>,
}

/// What is to be booted.
#[derive(Clone, Debug)]
pub struct BootRequest {
    /// The kernel: a bzImage, an ELF file with a PVH entry, or a multiboot program.
    pub kernel: Program,
    /// The RAM disk, or the only module, that the kernel is told of.
    pub initrd: Option<BootFile>,
    /// The kernel's command line.
    pub command_line: String,
    /// The machine's RAM.
    pub ram: PcRam,
    /// Ranges of devices that the memory map keeps the system from.
    pub reserved: Vec<Extent>,
    /// ACPI's and other tables.
    pub tables: SystemTables,
    /// By which entry a bzImage is started.
    pub entry: LinuxEntry,
}

/// Where everything goes, and how the boot processor starts. The other processors wait for a start-up interrupt.
#[derive(Clone, Debug)]
pub struct BootPlan {
    parts: Vec<Part>,
    written: Vec<(GuestPhysAddr, Vec<u8>)>,
    initrd: Option<Extent>,
    map: Vec<MapEntry>,
    entry: EntryState,
}

/// How the kernel is entered, and what it takes.
struct Placed<'a> {
    kind: Kind<'a>,
    /// First address behind the kernel.
    end: GuestPhysAddr,
    initrd_max: u64,
    high_initrd: bool,
    command_line_max: u64,
}

enum Kind<'a> {
    Linux(&'a BzImage, EntryMode),
    Pvh(GuestPhysAddr),
    Multiboot(&'a MultibootProgram),
}

impl BootPlan {
    /// Finds a place for everything that `request` names.
    ///
    /// # Errors
    /// When the kernel has no entry that can be used, RAM is too small, the command line too long, or parts want
    /// the same RAM.
    pub fn new(request: &BootRequest) -> Result<Self, BootError> {
        let mut placer = Placer {
            ram: request.ram,
            parts: Vec::new(),
        };
        let placed = placer.kernel(&request.kernel, request.entry)?;
        let bytes = request.command_line.len() as u64;
        if bytes > placed.command_line_max {
            let max = placed.command_line_max;
            return Err(BootError::CommandLineTooLong { bytes, max });
        }
        let initrd = match &request.initrd {
            Some(file) => Some(placer.initrd(file, &placed)?),
            None => None,
        };
        let map = boot_map(request.ram, &request.reserved);
        let information = information(request, &placed, initrd, &map);
        assert!(
            information.len() as u64 <= INFORMATION_ROOM_BYTES,
            "invariant: a machine has few reserved ranges"
        );
        let entry = entry_state(&placed);
        let mut command_line = request.command_line.clone().into_bytes();
        command_line.push(0);
        let mut written = vec![
            (GDT, entry::descriptors(entry.mode).to_vec()),
            (INFORMATION, information),
            (COMMAND_LINE, command_line),
        ];
        if entry.mode == EntryMode::Long64 {
            written.push((PAGE_TABLES, identity_map(PAGE_TABLES)));
        }
        written.extend(request.tables.parts.iter().cloned());
        check_apart(&placer.parts, &places(&written))?;
        Ok(Self {
            parts: placer.parts,
            written,
            initrd,
            map,
            entry,
        })
    }

    /// How the boot processor starts.
    pub fn entry(&self) -> &EntryState {
        &self.entry
    }

    /// Where the RAM disk lies.
    pub fn initrd(&self) -> Option<Extent> {
        self.initrd
    }

    /// The memory map that the kernel gets.
    pub fn memory_map(&self) -> &[MapEntry] {
        &self.map
    }

    /// Writes everything to guest memory. To be called before each start: a guest changes what was loaded.
    ///
    /// # Errors
    /// When a file cannot be read any more, or `memory` is not the RAM that was planned for.
    pub fn load(&self, memory: &GuestMemory) -> Result<(), BootError> {
        for part in &self.parts {
            part.load(memory)?;
        }
        for (at, bytes) in &self.written {
            memory.write(*at, bytes)?;
        }
        Ok(())
    }
}

/// The ranges that [`BootPlan::load`] writes bytes to, with names for messages.
fn places(written: &[(GuestPhysAddr, Vec<u8>)]) -> Vec<(Extent, &'static str)> {
    let extent = |at: &GuestPhysAddr, bytes: u64| Extent { base: *at, bytes };
    written
        .iter()
        .map(|(at, bytes)| match *at < TABLES_START {
            true => (extent(at, bytes.len() as u64), "boot information"),
            false => (extent(at, bytes.len() as u64), "system's tables"),
        })
        .collect()
}

fn information(
    request: &BootRequest,
    placed: &Placed<'_>,
    initrd: Option<Extent>,
    map: &[MapEntry],
) -> Vec<u8> {
    let rsdp = request.tables.rsdp;
    match placed.kind {
        Kind::Linux(image, _) => {
            let facts = LoaderFacts {
                kernel: GuestPhysAddr(image.preferred_address),
                command_line: COMMAND_LINE,
                initrd,
                rsdp,
                map,
            };
            zero_page(image, &facts)
        }
        Kind::Pvh(_) => {
            let info = StartInfo {
                command_line: COMMAND_LINE,
                initrd,
                rsdp,
                map,
            };
            info.to_bytes(INFORMATION)
        }
        Kind::Multiboot(program) => {
            let table = rsdp.and_then(|at| request.tables.parts.iter().find(|part| part.0 == at));
            let info = MultibootInfo {
                command_line: COMMAND_LINE,
                command_line_text: &request.command_line,
                initrd,
                rsdp: table.map(|(_, bytes)| &bytes[..]),
                conventional_bytes: CONVENTIONAL_END,
                extended_bytes: multiboot::extended_bytes(request.ram.low_bytes),
                map,
            };
            info.to_bytes(program.version, INFORMATION)
        }
    }
}

fn entry_state(placed: &Placed<'_>) -> EntryState {
    let information = INFORMATION.raw();
    match placed.kind {
        Kind::Linux(image, mode) => {
            let general = GeneralRegisters {
                rsi: information,
                ..GeneralRegisters::default()
            };
            let start = GuestPhysAddr(image.preferred_address);
            match mode {
                EntryMode::Long64 => {
                    EntryState::long64(start + LONG64_ENTRY, GDT, PAGE_TABLES, general)
                }
                EntryMode::Protected32 => EntryState::protected32(start, GDT, general),
            }
        }
        Kind::Pvh(entry) => {
            let general = GeneralRegisters {
                rbx: information,
                ..GeneralRegisters::default()
            };
            EntryState::protected32(entry, GDT, general)
        }
        Kind::Multiboot(program) => {
            let general = GeneralRegisters {
                rax: multiboot::magic(program.version).into(),
                rbx: information,
                ..GeneralRegisters::default()
            };
            EntryState::protected32(program.entry, GDT, general)
        }
    }
}

struct Placer {
    ram: PcRam,
    parts: Vec<Part>,
}

impl Placer {
    fn kernel<'a>(
        &mut self,
        program: &'a Program,
        entry: LinuxEntry,
    ) -> Result<Placed<'a>, BootError> {
        match program.kind() {
            ProgramKind::BzImage(image) => self.linux(program, image, entry),
            ProgramKind::Elf(elf) => self.pvh(program, elf),
            ProgramKind::Multiboot(multiboot) => {
                let end = self.segments(program, &multiboot.segments, multiboot.entry)?;
                Ok(self.placed(Kind::Multiboot(multiboot), end))
            }
            ProgramKind::Flat(_) | ProgramKind::Raw(_) => Err(program.unsupported(
                "is no kernel that a PC's loader can start: give a bzImage, an ELF file with a PVH entry or a \
                 multiboot program",
            )),
        }
    }

    fn linux<'a>(
        &mut self,
        program: &'a Program,
        image: &'a BzImage,
        entry: LinuxEntry,
    ) -> Result<Placed<'a>, BootError> {
        let mode = match (entry, image.has_64_bit_entry) {
            (LinuxEntry::Auto | LinuxEntry::Long64, true) => EntryMode::Long64,
            (LinuxEntry::Auto, false) | (LinuxEntry::Protected32, _) => EntryMode::Protected32,
            (LinuxEntry::Long64, false) => {
                return Err(program.unsupported(
                    "is a 32-bit kernel without a 64-bit entry; start it by its 32-bit entry, or give a 64-bit one",
                ));
            }
        };
        let free = self.ram.low_bytes.saturating_sub(image.preferred_address);
        if image.memory_bytes > free || image.preferred_address < MIB {
            return Err(BootError::TooLarge {
                role: program.role(),
                name: program.name().to_owned(),
                needed: image.memory_bytes.saturating_add(image.preferred_address),
                free: self.ram.low_bytes,
            });
        }
        let extent = Extent {
            base: GuestPhysAddr(image.preferred_address),
            bytes: image.kernel.len(),
        };
        self.parts
            .push(Part::of(program, "kernel", extent, &image.kernel));
        Ok(Placed {
            kind: Kind::Linux(image, mode),
            end: GuestPhysAddr(image.preferred_address + image.memory_bytes),
            initrd_max: image.initrd_max,
            high_initrd: image.reaches_above_4_gib && mode == EntryMode::Long64,
            command_line_max: image
                .command_line_max
                .min(CONVENTIONAL_END - COMMAND_LINE.raw() - 1),
        })
    }

    fn pvh<'a>(
        &mut self,
        program: &'a Program,
        elf: &'a ElfProgram,
    ) -> Result<Placed<'a>, BootError> {
        let Some(entry) = elf.pvh_entry else {
            return Err(program.unsupported(
                "is an ELF file with neither a PVH entry nor a multiboot header; give a bzImage, or a kernel built \
                 with CONFIG_PVH",
            ));
        };
        let end = self.segments(program, &elf.segments, entry)?;
        Ok(self.placed(Kind::Pvh(entry), end))
    }

    /// What other kernels than bzImages take.
    fn placed<'a>(&self, kind: Kind<'a>, end: GuestPhysAddr) -> Placed<'a> {
        Placed {
            kind,
            end,
            initrd_max: u64::from(u32::MAX),
            high_initrd: false,
            command_line_max: COMMAND_LINE_MAX_BYTES,
        }
    }

    /// Places segments at their own addresses and returns the first address behind them.
    fn segments(
        &mut self,
        program: &Program,
        segments: &[Segment],
        entry: GuestPhysAddr,
    ) -> Result<GuestPhysAddr, BootError> {
        let mut end = GuestPhysAddr(0);
        let mut total = 0_u64;
        for segment in segments {
            let extent = Extent {
                base: segment.addr,
                bytes: segment.memory_bytes,
            };
            total = total.saturating_add(extent.bytes);
            if !self.is_usable(extent) || total > self.ram.low_bytes {
                return Err(self.outside_ram(program, extent));
            }
            end = end.max(extent.end());
            self.parts
                .push(Part::of(program, "kernel", extent, &segment.content));
        }
        let entry = Extent {
            base: entry,
            bytes: 1,
        };
        match self.is_usable(entry) {
            true => Ok(end),
            false => Err(self.outside_ram(program, entry)),
        }
    }

    /// Whether a program may occupy a range: conventional memory, or RAM from 1 MiB on.
    fn is_usable(&self, range: Extent) -> bool {
        let usable = |base: u64, end: u64| {
            let extent = Extent {
                base: GuestPhysAddr(base),
                bytes: end.saturating_sub(base),
            };
            extent.contains(range.base, range.bytes)
        };
        usable(0, CONVENTIONAL_END) || usable(MIB, self.ram.low_bytes)
    }

    fn outside_ram(&self, program: &Program, wanted: Extent) -> BootError {
        BootError::OutsideRam {
            role: program.role(),
            name: program.name().to_owned(),
            addr: wanted.base,
            bytes: wanted.bytes,
            ram_base: GuestPhysAddr(MIB),
            ram_end: self.ram.low().end(),
        }
    }

    fn initrd(&mut self, file: &BootFile, placed: &Placed<'_>) -> Result<Extent, BootError> {
        let bytes = file.content().len();
        let floor = placed.end.max(GuestPhysAddr(MIB));
        let low_end = self.ram.low_bytes.min(placed.initrd_max.saturating_add(1));
        let low = highest(floor, GuestPhysAddr(low_end), bytes);
        let high_end = HIGH_RAM_BASE + self.ram.high_bytes;
        let high = || highest(HIGH_RAM_BASE, high_end, bytes).filter(|_| placed.high_initrd);
        let base = low.or_else(high).ok_or_else(|| {
            let free = low_end.saturating_sub(floor.raw());
            file.too_large(bytes, free)
        })?;
        let extent = Extent { base, bytes };
        self.parts.push(Part::of_file(file, "initrd", extent));
        Ok(extent)
    }
}

/// The highest page in a range from which `bytes` bytes fit the range.
fn highest(floor: GuestPhysAddr, end: GuestPhysAddr, bytes: u64) -> Option<GuestPhysAddr> {
    let start = end.raw().checked_sub(bytes)? / PAGE_BYTES * PAGE_BYTES;
    (start >= floor.raw()).then_some(GuestPhysAddr(start))
}

const _: () = assert!(GDT.raw() + GDT_BYTES as u64 <= PAGE_TABLES.raw());
const _: () = assert!(PAGE_TABLES.raw() + IDENTITY_MAP_BYTES as u64 <= INFORMATION.raw());

#[cfg(test)]
mod tests;
