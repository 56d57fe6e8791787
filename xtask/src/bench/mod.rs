//! `cargo xtask bench`: the same kernel, initramfs and programs on this VM and on QEMU, in turn, and the
//! ratios of what they took. `docs/performance.md` says how to read the figures.

mod debian_programs;
mod error;
mod firmware;
mod machine;
mod process_memory;
mod program;
mod report;
mod session;
mod statistics;
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use error::Error;

use crate::guests::initramfs::Initramfs;
use crate::guests::process::text_of;
use crate::guests::{self, Cache};
use machine::{Emulator, Machine};
use program::{Class, Kernel, Outcome, Program};
use report::Pair;
use session::Run;
use target::{Model, Target};

const INIT: &str = include_str!("init.sh");
/// The benchmark program inside the guest.
const GUEST_PROGRAM: &str = "/bench/bench";
/// The file that tells the guest which words of `/proc/cpuinfo` it has to report.
const COMPARED_FLAGS: &str = "cpu-flags";
/// What the installed disk's login program prints before its prompt.
const LOGIN_BANNER: &str = "Debian GNU/Linux 13 debian ttyS0";
/// `--quick` divides the repeats by it.
const QUICK_DIVISOR: u64 = 10;

/// Command line of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The guest's architecture: riscv64 or x86_64
    #[arg(long, value_name = "ARCH", default_value = "riscv64")]
    arch: String,
    /// The guest's processor, the same on both sides: for x86_64 x86-64-v2 (the default) or x86-64-v3, which
    /// adds the kernels built for AVX2
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// A tenth of the repeats and one alternation: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Only these kernels or classes (integer, memory, floating, system, firmware), or programs
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    kernels: Vec<String>,
    /// How often each machine runs, in turn with the other [default: 5, with --quick 1]
    #[arg(long, value_name = "COUNT")]
    alternations: Option<u32>,
    /// Numbers of guest processors to measure with
    #[arg(
        long,
        value_name = "COUNT",
        value_delimiter = ',',
        default_value = "1,2"
    )]
    cpus: Vec<u32>,
    /// Guest RAM in MiB [default: 512, with --programs 2048]
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Leave QEMU out
    #[arg(long)]
    ours_only: bool,
    /// No kernels: time to userspace, memory, idle load
    #[arg(long)]
    boot_only: bool,
    /// Debian's compilers, runtimes and servers in place of the kernels, from a disk
    /// (`cargo xtask guests --only riscv64-programs riscv64-disk riscv64-firmware` fetches it, or `--only
    /// x86_64-programs x86_64-disk x86_64-linux`)
    #[arg(long, conflicts_with_all = ["boot_only", "calibrate"])]
    programs: bool,
    /// Confine the emulators to these host processors (`taskset -c`)
    #[arg(long, value_name = "LIST")]
    taskset: Option<String>,
    /// Seconds for which the guest is left idle at the end
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    idle: u32,
    /// Print the rows of `bench/kernels.h` with repeats that take so long under QEMU, and do no more
    #[arg(long, value_name = "SECONDS")]
    calibrate: Option<f64>,
}

/// Builds, boots, measures, prints.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let release = crate::test::release_directory()?;
    let directory = release.with_file_name("bench");
    let (target, model) = measured(arguments)?;
    let program = Program::build(&directory, target, model)?;
    let cache = Cache::locate();
    let bench = Bench {
        arguments,
        kernels: chosen(
            [program.kernels()?, firmware::rows(target)].concat(),
            arguments,
        )?,
        kernel_image: cache.require(target.kernel)?,
        target,
        model,
        program,
        cache,
        directory,
    };
    if let Some(seconds) = arguments.calibrate {
        return bench.calibrate(seconds);
    }
    let ours = machine::ours(&release.join("vm-cli"), target, model);
    if std::env::var_os(machine::TEMPLATE_VARIABLE).is_none_or(|value| value.is_empty()) {
        crate::test::cargo(&["build", "--release", "--package", "vm-cli"])?;
    }
    bench.measure(&ours)
}

