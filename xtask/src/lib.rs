//! Tasks of this repository, run as `cargo xtask <task>`, and the guest parts that tests and benchmarks
//! share.
//!
//! What it is: [`guests`] fetches unmodified Debian kernels, firmware and programs into the cache and
//! assembles initramfs archives and disk images from them; [`mod@bench`] compares this VM's speed with
//! QEMU's; [`lint`] checks the house rules;
//! [`mod@test`] runs all tests, [`soak`] a long one.
//!
//! What it refuses to do: contain product code, change anything outside the repository's `target` and
//! `.cache` directories, or need root.
//!
//! Data flow: the host's own package sources name a mirror -> a private package root downloads and
//! unpacks packages -> recipes assemble files with stable names under `.cache/guests` -> tests and
//! benchmarks open them through [`guests::Cache`].
//!
//! Specifications followed: initramfs buffer format (Linux `driver-api/early-userspace`), UEFI 2.10
//! chapter 5 (GPT) for disk images.

use std::path::PathBuf;

pub mod bench;
pub mod guests;
pub mod lint;
pub mod soak;
pub mod test;

/// The root directory of the repository: the one that cargo runs this process for, or else the one that
/// this crate was built in (another checkout may have built it into a shared target directory).
pub fn repository() -> PathBuf {
    let run_for = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let built_in = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    run_for
        .iter()
        .chain([&built_in])
        .flat_map(|dir| dir.ancestors())
        .find(|dir| dir.join("xtask/Cargo.toml").exists())
        .unwrap_or(&built_in)
        .to_owned()
}
