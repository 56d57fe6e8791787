//! `vm-cli run debian`, as README's first command starts it.

use std::os::unix::fs::symlink;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use vm_tests::{Guest, boot_limit, exit_code, guests_or_skip, limit, options_of_all, vm_cli};

/// Nobody listens there.
const NO_MIRROR: &str = "http://127.0.0.1:1/debian";

/// The installer of an architecture as an earlier run has fetched and verified it, and the command that starts it. The
/// folder has to live as long as the machine.
fn installer(arch: &str, options: &[&str]) -> Option<(Command, tempfile::TempDir)> {
    let files = ["linux", "initrd.gz"].map(|name| (name, format!("{arch}/installer/{name}")));
    let cache = guests_or_skip(&files.each_ref().map(|(_, file)| file.as_str()))?;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let folder = dir.path().join("vm-cli/debian/stable").join(arch);
    std::fs::create_dir_all(&folder).expect("a writable temporary directory");
    let [kernel, initrd] = files.map(|(name, file)| {
        let file = std::fs::canonicalize(cache.file(&file)).expect("a file of the cache");
        let contents = std::fs::read(&file).expect("a file of the cache");
        symlink(file, folder.join(name)).expect("a writable temporary directory");
        let hash = Sha256::digest(contents);
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    let stamp = format!(
        "index_sha256 = ''\npackage = ''\npackage_sha256 = ''\n\
         kernel_sha256 = '{kernel}'\ninitrd_sha256 = '{initrd}'\n"
    );
    std::fs::write(folder.join("verified.toml"), stamp).expect("a writable temporary directory");
    let mut command = vm_cli();
    command
        .args(["run", "debian", "--mirror", NO_MIRROR])
        .args(options)
        .args(options_of_all())
        .env("XDG_CACHE_HOME", dir.path());
    Some((command, dir))
}

#[test]
#[cfg(target_arch = "x86_64")]
fn debian_of_the_host_s_architecture_asks_for_the_language() {
    let Some((command, _folder)) = installer("x86_64", &[]) else {
        return;
    };
    let mut guest = Guest::of(command);
    guest.wait_for_message("as verified earlier", limit(30));
    guest.wait_for("Linux version", boot_limit());
    guest.wait_for("Select a language", limit(300));
}

#[test]
fn debian_of_another_architecture_starts_when_asked_for() {
    let words = ["--arch", "riscv64", "--append", "panic=-1 rdinit=/none"];
    let Some((command, _folder)) = installer("riscv64", &words) else {
        return;
    };
    let mut guest = Guest::of(command);
    let version = guest.wait_for("riscv64", boot_limit());
    assert!(version.contains("Linux version"), "{version}");
    guest.wait_for("Kernel panic", boot_limit());
    assert_eq!(guest.exit_code(limit(60)), exit_code::PANIC);
}
