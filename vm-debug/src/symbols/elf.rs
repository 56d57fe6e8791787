//! Symbol tables of ELF files (System V gABI, chapter 4, "Symbol Table").

use std::path::Path;

use object::write::elf::{FileHeader, SectionHeader, SectionIndex, Sym, Writer};
use object::{Architecture, Endianness, Object as _, ObjectSymbol as _, elf};
use vm_core::{GuestArch, GuestVirtAddr};

use super::{Symbol, SymbolError, SymbolKind, SymbolTable};

/// How the object crate and ELF headers name the architectures; the flags are those of code that uses no
/// floating-point registers (RISC-V: `EF_RISCV_RVC`).
const ARCHITECTURES: [(GuestArch, Architecture, elf::Machine, u32); 3] = [
    (GuestArch::Riscv64, Architecture::Riscv64, elf::EM_RISCV, 1),
    (
        GuestArch::Aarch64,
        Architecture::Aarch64,
        elf::EM_AARCH64,
        0,
    ),
    (GuestArch::X86_64, Architecture::X86_64, elf::EM_X86_64, 0),
];
/// More sections than this no program has whose code and data are kept apart.
const MAX_SECTIONS: usize = 1024;

/// Reads the symbols of a file, if it is an ELF file that has some.
pub(super) fn read(file: &[u8]) -> Option<(GuestArch, Vec<Symbol>)> {
    let file = object::File::parse(file).ok()?;
    let wanted = file.architecture();
    let (arch, ..) = ARCHITECTURES
        .iter()
        .find(|(_, known, ..)| *known == wanted)?;
    let symbols: Vec<_> = file.symbols().filter_map(|entry| symbol(&entry)).collect();
    (!symbols.is_empty()).then_some((*arch, symbols))
}

fn symbol(entry: &object::Symbol<'_, '_>) -> Option<Symbol> {
    let name = entry.name().ok()?;
    let kind = match entry.kind() {
        object::SymbolKind::Text => SymbolKind::Function,
        object::SymbolKind::Data => SymbolKind::Object,
        object::SymbolKind::Label | object::SymbolKind::Unknown => SymbolKind::Other,
        _ => return None,
    };
    // These mark pieces of functions for tools (RISC-V ELF psABI, "Mapping Symbol").
    let marks = name.starts_with('$') || name.starts_with(".L");
    let is_one = !entry.is_undefined() && !name.is_empty() && !marks;
    is_one.then(|| Symbol {
        addr: GuestVirtAddr(entry.address()),
        bytes: entry.size(),
        name: name.to_owned(),
        kind,
        global: entry.is_global(),
    })
}

/// Writes an ELF file that holds nothing but the symbols, for gdb's `symbol-file` and for `nm`.
///
/// # Errors
/// When there are too many symbols, or the file cannot be written.
pub fn write_elf(table: &SymbolTable, path: &Path) -> Result<(), SymbolError> {
    let bytes = to_bytes(table)?;
    std::fs::write(path, bytes).map_err(|reason| SymbolError::Unwritable {
        name: path.display().to_string(),
        reason,
    })
}

/// Neighbouring symbols of one kind. Debuggers take what a symbol names from the section that it is in.
struct Run {
    code: bool,
    start: u64,
    end: u64,
}

fn runs(symbols: &[Symbol]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for symbol in symbols {
        let addr = symbol.addr.raw();
        let code = symbol.kind == SymbolKind::Function;
        // What is neither belongs to what it lies in, and two kinds at one address to the first.
        let joins = runs.last().is_some_and(|run| {
            run.code == code || symbol.kind == SymbolKind::Other || run.start == addr
        });
        if !joins {
            if let Some(before) = runs.last_mut() {
                before.end = addr;
            }
            runs.push(Run {
                code,
                start: addr,
                end: addr,
            });
        }
        let run = runs.last_mut().expect("invariant: there is a run by now");
        run.end = run.end.max(addr.saturating_add(symbol.bytes.max(1)));
    }
    runs
}

pub(super) fn to_bytes(table: &SymbolTable) -> Result<Vec<u8>, SymbolError> {
    let symbols = table.symbols();
    let arch = table.arch();
    let (.., machine, flags) = ARCHITECTURES
        .into_iter()
        .find(|(known, ..)| *known == arch)
        .expect("invariant: every architecture has a row");
    let mut runs = runs(symbols);
    if runs.len() > MAX_SECTIONS {
        runs.clear();
    }
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut bytes);

    writer.reserve_file_header();
    let sections: Vec<SectionIndex> = runs
        .iter()
        .map(|_| writer.reserve_section_index())
        .collect();
    let section_names: Vec<_> = runs
        .iter()
        .map(|run| writer.add_section_name(if run.code { b".text" } else { b".data" }))
        .collect();
    writer.reserve_symtab_section_index();
    writer.reserve_strtab_section_index();
    writer.reserve_shstrtab_section_index();
    writer.reserve_null_symbol_index();
    let names: Vec<_> = symbols
        .iter()
        .map(|symbol| {
            writer.reserve_symbol_index(None);
            writer.add_string(symbol.name.as_bytes())
        })
        .collect();
    writer.reserve_symtab();
    writer.reserve_strtab()?;
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();

    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: machine,
        e_entry: 0,
        e_flags: elf::FileFlags(flags),
    })?;
    writer.write_null_symbol();
    let mut locals = 1;
    for global in [false, true] {
        for (number, symbol) in symbols.iter().enumerate() {
            if symbol.global != global {
                continue;
            }
            locals += u32::from(!global);
            let addr = symbol.addr.raw();
            let run = runs.partition_point(|run| run.start <= addr);
            let next = symbols[number..]
                .iter()
                .find(|next| next.addr > symbol.addr)
                .map_or(0, |next| next.addr.raw() - addr);
            let bind = if global {
                elf::STB_GLOBAL
            } else {
                elf::STB_LOCAL
            };
            let kind = match symbol.kind {
                SymbolKind::Function => elf::STT_FUNC,
                SymbolKind::Object => elf::STT_OBJECT,
                SymbolKind::Other => elf::STT_NOTYPE,
            };
            writer.write_symbol(&Sym {
                section: run.checked_sub(1).map(|run| sections[run].0),
                st_name: writer.string_offset(Some(names[number])),
                st_info: elf::SymbolInfo::new(bind, kind),
                st_other: elf::SymbolOther(0),
                st_shndx: elf::SHN_ABS,
                st_value: addr,
                st_size: if symbol.bytes == 0 {
                    next
                } else {
                    symbol.bytes
                },
            });
        }
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    for (run, name) in runs.iter().zip(section_names) {
        let kind = if run.code {
            elf::SHF_EXECINSTR
        } else {
            elf::SHF_WRITE
        };
        writer.write_section_header(&SectionHeader {
            sh_name: writer.section_name_offset(Some(name)),
            sh_type: elf::SHT_NOBITS,
            sh_flags: elf::SHF_ALLOC | kind,
            sh_addr: run.start,
            sh_offset: 0,
            sh_size: run.end - run.start,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: 1,
            sh_entsize: 0,
        });
    }
    writer.write_symtab_section_header(locals);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    Ok(bytes)
}
