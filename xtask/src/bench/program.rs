//! The benchmark program: its two builds from `bench/*.c`, its table of kernels, its results.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;
use crate::guests::process::{output_of, text_of};

/// The same for guest and host: no contraction, no library arithmetic, one signedness of `char`.
const FLAGS: &[&str] = &[
    "-std=gnu11",
    "-O2",
    "-static",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fsigned-char",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-Werror",
];

const GUEST_COMPILER: &str = "riscv64-linux-gnu-gcc";
const HOST_COMPILER: &str = "gcc";

/// What a kernel exercises; geometric means are taken inside a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Integer,
    Memory,
    Floating,
    System,
    Program,
}

impl Class {
    pub(super) const ALL: &'static [Self] = &[
        Self::Integer,
        Self::Memory,
        Self::Floating,
        Self::System,
        Self::Program,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Memory => "memory",
            Self::Floating => "floating",
            Self::System => "system",
            Self::Program => "program",
        }
    }
}

/// A row of `bench/kernels.h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) class: Class,
    pub(super) repeats: u64,
}

/// What the program printed about one run of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) name: String,
    /// By the clock of the machine that the program ran on.
    pub(super) seconds: f64,
    pub(super) checksum: String,
    /// Instructions retired, where the program may read the counter.
    pub(super) instructions: Option<u64>,
    /// The emulator's largest resident set while the program ran, where it is known.
    pub(super) peak_bytes: Option<u64>,
}

impl Outcome {
    /// Reads `NAME SECONDS CHECKSUM [INSTRUCTIONS]`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, seconds, checksum, rest) = match words.as_slice() {
            [name, seconds, checksum, rest @ ..] if rest.len() <= 1 => {
                (name, seconds, checksum, rest)
            }
            _ => return None,
        };
        let is_sum = checksum.len() == 16 && checksum.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Self {
            name: (*name).to_owned(),
            seconds: seconds.parse().ok().filter(|_| is_sum)?,
            checksum: (*checksum).to_owned(),
            instructions: rest.first().map(|word| word.parse()).transpose().ok()?,
            peak_bytes: None,
        })
    }
}

/// Both builds.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) guest: PathBuf,
    pub(super) host: PathBuf,
}

impl Program {
    /// Compiles the sources below the repository into `directory`.
    pub(super) fn build(directory: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let sources = sources()?;
        let compile = |compiler: &str, package, name: &str| {
            let output = directory.join(name);
            let mut command = Command::new(compiler);
            command.args(FLAGS).args(&sources).arg("-o").arg(&output);
            output_of(&mut command, package).map(|_| output)
        };
        Ok(Self {
            guest: compile(GUEST_COMPILER, "gcc-riscv64-linux-gnu", "bench-riscv64")?,
            host: compile(HOST_COMPILER, "gcc", "bench-host")?,
        })
    }

    /// The table of kernels.
    pub(super) fn kernels(&self) -> Result<Vec<Kernel>, Error> {
        let text = text_of(Command::new(&self.host).arg("list"), "gcc")?;
        text.lines()
            .map(|line| {
                parse_kernel(line).ok_or_else(|| Error::Program {
                    line: line.to_owned(),
                    why: "not a row of the table",
                })
            })
            .collect()
    }

    /// Runs a kernel on the host, or through `emulator` (user-mode QEMU) the guest's build.
    pub(super) fn run(&self, kernel: &Kernel, emulator: Option<&Path>) -> Result<Outcome, Error> {
        let mut command = match emulator {
            None => Command::new(&self.host),
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(&self.guest);
                command
            }
        };
        command.arg(&kernel.name).arg(kernel.repeats.to_string());
        let text = text_of(command.stderr(Stdio::inherit()), "gcc")?;
        let line = text.lines().last().unwrap_or_default();
        Outcome::parse(line)
            .filter(|outcome| outcome.name == kernel.name)
            .ok_or_else(|| Error::Program {
                line: line.to_owned(),
                why: "not the kernel's result",
            })
    }
}

