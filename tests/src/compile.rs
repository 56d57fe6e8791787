//! Programs for the guest, made by the cross compiler of the host.

use std::path::Path;
use std::process::Command;

/// The compilers of Debian, by guest.
const COMPILERS: [(&str, &str); 2] = [
    ("riscv64", "riscv64-linux-gnu-gcc"),
    ("x86_64", "x86_64-linux-gnu-gcc"),
];

/// [`compiled_for`] a RISC-V guest.
///
/// # Panics
/// As [`compiled_for`].
pub fn compiled(source: &str, options: &[&str], output: &Path) -> bool {
    compiled_for("riscv64", source, options, output)
}

/// Compiles `source`, a file of this crate's folder `guest`, to `output`. Where there is no compiler for the guest it
/// says on the test's output that the test is skipped, and returns false; with `VM_TESTS_REQUIRE_GUESTS=1` it fails.
///
/// # Panics
/// When the compiler is missing and required, or refuses the source.
pub fn compiled_for(arch: &str, source: &str, options: &[&str], output: &Path) -> bool {
    let (_, compiler) = COMPILERS
        .into_iter()
        .find(|(known, _)| *known == arch)
        .unwrap_or_else(|| panic!("no compiler for {arch}"));
    let outcome = Command::new(compiler)
        .args(["-Wall", "-Werror", "-static"])
        .args(options)
        .arg("-o")
        .arg(output)
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("guest")
                .join(source),
        )
        .output();
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|v| v == "1");
            assert!(!required, "{compiler} is required");
            println!("skipped: no {compiler}");
            false
        }
        Err(error) => panic!("cannot start {compiler}: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            true
        }
    }
}

/// [`compiled`], for a program that runs without an operating system, its code at `start`.
///
/// # Panics
/// As [`compiled`].
pub fn compiled_bare(source: &str, start: u64, output: &Path) -> bool {
    let link = format!("-Wl,-Ttext={start:#x},--build-id=none,-e,_start");
    let options = [
        "-nostdlib",
        // No headers in front of the code.
        "-Wl,-N",
        "-march=rv64gc_zicsr_zifencei",
        "-mabi=lp64d",
        &link,
    ];
    compiled(source, &options, output)
}
