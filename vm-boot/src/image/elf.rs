//! ELF executables (System V gABI, chapters 4 and 5).

use object::LittleEndian;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::StringTable;
use object::read::elf::{FileHeader, ProgramHeader, SectionTable, Sym as _};
use vm_core::{GuestArch, GuestPhysAddr};

use super::{Fields as _, check_arch};
use crate::{BootError, BootFile, Content};

/// Where the word size stands (`EI_CLASS`).
const CLASS: usize = 4;
/// Where the byte order stands (`EI_DATA`).
const DATA: usize = 5;
/// Where the architecture (u16) stands.
const MACHINE: usize = 18;

/// Machine numbers with the names that messages use; the first three are architectures of ours.
const MACHINES: [(u16, &str); 8] = [
    (elf::EM_RISCV.0, "riscv64"),
    (elf::EM_AARCH64.0, "aarch64"),
    (elf::EM_X86_64.0, "x86_64"),
    (elf::EM_386.0, "32-bit x86"),
    (elf::EM_ARM.0, "32-bit Arm"),
    (elf::EM_PPC64.0, "64-bit PowerPC"),
    (elf::EM_S390.0, "IBM Z"),
    (elf::EM_LOONGARCH.0, "LoongArch"),
];

/// Owner and type of the note with the entry of a kernel that boots by PVH (Xen `public/elfnote.h`).
const PVH_NOTE: (&[u8], u32) = (b"Xen", 18);

/// Most loadable segments; real programs have fewer than ten, and each costs work at every reset.
const MAX_SEGMENTS: usize = 128;

/// One loadable part of an ELF file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its physical address (`p_paddr`).
    pub addr: GuestPhysAddr,
    /// Its bytes.
    pub content: Content,
    /// Its length in memory, at least that of the content; the rest is zero.
    pub memory_bytes: u64,
}

/// Addresses that a test program shares with its host, as physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HtifSymbols {
    /// Doubleword through which the program reports its end and its output.
    pub tohost: Option<GuestPhysAddr>,
    /// Doubleword through which the host answers.
    pub fromhost: Option<GuestPhysAddr>,
    /// First address of the signature of an architecture test.
    pub begin_signature: Option<GuestPhysAddr>,
    /// First address behind it.
    pub end_signature: Option<GuestPhysAddr>,
}

/// An ELF executable.
#[derive(Clone, Debug)]
pub struct ElfProgram {
    /// Its loadable segments that occupy memory; at least one.
    pub segments: Vec<Segment>,
    /// Where it is entered, as a physical address.
    pub entry: GuestPhysAddr,
    /// Whether it is position independent (`ET_DYN`) and relocates itself, as OpenSBI does.
    pub relocatable: bool,
    /// Where it is entered by the PVH boot protocol, in 32-bit protected mode, when its notes say so.
    pub pvh_entry: Option<GuestPhysAddr>,
    /// Symbols for test programs.
    pub htif: HtifSymbols,
}

/// Whether the bytes begin like an ELF file.
pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.has_at(0, &elf::ELFMAG)
}

/// Reads an ELF file for a machine of architecture `arch`.
pub(super) fn parse(
    file: &BootFile,
    content: &Content,
    arch: GuestArch,
) -> Result<ElfProgram, BootError> {
    let length = usize::try_from(content.len()).unwrap_or(usize::MAX);
    let bytes = &content
        .head(length)
        .map_err(|error| file.unreadable(&error))?[..];
    let cut_off = || file.damaged("its ELF header is cut off");
    let wide = bytes.get(CLASS).ok_or_else(cut_off)? == &elf::ELFCLASS64.0;
    let little = bytes.get(DATA).ok_or_else(cut_off)? == &elf::ELFDATA2LSB.0;
    let raw_machine: [u8; 2] = bytes.array(MACHINE).ok_or_else(cut_off)?;
    let machine = if little {
        u16::from_le_bytes(raw_machine)
    } else {
        u16::from_be_bytes(raw_machine)
    };
    // A PC starts in 32-bit mode, and so do its boot loaders' programs.
    let pc_32_bit = arch == GuestArch::X86_64 && machine == elf::EM_386.0 && !wide && little;
    if !pc_32_bit {
        check_arch(file, &machine_name(machine, wide, little), arch)?;
    }
    match wide {
        true => read::<FileHeader64<LittleEndian>>(file, content, bytes),
        false => read::<FileHeader32<LittleEndian>>(file, content, bytes),
    }
}