/// What the command line wants measured.
fn measured(arguments: &Arguments) -> Result<(&'static Target, &'static Model), Error> {
    let names = |all: Vec<&str>| all.join(", ");
    let target = Target::named(&arguments.arch).ok_or_else(|| {
        let known = Target::ALL.iter().map(|target| target.arch).collect();
        Error::Usage(format!(
            "no guest of `{}` is measured; there are: {}",
            arguments.arch,
            names(known)
        ))
    })?;
    let model = target.model(arguments.model.as_deref()).ok_or_else(|| {
        let known = target.models.iter().map(|model| model.name).collect();
        Error::Usage(format!(
            "no model of {} has that name; there are: {}",
            target.arch,
            names(known)
        ))
    })?;
    Ok((target, model))
}

/// The kernels of the command line, with its scale.
fn chosen(all: Vec<Kernel>, arguments: &Arguments) -> Result<Vec<Kernel>, Error> {
    if arguments.boot_only {
        return Ok(Vec::new());
    }
    let all = if arguments.programs {
        debian_programs::rows()
    } else {
        all
    };
    let is_named = |kernel: &Kernel, name: &str| kernel.name == name || kernel.class.name() == name;
    for name in &arguments.kernels {
        if !all.iter().any(|kernel| is_named(kernel, name)) {
            let names: Vec<_> = all.iter().map(|kernel| kernel.name.as_str()).collect();
            return Err(Error::Usage(format!(
                "no kernel or class is named `{name}`; there are: {}",
                names.join(", ")
            )));
        }
    }
    let wanted = |kernel: &Kernel| {
        arguments.kernels.is_empty() || arguments.kernels.iter().any(|name| is_named(kernel, name))
    };
    let divisor = if arguments.quick { QUICK_DIVISOR } else { 1 };
    Ok(all
        .into_iter()
        .filter(wanted)
        .map(|kernel| Kernel {
            repeats: (kernel.repeats / divisor).max(1),
            ..kernel
        })
        .collect())
}

struct Bench<'a> {
    arguments: &'a Arguments,
    target: &'static Target,
    model: &'static Model,
    cache: Cache,
    program: Program,
    kernels: Vec<Kernel>,
    kernel_image: PathBuf,
    /// For what is built here.
    directory: PathBuf,
}