/// Compilers and their flags, for the report.
pub(super) fn build_description() -> Result<Vec<String>, Error> {
    [
        (GUEST_COMPILER, "gcc-riscv64-linux-gnu"),
        (HOST_COMPILER, "gcc"),
    ]
    .into_iter()
    .map(|(compiler, package)| {
        let text = text_of(Command::new(compiler).arg("--version"), package)?;
        let version = text.lines().next().unwrap_or_default();
        Ok(format!("{version}: {}", FLAGS.join(" ")))
    })
    .collect()
}

fn sources() -> Result<Vec<PathBuf>, Error> {
    let directory = crate::repository().join("bench");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .map_err(Error::io(&directory))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    Ok(files)
}

fn parse_kernel(line: &str) -> Option<Kernel> {
    let mut words = line.split_whitespace();
    let (name, class, repeats) = (words.next()?, words.next()?, words.next()?);
    Some(Kernel {
        name: name.to_owned(),
        class: *Class::ALL.iter().find(|known| known.name() == class)?,
        repeats: repeats.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::Cache;

    #[test]
    fn outcome_line_with_and_without_counter_parses() {
        let plain = Outcome::parse("crc32 1.250000 000000009ec68636\r").unwrap();
        assert_eq!(
            (plain.name.as_str(), plain.seconds, plain.instructions),
            ("crc32", 1.25, None)
        );
        let counted = Outcome::parse("crc32 1.250000 000000009ec68636 77").unwrap();
        assert_eq!(counted.instructions, Some(77));
    }

    #[test]
    fn outcome_other_lines_are_refused() {
        for line in [
            "start crc32 3",
            "crc32 1.0",
            "crc32 1.0 9ec68636",
            "crc32 x 000000009ec68636",
            "crc32 1.0 000000009ec68636 7 8",
        ] {
            assert_eq!(Outcome::parse(line), None, "{line}");
        }
    }

    #[test]
    fn kernel_unknown_class_is_refused() {
        assert!(parse_kernel("crc32 integer 3").is_some());
        assert!(parse_kernel("crc32 integral 3").is_none());
    }

    /// The program's own test: both builds compute the same. One repeat of each kernel, a few seconds.
    #[test]
    fn program_every_kernel_gives_equal_checksums_on_host_and_guest() {
        let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|v| v == "1");
        let skip = |why: String| {
            assert!(!required, "guests are required: {why}");
            println!("skipped: {why}");
        };
        let directory = tempfile::tempdir().unwrap();
        let program = match Program::build(directory.path()) {
            Ok(program) => program,
            Err(error @ Error::Guests(crate::guests::Error::Program { .. })) => {
                return skip(error.to_string());
            }
            Err(error) => panic!("{error}"),
        };
        let emulator = match Cache::locate().qemu_user("riscv64") {
            Ok(emulator) => emulator,
            Err(error) => return skip(error.to_string()),
        };
        let kernels = program.kernels().unwrap();
        for class in Class::ALL {
            let expected = match class {
                Class::Integer => 13,
                Class::Memory => 6,
                Class::Floating => 8,
                Class::System => 9,
                Class::Program => 0,
            };
            let count = kernels.iter().filter(|k| k.class == *class).count();
            assert_eq!(count, expected, "kernels of class {}", class.name());
        }
        for kernel in &kernels {
            // User mode cannot start the guest's program anew on a host that does not know its format.
            if kernel.name == "fork_exec" {
                continue;
            }
            let kernel = Kernel {
                repeats: 2,
                ..kernel.clone()
            };
            let host = program.run(&kernel, None).unwrap();
            let guest = program.run(&kernel, Some(&emulator)).unwrap();
            assert_eq!(host.checksum, guest.checksum, "{}", kernel.name);
        }
    }
}
