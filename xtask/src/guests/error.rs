//! What can go wrong while guest parts are fetched and assembled.

use std::path::PathBuf;

/// A failure of `cargo xtask guests` or of a look-up in its cache, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's package sources name no Debian mirror.
    #[error(
        "no Debian mirror found in the host's package sources: give one with --mirror URL \
         (the URL that ends in /debian)"
    )]
    NoMirror,
    /// A program of the host is missing.
    #[error("cannot start `{program}`: {source}; install Debian's package `{package}`")]
    Program {
        /// The program as it was called.
        program: String,
        /// The Debian package that holds it.
        package: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// Program and first arguments.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its output.
        output: String,
    },
    /// The mirror could not be read even after retries.
    #[error(
        "the package mirror gave no consistent answer in {attempts} attempts (it may be updating \
         itself; try again later):\n{last}"
    )]
    Mirror {
        /// Attempts made.
        attempts: u32,
        /// The last failure.
        last: String,
    },
    /// A file or directory could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A package does not hold what the recipe expects.
    #[error("{what} not found under {}: the package's layout may have changed", place.display())]
    Layout {
        /// The file or pattern that was looked for.
        what: String,
        /// The unpacked package.
        place: PathBuf,
    },
    /// The package index has no package of that name.
    #[error("the package index for {root} has no {package}")]
    NoPackage {
        /// The private package root.
        root: String,
        /// The missing package.
        package: String,
    },
    /// A kernel module cannot be used.
    #[error("kernel module `{name}`: {reason}")]
    Module {
        /// The module's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The command line named an unknown part.
    #[error("no part is named `{name}`; `cargo xtask guests --list` shows them all")]
    UnknownPart {
        /// The name as given.
        name: String,
    },
    /// A guest file that was asked for has not been fetched.
    #[error("{} is missing: run `cargo xtask guests --only {part}`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The part that makes it.
        part: &'static str,
    },
    /// No packages are known for the host's architecture.
    #[error("no private package root is defined for a {0} host")]
    Host(&'static str),
}

impl Error {
    /// Binds `path` to an I/O error: `File::open(p).map_err(Error::io(p))`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
