//! The host's processor, as the oracle of tests: a C program that runs instructions on states.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static CPUINFO: LazyLock<String> =
    LazyLock::new(|| std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default());

/// Whether the host's processor is AMD's. Guests have Intel's, and where the manuals leave something open or differ,
/// tests can compare with Intel's alone.
pub(super) fn is_amd() -> bool {
    CPUINFO.contains("AuthenticAMD")
}

/// Whether the host's processor has a feature, by Linux's name for it.
pub(super) fn has(feature: &str) -> bool {
    let mut lines = CPUINFO.lines();
    let flags = lines.find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == feature))
}

/// A state, as the program reads and writes it.
pub(super) trait Wire: Sync {
    /// Its length.
    const BYTES: usize;
    /// Its bytes.
    fn bytes(&self) -> &[u8];
    /// The state of these bytes.
    fn of(bytes: Vec<u8>) -> Self;
    /// The instruction that it is for.
    fn code(&self) -> &[u8];
}

/// The program, built.
pub(super) struct Host {
    _dir: tempfile::TempDir,
    program: PathBuf,
}

impl Host {
    /// Builds it from its source; why not, if that cannot be.
    pub(super) fn build(source: &str) -> Result<Self, String> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err("the host is not x86-64 Linux".into());
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, program) = (dir.path().join("host.c"), dir.path().join("host"));
        std::fs::write(&file, source).expect("a writable directory");
        let output = Command::new("gcc")
            .args(["-O1", "-static", "-no-pie", "-o"])
            .args([&program, &file])
            .output()
            .map_err(|error| format!("gcc: {error}"))?;
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{messages}");
        Ok(Self { _dir: dir, program })
    }

    /// The states that follow from states.
    pub(super) fn run<W: Wire>(&self, states: &[W]) -> Vec<W> {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let mut bytes = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for state in states {
                    if stdin.write_all(state.bytes()).is_err() {
                        return;
                    }
                }
            });
            let mut stdout = child.stdout.take().expect("a pipe");
            stdout.read_to_end(&mut bytes).expect("a readable pipe");
        });
        let status = child.wait().expect("a child");
        let results: Vec<W> = bytes
            .chunks_exact(W::BYTES)
            .map(|chunk| W::of(chunk.to_vec()))
            .collect();
        let last = results.len();
        assert!(
            status.success() && last == states.len(),
            "{status} at {:02x?}",
            states.get(last).map(W::code)
        );
        results
    }
}
