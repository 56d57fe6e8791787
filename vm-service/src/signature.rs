//! The signature that a test program leaves in memory (RISC-V architecture tests).

use std::fmt::Write as _;
use std::path::PathBuf;

use vm_boot::image::Program;
use vm_core::GuestPhysAddr;
use vm_mem::GuestMemory;

use crate::VmError;

/// Where a signature lies and where it is to go.
#[derive(Debug)]
pub(crate) struct Signature {
    begin: GuestPhysAddr,
    bytes: u64,
    path: PathBuf,
}

impl Signature {
    /// Finds a program's signature.
    pub(crate) fn of(program: Option<&Program>, path: PathBuf) -> Result<Self, VmError> {
        let missing = || {
            let name = program.map_or("(no kernel)", |program| program.name());
            VmError::NoSignature(name.to_owned())
        };
        let symbols = program.ok_or_else(missing)?.htif_symbols();
        let (begin, end) = symbols
            .begin_signature
            .zip(symbols.end_signature)
            .filter(|(begin, end)| begin <= end)
            .ok_or_else(missing)?;
        Ok(Self {
            begin,
            bytes: end - begin,
            path,
        })
    }

    /// Writes it, a 32-bit word in hexadecimal a line.
    pub(crate) fn write(&self, memory: &GuestMemory) -> Result<(), VmError> {
        let failed = |reason: String| VmError::Signature {
            path: self.path.clone(),
            reason,
        };
        let bytes = self.bytes.min(memory.total_bytes());
        let mut content = vec![0; bytes as usize];
        memory
            .read(self.begin, &mut content)
            .map_err(|error| failed(error.to_string()))?;
        let mut text = String::new();
        for word in content.chunks(4) {
            let mut padded = [0; 4];
            padded[..word.len()].copy_from_slice(word);
            let written = writeln!(text, "{:08x}", u32::from_le_bytes(padded));
            debug_assert!(written.is_ok(), "invariant: a string takes everything");
        }
        std::fs::write(&self.path, text).map_err(|error| failed(error.to_string()))
    }
}
