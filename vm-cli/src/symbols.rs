//! Names of a kernel's functions: for the monitor, and as a file for debuggers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_debug::symbols::{SymbolTable, symbols_from_kernel, write_elf};

/// `symbols`: writes a kernel's symbols as an ELF file.
pub(crate) fn write(kernel: &Path, output: &Path) -> anyhow::Result<()> {
    let table = symbols_from_kernel(kernel)?;
    write_elf(&table, output)?;
    eprintln!("vm-cli: {} symbols in {}", table.len(), output.display());
    Ok(())
}

/// A kernel's symbols, decoded when somebody first asks for them.
pub(crate) struct Symbols {
    kernel: Option<PathBuf>,
    table: Option<Arc<SymbolTable>>,
}

impl Symbols {
    /// Of a kernel file, if there is one.
    pub(crate) fn of(kernel: Option<PathBuf>) -> Self {
        Self {
            kernel,
            table: None,
        }
    }

    /// The table; none when the kernel keeps no symbols.
    pub(crate) fn table(&mut self) -> Option<Arc<SymbolTable>> {
        if let Some(kernel) = self.kernel.take() {
            self.table = symbols_from_kernel(&kernel).ok().map(Arc::new);
        }
        self.table.clone()
    }
}
