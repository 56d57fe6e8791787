//! The list by which Linux's `perf` names generated code (tools/perf/Documentation/jit-interface.txt).

use std::fs::File;
use std::io::{self, LineWriter, Write as _};
use std::sync::{Mutex, PoisonError};

/// The list of one process. Lines for code that is gone stay in it, as `perf` expects.
#[derive(Debug)]
pub(crate) struct PerfMap(Mutex<LineWriter<File>>);

impl PerfMap {
    /// Makes `perf-PID.map` in the folder for temporary files, where `perf` looks for it.
    pub(crate) fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("perf-{}.map", std::process::id()));
        Ok(Self(Mutex::new(LineWriter::new(File::create(path)?))))
    }

    /// Adds a piece of code. What the file has no room for is left out: it helps only to look at the machine.
    pub(crate) fn note(&self, address: u64, bytes: usize, name: &str) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(file, "{address:x} {bytes:x} {name}");
    }
}
