//! The benchmark program: its two builds from `bench/*.c`, its table of kernels, its results.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;
use super::target::{Compiler, HOST_COMPILER, Model, Target, Variant};
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

/// What a kernel exercises; geometric means are taken inside a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Integer,
    Memory,
    Floating,
    System,
    Program,
    Firmware,
}

impl Class {
    pub(super) const ALL: &'static [Self] = &[
        Self::Integer,
        Self::Memory,
        Self::Floating,
        Self::System,
        Self::Program,
        Self::Firmware,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Memory => "memory",
            Self::Floating => "floating",
            Self::System => "system",
            Self::Program => "program",
            Self::Firmware => "firmware",
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

/// One build of the program: for the guest, and for the host.
#[derive(Debug)]
pub(super) struct Build {
    /// What the program is called in the guest's `/bench`.
    pub(super) guest_name: String,
    pub(super) guest: PathBuf,
    /// `None` where the host cannot run it.
    pub(super) host: Option<PathBuf>,
    /// `None` is the plain build, whose kernels are all measured.
    variant: Option<&'static Variant>,
}

/// All builds, the plain one first.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) builds: Vec<Build>,
}

impl Program {
    /// Compiles the sources below the repository into `directory`, as the target wants them for the model.
    pub(super) fn build(
        directory: &Path,
        target: &'static Target,
        model: &Model,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let sources = sources()?;
        let compile = |compiler: Compiler, flags: &[&str], name: &str| {
            let output = directory.join(name);
            let mut command = Command::new(compiler.program);
            command.args(FLAGS).args(flags).args(&sources);
            command.arg("-o").arg(&output);
            output_of(&mut command, compiler.package).map(|_| output)
        };
        let native = target.arch == std::env::consts::ARCH;
        let name = format!("bench-{}", target.arch);
        let guest = compile(target.compiler, target.flags, &name)?;
        let host = match native {
            true => guest.clone(),
            false => compile(HOST_COMPILER, target.flags, "bench-host")?,
        };
        let mut builds = vec![Build {
            guest_name: "bench".to_owned(),
            guest,
            host: Some(host),
            variant: None,
        }];
        for variant in target.variants {
            if variant.needs_avx2 && !model.has_avx2 {
                continue;
            }
            let suffix = format!("-DSUFFIX=\"_{}\"", variant.name);
            let mut flags = target.flags.to_vec();
            flags.extend(variant.flags);
            flags.push(&suffix);
            let name = format!("bench-{}-{}", target.arch, variant.name);
            let guest = compile(variant.compiler, &flags, &name)?;
            let runs_here = native && (!variant.needs_avx2 || host_has_avx2());
            builds.push(Build {
                guest_name: format!("bench-{}", variant.name),
                host: runs_here.then(|| guest.clone()),
                guest,
                variant: Some(variant),
            });
        }
        Ok(Self { builds })
    }

    /// The build that a kernel belongs to, by its name's ending.
    pub(super) fn build_of(&self, kernel: &str) -> &Build {
        let ending = |build: &&Build| {
            build
                .variant
                .is_some_and(|variant| kernel.ends_with(&format!("_{}", variant.name)))
        };
        self.builds.iter().find(ending).unwrap_or(&self.builds[0])
    }

    /// The table of kernels, those of the variants behind the plain ones.
    pub(super) fn kernels(&self) -> Result<Vec<Kernel>, Error> {
        let plain = self.builds[0].kernels()?;
        let mut all = plain.clone();
        for variant in self.builds.iter().filter_map(|build| build.variant) {
            let rows = variant.kernels.iter().filter_map(|name| {
                let row = plain.iter().find(|kernel| kernel.name == *name)?;
                Some(Kernel {
                    name: format!("{name}_{}", variant.name),
                    class: row.class,
                    repeats: (row.repeats / variant.divisor).max(1),
                })
            });
            all.extend(rows);
        }
        Ok(all)
    }
}

/// Whether this host has AVX2, as far as `/proc/cpuinfo` says.
fn host_has_avx2() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        let flags = text.lines().find(|line| line.starts_with("flags"));
        flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "avx2"))
    })
}