fn read<Header: FileHeader<Endian = LittleEndian>>(
    file: &BootFile,
    content: &Content,
    bytes: &[u8],
) -> Result<ElfProgram, BootError> {
    let unsound = |error: object::Error| file.damaged(format!("its ELF data is unsound ({error})"));
    let header = Header::parse(bytes).map_err(unsound)?;
    let kind = header.e_type(LittleEndian);
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        return Err(file.unsupported("is an ELF object or core file; give a linked executable"));
    }
    let mut mapped = Vec::new();
    let mut pvh_entry = None;
    for program_header in header
        .program_headers(LittleEndian, bytes)
        .map_err(unsound)?
    {
        let kind = program_header.p_type(LittleEndian);
        if kind == elf::PT_LOAD && program_header.p_memsz(LittleEndian).into() != 0 {
            mapped.push(Mapped::read(file, content, program_header)?);
        }
        if kind == elf::PT_NOTE {
            pvh_entry = pvh_entry.or(pvh_note(program_header, bytes));
        }
    }
    if mapped.len() > MAX_SEGMENTS {
        return Err(file.unsupported(format!(
            "has {} loadable ELF segments, more than {MAX_SEGMENTS}; link it with fewer",
            mapped.len()
        )));
    }
    if mapped.is_empty() {
        return Err(file.damaged("its ELF program headers load nothing"));
    }
    Ok(ElfProgram {
        entry: to_physical(&mapped, header.e_entry(LittleEndian).into()),
        relocatable: kind == elf::ET_DYN,
        pvh_entry,
        htif: htif_symbols(header, bytes, &mapped),
        segments: mapped.into_iter().map(|m| m.segment).collect(),
    })
}

/// The PVH entry among the notes of a segment. Notes that make no sense hold none.
fn pvh_note<Segment: ProgramHeader<Endian = LittleEndian>>(
    header: &Segment,
    bytes: &[u8],
) -> Option<GuestPhysAddr> {
    let mut notes = header.notes(LittleEndian, bytes).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if (note.name(), note.n_type(LittleEndian).0) == PVH_NOTE {
            // Four bytes in 32-bit files, eight in others; the address is below 4 GiB in any case.
            return note.desc().u32_at(0).map(|at| GuestPhysAddr(at.into()));
        }
    }
    None
}

fn machine_name(machine: u16, wide: bool, little: bool) -> String {
    let Some((_, name)) = MACHINES.iter().find(|(number, _)| *number == machine) else {
        return format!("ELF machine number {machine}");
    };
    let ours = name.parse::<GuestArch>().is_ok();
    match (wide, little) {
        _ if !ours => (*name).to_owned(),
        (true, true) => (*name).to_owned(),
        (false, _) if machine == elf::EM_RISCV.0 => "riscv32".to_owned(),
        (false, _) => format!("32-bit {name}"),
        (true, false) => format!("big-endian {name}"),
    }
}

/// A segment with the virtual address it is linked to.
struct Mapped {
    virt: u64,
    segment: Segment,
}

impl Mapped {
    fn read(
        file: &BootFile,
        content: &Content,
        header: &impl ProgramHeader<Endian = LittleEndian>,
    ) -> Result<Self, BootError> {
        let offset: u64 = header.p_offset(LittleEndian).into();
        let length: u64 = header.p_filesz(LittleEndian).into();
        let memory_bytes = header.p_memsz(LittleEndian).into();
        let part = offset
            .checked_add(length)
            .and_then(|end| content.slice(offset..end));
        let Some(part) = part else {
            return Err(file.damaged("an ELF segment reaches past the end of the file"));
        };
        if length > memory_bytes {
            return Err(file.damaged("an ELF segment holds more bytes than it may occupy"));
        }
        Ok(Self {
            virt: header.p_vaddr(LittleEndian).into(),
            segment: Segment {
                addr: GuestPhysAddr(header.p_paddr(LittleEndian).into()),
                content: part,
                memory_bytes,
            },
        })
    }
}

/// The physical address of a link-time (virtual) one; itself where no segment holds it.
fn to_physical(mapped: &[Mapped], virt: u64) -> GuestPhysAddr {
    mapped
        .iter()
        .find(|m| {
            virt.checked_sub(m.virt)
                .is_some_and(|at| at < m.segment.memory_bytes)
        })
        .map_or(GuestPhysAddr(virt), |m| {
            m.segment.addr.wrapping_add(virt - m.virt)
        })
}

/// Looks the known symbols up. A file without a sound symbol table has none: it still runs.
fn htif_symbols<Header: FileHeader<Endian = LittleEndian>>(
    header: &Header,
    bytes: &[u8],
    mapped: &[Mapped],
) -> HtifSymbols {
    let mut found = HtifSymbols::default();
    // Section names are not needed, so a file without them (or with bad ones) keeps its symbols.
    let Ok(table) = header
        .section_headers(LittleEndian, bytes)
        .map(|headers| SectionTable::<Header>::new(headers, StringTable::default()))
        .and_then(|sections| sections.symbols(LittleEndian, bytes, elf::SHT_SYMTAB))
    else {
        return found;
    };
    for symbol in table.iter() {
        if symbol.is_undefined(LittleEndian) {
            continue;
        }
        let place = match symbol.name(LittleEndian, table.strings()) {
            Ok(b"tohost") => &mut found.tohost,
            Ok(b"fromhost") => &mut found.fromhost,
            Ok(b"begin_signature") => &mut found.begin_signature,
            Ok(b"end_signature") => &mut found.end_signature,
            _ => continue,
        };
        *place = Some(to_physical(mapped, symbol.st_value(LittleEndian).into()));
    }
    found
}
