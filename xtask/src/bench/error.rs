//! What can go wrong in a benchmark run.

use std::path::PathBuf;

use crate::guests;

/// A failure of `cargo xtask bench`, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kernel, busybox or QEMU is not there.
    #[error(transparent)]
    Guests(#[from] guests::Error),
    /// The program under test could not be built.
    #[error(transparent)]
    Build(#[from] crate::test::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The benchmark program said something unexpected.
    #[error("the benchmark program printed `{line}`: {why}")]
    Program {
        /// The line.
        line: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A machine did not get through its orders.
    #[error("{machine}: {why}; the end of its output:\n{output}")]
    Machine {
        /// Which emulator.
        machine: String,
        /// What happened.
        why: String,
        /// The last lines of console and standard error.
        output: String,
    },
    /// Guests computed something else than the host, or the two machines are not alike.
    #[error("the figures do not count:\n{0}")]
    Mismatch(String),
}

impl Error {
    /// Binds `path` to an I/O error.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
