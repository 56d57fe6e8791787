//! Firmware for a machine that has disks and nothing else to boot: found on this host, or fetched.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use vm_core::config::{Bios, VmConfig};

use crate::debian;

/// Names the folder that has the firmware, instead of all the places below.
const VARIABLE: &str = "VM_CLI_FIRMWARE";
/// What that folder holds: OpenSBI, and U-Boot for supervisor mode.
const NAMES: [&str; 2] = ["fw_dynamic.bin", "u-boot.bin"];

/// Where distributions install OpenSBI: Debian's opensbi, Fedora's opensbi, and what comes with QEMU.
const OPENSBI: [&str; 3] = [
    "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin",
    "usr/share/opensbi/generic/firmware/fw_dynamic.bin",
    "usr/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin",
];
/// Where they install U-Boot for supervisor mode: Debian's u-boot-qemu, Fedora's uboot-images-riscv64.
const U_BOOT: [&str; 2] = [
    "usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin",
    "usr/share/uboot/qemu-riscv64_smode/u-boot.bin",
];

/// Gives a machine that has disks, and neither kernel nor firmware of its own, OpenSBI and U-Boot, which find the
/// system on a disk. Says on standard error which.
pub(crate) fn complete(mut config: VmConfig) -> anyhow::Result<VmConfig> {
    let boots_itself = config.kernel.is_some() || config.flash.code.is_some();
    if boots_itself || config.bios != Bios::Builtin || config.disks.is_empty() {
        return Ok(config);
    }
    let [opensbi, u_boot] = files()?;
    eprintln!(
        "vm-cli: no kernel is given: booting from disk by {} and {}",
        opensbi.display(),
        u_boot.display()
    );
    config.bios = Bios::File(opensbi);
    config.kernel = Some(u_boot);
    Ok(config)
}

/// OpenSBI and U-Boot.
fn files() -> anyhow::Result<[PathBuf; 2]> {
    if let Some(folder) = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        return named(Path::new(&folder));
    }
    if let Some(installed) = installed(Path::new("/")) {
        return Ok(installed);
    }
    let folder = debian::firmware::folder()?;
    if let Some(kept) = debian::firmware::kept(&folder) {
        return Ok(kept);
    }
    eprintln!("vm-cli: this host has no OpenSBI and U-Boot: fetching Debian's");
    debian::firmware::fetch(&folder).context(
        "cannot fetch firmware to boot the disk with; install the packages opensbi and u-boot-qemu, or give a kernel \
         with --kernel",
    )
}

/// The two files of a folder that the user names.
fn named(folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let files = NAMES.map(|name| folder.join(name));
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        bail!(
            "{VARIABLE} names a folder without {}: it has to hold {} and {}",
            missing.display(),
            NAMES[0],
            NAMES[1]
        );
    }
    Ok(files)
}

/// Both, where distributions install them.
fn installed(root: &Path) -> Option<[PathBuf; 2]> {
    let first = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| root.join(path))
            .find(|p| p.exists())
    };
    Some([first(&OPENSBI)?, first(&U_BOOT)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_core::config::DiskConfig;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn installed_firmware_is_found_where_distributions_have_it() {
        for (opensbi, u_boot) in [(0, 0), (1, 1), (2, 0)] {
            let root = tempfile::tempdir().unwrap();
            let (opensbi, u_boot) = (
                root.path().join(OPENSBI[opensbi]),
                root.path().join(U_BOOT[u_boot]),
            );
            touch(&opensbi);
            assert_eq!(installed(root.path()), None, "U-Boot is missing");
            touch(&u_boot);
            assert_eq!(installed(root.path()), Some([opensbi, u_boot]));
        }
    }

    #[test]
    fn named_folder_has_both_files_or_says_which_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        touch(&folder.path().join(NAMES[0]));
        let refused = named(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("u-boot.bin"), "{refused}");
        touch(&folder.path().join(NAMES[1]));
        assert_eq!(
            named(folder.path()).unwrap(),
            NAMES.map(|name| folder.path().join(name))
        );
    }

    #[test]
    fn machines_that_boot_something_else_stay_as_they_are() {
        let disks = vec![DiskConfig::raw("d")];
        let with = |change: fn(&mut VmConfig)| {
            let mut config = VmConfig {
                disks: disks.clone(),
                ..VmConfig::default()
            };
            change(&mut config);
            config
        };
        for config in [
            with(|config| config.disks.clear()),
            with(|config| config.kernel = Some("k".into())),
            with(|config| config.bios = Bios::None),
            with(|config| config.flash.code = Some("c".into())),
        ] {
            assert_eq!(complete(config.clone()).unwrap(), config);
        }
    }
}