impl Bench<'_> {
    fn calibrate(&self, seconds: f64) -> Result<(), Error> {
        let orders: Vec<String> = self
            .kernels
            .iter()
            .filter(|kernel| kernel.class != Class::Firmware)
            .map(|kernel| {
                let program = self.guest_program(kernel);
                format!("run {program} calibrate {} {seconds}", kernel.name)
            })
            .collect();
        let initrd = self.initramfs(&orders)?;
        let machine = self.machine(1, initrd, &[])?;
        let run = self.run(&machine, Emulator::Qemu)?;
        for row in run.rows {
            println!("{row}");
        }
        Ok(())
    }

    fn measure(&self, ours: &[String]) -> Result<(), Error> {
        let native = self.native()?;
        let mut orders: Vec<String> = if self.arguments.programs {
            debian_programs::orders(GUEST_PROGRAM, &self.kernels)
        } else {
            let kernels = self.kernels.iter();
            let kernels = kernels.filter(|kernel| kernel.class != Class::Firmware);
            let order =
                |k: &Kernel| format!("run {} {} {}", self.guest_program(k), k.name, k.repeats);
            kernels.map(order).collect()
        };
        orders.push(format!("idle {}", self.arguments.idle));
        let initrd = self.initramfs(&orders)?;
        let default = if self.arguments.quick { 1 } else { 5 };
        let alternations = self.arguments.alternations.unwrap_or(default);
        let mut text = String::new();
        let mut faults = Vec::new();
        for &cpus in &self.arguments.cpus {
            let machine = self.machine(cpus, initrd.clone(), ours)?;
            let mut pairs = Vec::new();
            for alternation in 1..=alternations {
                eprintln!("{cpus} CPU(s), alternation {alternation} of {alternations}");
                let pair = Pair {
                    ours: self.run(&machine, Emulator::Ours)?,
                    qemu: (!self.arguments.ours_only)
                        .then(|| self.run(&machine, Emulator::Qemu))
                        .transpose()?,
                };
                faults.extend(self::faults(&pair, &self.kernels, cpus, &native));
                pairs.push(pair);
            }
            if text.is_empty() {
                text = self.heading(&machine, &pairs)?;
            }
            text.push_str(&report::tables(cpus, &pairs, &self.kernels, &native));
        }
        println!("{text}");
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Error::Mismatch(faults.join("\n")))
        }
    }

    /// The host's own results, which the guests' must equal; it has not the same of Debian's programs.
    fn native(&self) -> Result<Vec<Outcome>, Error> {
        self.kernels
            .iter()
            .filter(|kernel| !matches!(kernel.class, Class::Program | Class::Firmware))
            .filter_map(|kernel| {
                let build = self.program.build_of(&kernel.name);
                build.run(kernel, None).transpose()
            })
            .collect()
    }

    /// The program inside the guest that has the kernel.
    fn guest_program(&self, kernel: &Kernel) -> String {
        format!("/bench/{}", self.program.build_of(&kernel.name).guest_name)
    }

    fn run(&self, machine: &Machine, emulator: Emulator) -> Result<Run, Error> {
        let command = machine.command(emulator, &self.cache)?;
        let name = emulator.name();
        let progress = |text: &str| eprintln!("  {name}: {text}");
        let ram_bytes = u64::from(machine.memory_mib) << 20;
        let mut run = session::run(command, name, ram_bytes, &progress)?;
        let chosen = &self.kernels;
        let firmware = firmware::run(machine, emulator, &self.cache, chosen, &progress)?;
        run.outcomes.extend(firmware);
        let login = debian_programs::BOOT_TO_LOGIN;
        if self.kernels.iter().any(|kernel| kernel.name == login) {
            let command = machine.installed_disk_command(emulator, &self.cache)?;
            let (seconds, peak_bytes) = session::until(command, name, LOGIN_BANNER)?;
            progress(&format!("{login} {seconds:.3} s"));
            run.outcomes.push(Outcome {
                name: login.to_owned(),
                seconds,
                checksum: String::new(),
                instructions: None,
                peak_bytes: Some(peak_bytes),
            });
        }
        Ok(run)
    }

    fn machine(&self, cpus: u32, initrd: PathBuf, ours: &[String]) -> Result<Machine, Error> {
        let disk = self.arguments.programs.then_some(self.target.programs.disk);
        Ok(Machine {
            target: self.target,
            model: self.model,
            kernel: self.kernel_image.clone(),
            initrd,
            disk: disk.map(|name| self.cache.require(name)).transpose()?,
            cpus,
            memory_mib: self.memory_mib(),
            host_cpus: self.arguments.taskset.clone(),
            ours: ours.to_vec(),
        })
    }

    fn memory_mib(&self) -> u32 {
        let default = if self.arguments.programs {
            debian_programs::MEMORY_MIB
        } else {
            512
        };
        self.arguments.memory.unwrap_or(default)
    }

    /// Busybox, the benchmark program and its orders; no modules.
    fn initramfs(&self, orders: &[String]) -> Result<PathBuf, Error> {
        let read = |path: &Path| fs::read(path).map_err(Error::io(path));
        let busybox = self.cache.require(self.target.busybox)?;
        let mut initramfs = Initramfs::new(read(&busybox)?);
        initramfs.file("init", 0o755, INIT);
        initramfs.file("orders", 0o644, orders.join("\n") + "\n");
        let flags = self.target.compared_flags.join("\n") + "\n";
        initramfs.file(COMPARED_FLAGS, 0o644, flags);
        for build in &self.program.builds {
            let path = format!("bench/{}", build.guest_name);
            initramfs.file(&path, 0o755, read(&build.guest)?);
        }
        if self.arguments.programs {
            debian_programs::add(self.target, &self.cache, &mut initramfs)?;
        }
        let path = self.directory.join("initramfs.cpio.gz");
        fs::write(&path, initramfs.gzip()).map_err(Error::io(&path))?;
        Ok(path)
    }

    /// What was measured: versions, machines, command lines.
    fn heading(&self, machine: &Machine, pairs: &[Pair]) -> Result<String, Error> {
        let mut lines = vec![
            format!("host: {}", host_description()),
            format!("this VM: {}", revision()),
        ];
        let mut version = self.cache.qemu_system(self.target.arch)?;
        version.arg("--version");
        let version = text_of(&mut version, "qemu-system-misc")?;
        lines.push(version.lines().next().unwrap_or_default().to_owned());
        for line in program::build_description(self.target)? {
            lines.push(line);
        }
        if let Some(pair) = pairs.first() {
            lines.push(format!("guest: {}, {}", pair.ours.isa, pair.ours.mmu));
        }
        for emulator in [Emulator::Ours, Emulator::Qemu] {
            let command = machine.command(emulator, &self.cache)?;
            lines.push(format!("`{}`", machine::describe(&command)));
        }
        lines.push(format!("{} alternations; medians and ranges", pairs.len()));
        Ok(format!("- {}\n\n", lines.join("\n- ")))
    }
}

