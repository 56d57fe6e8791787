//! Kernel and firmware files: what they are, and what they hold once unpacked.
//!
//! One file per format. [`Program::from_file`] peels off gzip and EFI zboot until a flat Image, a bzImage,
//! an ELF file, a multiboot program or, where the [`Role`] allows it, a headerless binary remains.

mod bytes;
mod bzimage;
mod compressed;
mod edk2;
mod elf;
mod flat;
mod multiboot;
mod recognise;
mod zboot;

use vm_core::GuestArch;

use crate::{BootError, BootFile, Content, Role};
use bytes::Fields;

pub use bzimage::BzImage;
pub use elf::{ElfProgram, HtifSymbols, Segment};
pub use flat::FlatImage;
pub use multiboot::{MultibootProgram, MultibootVersion};
pub use recognise::arch_of;

/// How many containers may be nested; a kernel has one, a gzip'd zboot file two.
const MAX_NESTING: u32 = 4;
/// Bytes at the start of a file that hold the header of any flat format.
const HEAD_BYTES: usize = 1024;

/// An unpacked program, ready to be placed.
#[derive(Clone, Debug)]
pub struct Program {
    role: Role,
    name: String,
    kind: ProgramKind,
}

/// What an unpacked program is.
#[derive(Clone, Debug)]
pub enum ProgramKind {
    /// A Linux Image: position independent within its rules, bytes start at the entry.
    Flat(FlatImage),
    /// An ELF executable with addresses of its own.
    Elf(ElfProgram),
    /// A Linux kernel for PCs.
    BzImage(BzImage),
    /// A program for a multiboot loader, without a PVH entry.
    Multiboot(MultibootProgram),
    /// Machine code without a header, entered at its first byte.
    Raw(Content),
}

impl Program {
    /// Unpacks `file` for a machine of architecture `arch`; nothing may unpack to more than `max_bytes` bytes
    /// (the machine's RAM).
    ///
    /// # Errors
    /// When the file is of no known format (and its role needs one), of another architecture, damaged, or
    /// too large.
    pub fn from_file(file: &BootFile, arch: GuestArch, max_bytes: u64) -> Result<Self, BootError> {
        let kind = unpack(file, file.content(), arch, max_bytes, MAX_NESTING)?;
        Ok(Self {
            role: file.role(),
            name: file.name().to_owned(),
            kind,
        })
    }

    /// What the file was given for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the file turned out to be.
    pub fn kind(&self) -> &ProgramKind {
        &self.kind
    }

    pub(crate) fn unreadable(&self, reason: &std::io::Error) -> BootError {
        BootError::Unreadable {
            role: self.role,
            name: self.name.clone(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> BootError {
        BootError::Unsupported {
            role: self.role,
            name: self.name.clone(),
            reason: reason.into(),
        }
    }

    /// Addresses that test programs share with the host, when it is an ELF file with such symbols.
    pub fn htif_symbols(&self) -> HtifSymbols {
        match &self.kind {
            ProgramKind::Elf(elf) => elf.htif,
            _ => HtifSymbols::default(),
        }
    }
}

fn unpack(
    file: &BootFile,
    content: &Content,
    arch: GuestArch,
    max_bytes: u64,
    nesting: u32,
) -> Result<ProgramKind, BootError> {
    let inner = |unpacked: Vec<u8>| {
        if nesting == 0 {
            return Err(file.damaged("it is compressed over and over"));
        }
        if unpacked.is_empty() {
            return Err(file.damaged("nothing is compressed in it"));
        }
        unpack(file, &unpacked.into(), arch, max_bytes, nesting - 1)
    };
    let head = content
        .head(HEAD_BYTES)
        .map_err(|error| file.unreadable(&error))?;
    if head.starts_with(&compressed::GZIP_MAGIC) {
        return inner(compressed::gunzip(file, content, max_bytes)?);
    }
    if elf::is_elf(&head) {
        let elf = elf::parse(file, content, arch)?;
        if arch == GuestArch::X86_64
            && elf.pvh_entry.is_none()
            && let Some(header) = multiboot::find(file, content)?
        {
            let program = header.program(file, content, Some(elf))?;
            return Ok(ProgramKind::Multiboot(program));
        }
        return Ok(ProgramKind::Elf(elf));
    }
    if zboot::is_zboot(&head) {
        return inner(zboot::unpack(file, &head, content, max_bytes)?);
    }
    if bzimage::is_bzimage(&head) {
        check_arch(file, GuestArch::X86_64.name(), arch)?;
        return Ok(ProgramKind::BzImage(bzimage::parse(file, &head, content)?));
    }
    if let Some(found) = flat::recognise(&head) {
        check_arch(file, found.name(), arch)?;
        return Ok(ProgramKind::Flat(flat::parse(file, &head, content, found)?));
    }
    if edk2::is_flash_image(&head) {
        let name = file.name();
        return Err(file.unsupported(format!(
            "is an EDK2 image for flash: give it with --flash code={name}, and a file for its variables with \
             --flash vars=FILE"
        )));
    }
    if let Some(other) = compressed::other_compression(&head) {
        return Err(file.unsupported(format!(
            "is compressed with {other}, which is not supported; unpack it first"
        )));
    }
    if arch == GuestArch::X86_64
        && let Some(header) = multiboot::find(file, content)?
    {
        let program = header.program(file, content, None)?;
        return Ok(ProgramKind::Multiboot(program));
    }
    if file.role().takes_raw() {
        return Ok(ProgramKind::Raw(content.clone()));
    }
    Err(BootError::UnknownFormat {
        name: file.name().to_owned(),
    })
}

/// Refuses a file for `found`, an architecture's name, on a machine of another one.
fn check_arch(file: &BootFile, found: &str, wanted: GuestArch) -> Result<(), BootError> {
    if found == wanted.name() {
        return Ok(());
    }
    Err(BootError::WrongArch {
        role: file.role(),
        name: file.name().to_owned(),
        found: found.to_owned(),
        wanted,
    })
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
