//! User-mode QEMU as the other side of comparisons.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use vm_frontend::riscv::decode::Op;
use vm_frontend::riscv::isa::{Extension, Extensions};

use super::generate::{Generator, Random};
use super::program::Program;

/// An emulator that runs Linux programs.
pub(crate) struct Emulator {
    command: Vec<String>,
    /// Extensions that it knows.
    pub(crate) known: Extensions,
}

/// What every emulator knows.
const BASICS: Extensions = Extensions::of(&[
    Extension::I,
    Extension::M,
    Extension::A,
    Extension::F,
    Extension::D,
    Extension::C,
]);

impl Emulator {
    /// The one that `RISCV_EMULATOR` names with its arguments, else the one that `cargo xtask guests` has fetched,
    /// else the host's. `None`, said on the test's output, when none works: QEMU before 9.0 has no CPU model `max`
    /// and is no use.
    pub(crate) fn find() -> Option<Self> {
        let named = std::env::var("RISCV_EMULATOR").ok();
        let fetched = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../.cache/guests/unpacked/qemu/usr/bin/qemu-riscv64"
        );
        let named = named
            .iter()
            .map(|command| command.split_whitespace().map(str::to_owned).collect());
        let usual = [fetched, "qemu-riscv64", "qemu-riscv64-static"]
            .map(|name| [name, "-cpu", "max"].map(str::to_owned).to_vec());
        let mut why = String::new();
        for command in named.chain(usual) {
            let mut found = Self {
                command,
                known: BASICS,
            };
            match found.run(&some(|op| op == Op::Add)) {
                Ok(_) => {
                    found.known = found.extensions();
                    return Some(found);
                }
                Err(error) => why = error,
            }
        }
        let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|on| on == "1");
        assert!(!required, "no emulator: {why}");
        println!("skipped: {why}");
        None
    }

    fn extensions(&self) -> Extensions {
        let known = Extensions::ALL.iter().filter(|&ext| {
            let enough = BASICS.with(ext);
            let of_it =
                move |op: Op| op.needs().names(ext) && op.needs().met_by(enough) || op == Op::Add;
            self.run(&some(of_it)).is_ok()
        });
        Extensions::of(&known.collect::<Vec<_>>())
    }

    /// Runs a program and gives what it wrote.
    ///
    /// # Errors
    /// Why it did not run to its end.
    pub(crate) fn run(&self, program: &Program) -> Result<Vec<u8>, String> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vm-engine-{}-{run}", std::process::id()));
        fs::write(&path, &program.image).map_err(|error| error.to_string())?;
        let result = fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).and_then(|()| {
            Command::new(&self.command[0])
                .args(&self.command[1..])
                .arg(&path)
                .output()
        });
        let _ = fs::remove_file(&path);
        let output = result.map_err(|error| format!("{}: {error}", self.command[0]))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(format!("{:?}: {}", self.command, output.status))
        }
    }
}

fn some(allowed: impl Fn(Op) -> bool + 'static) -> Program {
    let generator = Generator::new(allowed).expect("the predicate lets `add` through");
    let mut random = Random(2);
    let cases: Vec<_> = (0..100).map(|_| generator.case(&mut random, 8)).collect();
    Program::new(&cases, 3)
}