/// What makes a pair worthless: wrong results, unlike machines, a wrong clock.
fn faults(pair: &Pair, kernels: &[Kernel], cpus: u32, native: &[Outcome]) -> Vec<String> {
    let mut faults = Vec::new();
    let runs = [
        (Emulator::Ours, Some(&pair.ours)),
        (Emulator::Qemu, pair.qemu.as_ref()),
    ];
    for (emulator, run) in runs {
        let Some(run) = run else { continue };
        let name = emulator.name();
        for kernel in kernels {
            if run.outcome(&kernel.name).is_none() {
                faults.push(format!("{name}: {} has no result", kernel.name));
            }
        }
        for expected in native {
            match run.outcome(&expected.name) {
                Some(outcome) if outcome.checksum != expected.checksum => faults.push(format!(
                    "{name}: {} gives {}, the host {}",
                    expected.name, outcome.checksum, expected.checksum
                )),
                _ => {}
            }
        }
        for error in &run.clock_errors {
            faults.push(format!("{name}: {error}"));
        }
        if run.cpus != cpus.to_string() {
            faults.push(format!("{name}: the guest sees {} CPUs", run.cpus));
        }
    }
    if let Some(qemu) = &pair.qemu {
        for outcome in &pair.ours.outcomes {
            let theirs = qemu.outcome(&outcome.name);
            if theirs.is_some_and(|theirs| theirs.checksum != outcome.checksum) {
                faults.push(format!("{}: the two machines disagree", outcome.name));
            }
        }
        for (what, ours, theirs) in [
            ("instruction set", &pair.ours.isa, &qemu.isa),
            ("translation mode", &pair.ours.mmu, &qemu.mmu),
        ] {
            if ours != theirs {
                faults.push(format!("{what}: this VM has {ours}, QEMU {theirs}"));
            }
        }
    }
    faults
}

fn revision() -> String {
    let mut command = Command::new("git");
    command
        .args(["describe", "--always", "--dirty"])
        .current_dir(crate::repository());
    text_of(&mut command, "git").map_or_else(
        |_: guests::Error| "unknown revision".to_owned(),
        |text| text.trim().to_owned(),
    )
}