impl Build {
    /// Its table of kernels.
    fn kernels(&self) -> Result<Vec<Kernel>, Error> {
        let Some(host) = &self.host else {
            return Ok(Vec::new());
        };
        let text = text_of(Command::new(host).arg("list"), HOST_COMPILER.package)?;
        text.lines()
            .map(|line| {
                parse_kernel(line).ok_or_else(|| Error::Program {
                    line: line.to_owned(),
                    why: "not a row of the table",
                })
            })
            .collect()
    }

    /// Runs a kernel on the host, or through `emulator` (user-mode QEMU) the guest's build. `None` where the host
    /// cannot run it.
    pub(super) fn run(
        &self,
        kernel: &Kernel,
        emulator: Option<&Path>,
    ) -> Result<Option<Outcome>, Error> {
        let mut command = match (emulator, &self.host) {
            (None, Some(host)) => Command::new(host),
            (None, None) => return Ok(None),
            (Some(emulator), _) => {
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
            .map(Some)
            .ok_or_else(|| Error::Program {
                line: line.to_owned(),
                why: "not the kernel's result",
            })
    }
}

/// Compilers and their flags, for the report.
pub(super) fn build_description(target: &Target) -> Result<Vec<String>, Error> {
    let plain = [target.compiler, HOST_COMPILER].map(|compiler| (compiler, target.flags));
    let variants = target.variants.iter().map(|v| (v.compiler, v.flags));
    let mut lines: Vec<String> = Vec::new();
    for (compiler, flags) in plain.into_iter().chain(variants) {
        let text = text_of(
            Command::new(compiler.program).arg("--version"),
            compiler.package,
        )?;
        let version = text.lines().next().unwrap_or_default();
        let flags = [FLAGS, flags].concat().join(" ");
        let line = format!("{version}: {flags}");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    Ok(lines)
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
    fn compare_host_and_guest(target: &'static Target, memory_kernels: usize) {
        let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|v| v == "1");
        let skip = |why: String| {
            assert!(!required, "guests are required: {why}");
            println!("skipped: {why}");
        };
        let directory = tempfile::tempdir().unwrap();
        let model = target.models.last().unwrap();
        let program = match Program::build(directory.path(), target, model) {
            Ok(program) => program,
            Err(error @ Error::Guests(crate::guests::Error::Program { .. })) => {
                return skip(error.to_string());
            }
            Err(error) => panic!("{error}"),
        };
        let kernels = program.builds[0].kernels().unwrap();
        for class in Class::ALL {
            let expected = match class {
                Class::Integer => 13,
                Class::Memory => memory_kernels,
                Class::Floating => 8,
                Class::System => 9,
                Class::Program | Class::Firmware => 0,
            };
            let count = kernels.iter().filter(|k| k.class == *class).count();
            assert_eq!(count, expected, "kernels of class {}", class.name());
        }
        for kernel in &program.kernels().unwrap() {
            // User mode cannot start the guest's program anew on a host that does not know its format.
            if kernel.name == "fork_exec" {
                continue;
            }
            let kernel = Kernel {
                repeats: 2,
                ..kernel.clone()
            };
            let build = program.build_of(&kernel.name);
            let user = match build.variant {
                Some(variant) if variant.name == "compat32" => "i386",
                _ => target.arch,
            };
            let emulator = match Cache::locate().qemu_user(user) {
                Ok(emulator) => emulator,
                Err(error) => return skip(error.to_string()),
            };
            let Some(host) = build.run(&kernel, None).unwrap() else {
                println!("skipped: this host cannot run {}", kernel.name);
                continue;
            };
            let guest = build.run(&kernel, Some(&emulator)).unwrap().unwrap();
            assert_eq!(host.checksum, guest.checksum, "{}", kernel.name);
        }
    }

    #[test]
    fn program_every_riscv64_kernel_gives_equal_checksums_on_host_and_guest() {
        compare_host_and_guest(Target::named("riscv64").unwrap(), 6);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn program_every_x86_64_kernel_gives_equal_checksums_on_host_and_guest() {
        compare_host_and_guest(Target::named("x86_64").unwrap(), 11);
    }
}
