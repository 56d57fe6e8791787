//! Names of guest addresses.
//!
//! Distributions strip their kernels; the only names left are those that the kernel itself uses for its messages,
//! compressed into tables in its read-only data. [`symbols_from_kernel`] finds and decodes them.

mod elf;
mod kallsyms;

use std::collections::HashMap;
use std::path::Path;

use vm_boot::image::{Program, ProgramKind};
use vm_boot::{BootError, BootFile, Content, Role};
use vm_core::{GuestArch, GuestVirtAddr};

pub use elf::write_elf;

/// Kernels are read whole; none comes near this many bytes, unpacked and with debugging information.
const MAX_KERNEL_BYTES: u64 = 2 << 30;

/// Why there are no symbols.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// The file is no kernel that can be read.
    #[error(transparent)]
    Kernel(#[from] BootError),
    /// The host could not read the file.
    #[error("cannot read '{name}': {reason}; check the path")]
    Unreadable {
        /// Its path.
        name: String,
        /// What the host said.
        reason: std::io::Error,
    },
    /// Neither a symbol table nor the kernel's own names.
    #[error(
        "'{name}' holds no symbols: it has no ELF symbol table, and no kallsyms tables were found in it; \
         give a Linux kernel built with CONFIG_KALLSYMS, or an ELF file that is not stripped"
    )]
    None {
        /// Its path.
        name: String,
    },
    /// The symbols do not fit into an ELF file.
    #[error("cannot make an ELF file of the symbols: {0}; report this with the kernel's version")]
    Elf(#[from] object::write::Error),
    /// The host could not write the file.
    #[error("cannot write '{name}': {reason}; choose another output file")]
    Unwritable {
        /// Its path.
        name: String,
        /// What the host said.
        reason: std::io::Error,
    },
}

/// What a symbol names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SymbolKind {
    /// Code.
    Function,
    /// Data.
    Object,
    /// A number or an address that is neither.
    Other,
}

/// A name of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// The address that the guest runs it at.
    pub addr: GuestVirtAddr,
    /// Its length in bytes, 0 when unknown: then it reaches to the next symbol.
    pub bytes: u64,
    /// Its name.
    pub name: String,
    /// What it names.
    pub kind: SymbolKind,
    /// Whether it is visible outside its source file.
    pub global: bool,
}

/// An address in terms of a symbol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// The symbol.
    pub name: &'a str,
    /// Distance from it in bytes.
    pub offset: u64,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.offset {
            0 => f.write_str(self.name),
            offset => write!(f, "{}+{offset:#x}", self.name),
        }
    }
}

/// Symbols, by address and by name.
#[derive(Clone, Debug)]
pub struct SymbolTable {
    arch: GuestArch,
    /// By address; of those at one address in the order they were given.
    symbols: Vec<Symbol>,
    /// First symbol of each name.
    names: HashMap<String, usize>,
    /// Behind the last symbol whose length is unknown, nothing has a name.
    end: u64,
}

impl SymbolTable {
    /// Makes a table of symbols in any order.
    pub fn new(arch: GuestArch, mut symbols: Vec<Symbol>) -> Self {
        symbols.sort_by_key(|symbol| symbol.addr);
        let mut names = HashMap::with_capacity(symbols.len());
        for (at, symbol) in symbols.iter().enumerate() {
            names.entry(symbol.name.clone()).or_insert(at);
        }
        let end = symbols
            .last()
            .map_or(0, |last| last.addr.raw().saturating_add(last.bytes.max(1)));
        Self {
            arch,
            symbols,
            names,
            end,
        }
    }

    /// The architecture of the program.
    pub fn arch(&self) -> GuestArch {
        self.arch
    }

    /// All symbols, by address.
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The symbol that an address belongs to: the nearest one at or before it, if it reaches so far. Of several at one
    /// address a global one.
    pub fn lookup(&self, addr: GuestVirtAddr) -> Option<Place<'_>> {
        let behind = self.symbols.partition_point(|symbol| symbol.addr <= addr);
        let base = self.symbols.get(behind.checked_sub(1)?)?.addr;
        let first = self.symbols[..behind].partition_point(|symbol| symbol.addr < base);
        let offset = addr.raw() - base.raw();
        let reaches = |symbol: &&Symbol| match symbol.bytes {
            0 => addr.raw() < self.end,
            bytes => offset < bytes,
        };
        let here = &self.symbols[first..behind];
        let symbol = here
            .iter()
            .filter(reaches)
            .find(|symbol| symbol.global)
            .or_else(|| here.iter().find(reaches))?;
        Some(Place {
            name: &symbol.name,
            offset,
        })
    }

    /// The first symbol of a name.
    pub fn find(&self, name: &str) -> Option<&Symbol> {
        self.names.get(name).map(|&at| &self.symbols[at])
    }

    /// The same symbols at addresses that are `slide` bytes higher, for a kernel that moved itself.
    #[must_use]
    pub fn slid(mut self, slide: i64) -> Self {
        for symbol in &mut self.symbols {
            symbol.addr = GuestVirtAddr(symbol.addr.raw().wrapping_add_signed(slide));
        }
        // A slide may wrap addresses around, which changes their order.
        Self::new(self.arch, self.symbols)
    }

    /// Decodes the tables that a Linux kernel keeps of its own symbols (Linux 6.12, `scripts/kallsyms.c`), wherever
    /// they are in `image`; `None` when there are none.
    pub fn from_kallsyms(arch: GuestArch, image: &[u8]) -> Option<Self> {
        Some(Self::new(arch, kallsyms::decode(image)?))
    }

    /// Reads the symbol table of an ELF file; `None` when it has none or is damaged.
    pub fn from_elf(file: &[u8]) -> Option<Self> {
        let (arch, symbols) = elf::read(file)?;
        Some(Self::new(arch, symbols))
    }
}

/// Reads the symbols of a kernel in any format that boots: from the symbol table when it is an ELF file that has one,
/// otherwise from the kernel's own tables. Addresses are those that the kernel is linked at, which are those that it runs
/// at unless it moves itself (KASLR, which `nokaslr` on an x86 kernel's command line forbids).
///
/// # Errors
/// When the file cannot be read, is no kernel, or holds no symbols.
pub fn symbols_from_kernel(path: &Path) -> Result<SymbolTable, SymbolError> {
    let file = BootFile::read(Role::Kernel, path, MAX_KERNEL_BYTES)?;
    let arch = vm_boot::image::arch_of(&file).unwrap_or(GuestArch::Riscv64);
    let program = Program::from_file(&file, arch, MAX_KERNEL_BYTES)?;
    let name = || path.display().to_string();
    let inner;
    let content = match program.kind() {
        ProgramKind::Flat(image) => &image.content,
        ProgramKind::Raw(content) => content,
        ProgramKind::BzImage(kernel) => {
            inner = Content::from(kernel.unpacked(&file, MAX_KERNEL_BYTES)?);
            &inner
        }
        ProgramKind::Elf(_) | ProgramKind::Multiboot(_) => file.content(),
    };
    let mut bytes = vec![0; content.len() as usize];
    content
        .read_at(0, &mut bytes)
        .map_err(|reason| SymbolError::Unreadable {
            name: name(),
            reason,
        })?;
    SymbolTable::from_elf(&bytes)
        .or_else(|| SymbolTable::from_kallsyms(arch, &bytes))
        .ok_or_else(|| SymbolError::None { name: name() })
}

#[cfg(test)]
mod tests;