fn host_description() -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or(std::env::consts::ARCH, |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    format!("{model}, {cpus} CPUs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(words: &[&str]) -> Arguments {
        Line::parse_from([&["bench"], words].concat()).arguments
    }

    fn kernels() -> Vec<Kernel> {
        [("sort", Class::Integer, 25), ("lu", Class::Floating, 4)]
            .map(|(name, class, repeats)| Kernel {
                name: name.to_owned(),
                class,
                repeats,
            })
            .into()
    }

    #[test]
    fn chosen_by_name_and_by_class() {
        let names = |words: &[&str]| -> Vec<String> {
            let chosen = chosen(kernels(), &arguments(words)).unwrap();
            chosen.into_iter().map(|kernel| kernel.name).collect()
        };
        assert_eq!(names(&[]), ["sort", "lu"]);
        assert_eq!(names(&["--kernels", "floating"]), ["lu"]);
        assert_eq!(names(&["--kernels", "sort,lu"]), ["sort", "lu"]);
        assert!(names(&["--boot-only"]).is_empty());
        assert_eq!(
            names(&["--programs", "--kernels", "xz,node"]),
            ["xz", "node"]
        );
    }

    #[test]
    fn measured_takes_the_first_model_and_names_the_others() {
        let of = |words: &[&str]| measured(&arguments(words));
        let (target, model) = of(&[]).unwrap();
        assert_eq!((target.arch, model.name), ("riscv64", ""));
        let (_, model) = of(&["--arch", "x86_64"]).unwrap();
        assert_eq!((model.name, model.has_avx2), ("x86-64-v2", false));
        let (_, model) = of(&["--arch", "x86_64", "--model", "x86-64-v3"]).unwrap();
        assert!(model.has_avx2);
        let said = |words: &[&str]| of(words).unwrap_err().to_string();
        assert!(said(&["--arch", "sparc"]).contains("riscv64, x86_64"));
        let models = said(&["--arch", "x86_64", "--model", "pentium"]);
        assert!(models.contains("x86-64-v2, x86-64-v3"), "{models}");
        assert!(of(&["--arch", "x86_64", "--programs"]).is_ok());
    }

    #[test]
    fn chosen_unknown_name_lists_the_kernels() {
        let error = chosen(kernels(), &arguments(&["--kernels", "sorts"])).unwrap_err();
        assert!(error.to_string().contains("sort, lu"), "{error}");
    }

    #[test]
    fn chosen_quick_runs_a_tenth_but_at_least_once() {
        let quick = chosen(kernels(), &arguments(&["--quick"])).unwrap();
        let repeats: Vec<u64> = quick.iter().map(|kernel| kernel.repeats).collect();
        assert_eq!(repeats, [2, 1]);
    }

    fn run_with(checksum: &str) -> Run {
        Run {
            isa: "rv64i".to_owned(),
            mmu: "sv39".to_owned(),
            cpus: "1".to_owned(),
            outcomes: vec![outcome(checksum)],
            ..Run::default()
        }
    }

    fn outcome(checksum: &str) -> Outcome {
        Outcome {
            name: "sort".to_owned(),
            seconds: 1.0,
            checksum: checksum.to_owned(),
            instructions: None,
            peak_bytes: None,
        }
    }

    fn faults_of(ours: Run, qemu: Run) -> String {
        let pair = Pair {
            ours,
            qemu: Some(qemu),
        };
        let sort = [kernels().remove(0)];
        faults(&pair, &sort, 1, &[outcome("a")]).join("; ")
    }

    #[test]
    fn faults_equal_results_and_machines_are_none() {
        assert_eq!(faults_of(run_with("a"), run_with("a")), "");
    }

    #[test]
    fn faults_each_difference_is_named() {
        let wrong = faults_of(run_with("b"), run_with("a"));
        assert!(
            wrong.contains("this VM: sort gives b, the host a"),
            "{wrong}"
        );
        assert!(wrong.contains("the two machines disagree"), "{wrong}");
        type Change = (&'static str, fn(&mut Run));
        let changes: [Change; 5] = [
            ("QEMU: sort has no result", |run| run.outcomes.clear()),
            ("instruction set", |run| run.isa = "rv64im".to_owned()),
            ("translation mode", |run| run.mmu = "sv48".to_owned()),
            ("QEMU: the guest sees 2 CPUs", |run| {
                run.cpus = "2".to_owned()
            }),
            ("QEMU: slow clock", |run| {
                run.clock_errors = vec!["slow clock".to_owned()]
            }),
        ];
        for (expected, change) in changes {
            let mut qemu = run_with("a");
            change(&mut qemu);
            let said = faults_of(run_with("a"), qemu);
            assert!(said.contains(expected), "{said}");
        }
    }
}
