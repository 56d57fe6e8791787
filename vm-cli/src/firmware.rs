//! Firmware for a machine that has disks and nothing else to boot: found on this host, or fetched.

mod disk;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use vm_core::GuestArch;
use vm_core::config::{ArchChoice, Bios, VmConfig};
use vm_service::firmware::{Adapter, Firmware, Interface, Search, vga_rom};

use crate::debian;
use crate::debian::firmware::Kind;

/// Names the folder that has the firmware, instead of all the places below.
const VARIABLE: &str = "VM_CLI_FIRMWARE";

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
/// The machine that descriptors of firmware have to name.
const MACHINE: &str = "pc-q35-10.0";
/// What the variables of a machine without a file for them are called, behind the name of its first disk.
const VARIABLES: &str = ".uefi-vars";

/// Gives a machine that has disks, and neither kernel nor firmware of its own, firmware that finds the system on a disk. Says on
/// standard error which.
pub(crate) fn complete(mut config: VmConfig) -> anyhow::Result<VmConfig> {
    let boots_itself = config.kernel.is_some() || config.flash.code.is_some();
    let named = match config.bios {
        Bios::Seabios => Some(Kind::Seabios),
        Bios::Uefi => Some(Kind::Ovmf),
        Bios::Builtin if !config.disks.is_empty() => None,
        _ => return Ok(config),
    };
    if boots_itself {
        return Ok(config);
    }
    let kind = match (named, config.arch) {
        (Some(kind), ArchChoice::Auto | ArchChoice::Is(GuestArch::X86_64)) => kind,
        (None, ArchChoice::Is(GuestArch::Riscv64)) => Kind::OpenSbi,
        (None, ArchChoice::Is(GuestArch::X86_64)) => disk::kind(&config.disks)
            .filter(|it| *it != Kind::OpenSbi)
            .unwrap_or(Kind::Seabios),
        (None, ArchChoice::Auto) => disk::kind(&config.disks).unwrap_or(Kind::OpenSbi),
        // The machine says what it does not have.
        _ => return Ok(config),
    };
    let [first, second] = files(kind)?;
    match kind {
        Kind::OpenSbi => {
            eprintln!(
                "vm-cli: no kernel is given: booting from disk by {} and {}",
                first.display(),
                second.display()
            );
            config.bios = Bios::File(first);
            config.kernel = Some(second);
        }
        Kind::Seabios => {
            eprintln!("vm-cli: booting by {}", first.display());
            config.arch = GuestArch::X86_64.into();
            config.bios = Bios::File(first);
        }
        Kind::Ovmf => {
            if config.flash.vars.is_none() {
                config.flash.vars = variables(&config);
            }
            let kept = match &config.flash.vars {
                Some(vars) => format!("its variables are kept in {}", vars.display()),
                None => "its variables last as long as the machine".to_owned(),
            };
            eprintln!("vm-cli: booting by {}; {kept}", first.display());
            config.arch = GuestArch::X86_64.into();
            config.bios = Bios::Builtin;
            config.flash.code = Some(first);
            config.flash.readonly = true;
        }
    }
    Ok(config)
}

/// Where a machine keeps UEFI's variables that was not told: beside its first disk that it can write to.
fn variables(config: &VmConfig) -> Option<PathBuf> {
    let kept = |disk: &&vm_core::config::DiskConfig| !disk.is_readonly() && !disk.snapshot;
    let disk = config.disks.iter().find(kept)?;
    let is_device = disk.file.starts_with("/dev");
    let mut name: OsString = disk.file.clone().into();
    name.push(VARIABLES);
    (!is_device).then(|| name.into())
}

/// The two files of a kind of firmware.
fn files(kind: Kind) -> anyhow::Result<[PathBuf; 2]> {
    if let Some(folder) = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        return named(Path::new(&folder), kind);
    }
    if let Some(installed) = installed(Path::new("/"), kind) {
        return Ok(installed);
    }
    let folder = debian::firmware::folder(kind)?;
    if let Some(kept) = debian::firmware::kept(kind, &folder) {
        return Ok(kept);
    }
    eprintln!(
        "vm-cli: this host has no {}: fetching Debian's",
        kind.name()
    );
    debian::firmware::fetch(kind, &folder).with_context(|| {
        format!(
            "cannot fetch firmware to boot the disk with; install {}, or give a kernel with --kernel",
            kind.packages()
        )
    })
}

/// The two files of a folder that the user names.
fn named(folder: &Path, kind: Kind) -> anyhow::Result<[PathBuf; 2]> {
    let names = kind.names();
    let files = names.map(|name| folder.join(name));
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        bail!(
            "{VARIABLE} names a folder without {}: it has to hold {} and {}",
            missing.display(),
            names[0],
            names[1]
        );
    }
    Ok(files)
}

/// Both, where distributions install them.
fn installed(root: &Path, kind: Kind) -> Option<[PathBuf; 2]> {
    let first = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| root.join(path))
            .find(|p| p.exists())
    };
    let interface = match kind {
        Kind::OpenSbi => return Some([first(&OPENSBI)?, first(&U_BOOT)?]),
        Kind::Seabios => Interface::Bios,
        Kind::Ovmf => Interface::Uefi,
    };
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    let user_config = config.or_else(home);
    let search = Search {
        root,
        user_config: user_config.as_deref(),
        arch: GuestArch::X86_64,
        machine: MACHINE,
        interface,
    };
    match search.first()? {
        Firmware::Image(image) => {
            let rom = vga_rom(root, &image, Adapter::Standard)?;
            Some([image, rom])
        }
        Firmware::Flash { code, variables } => Some([code, variables]),
    }
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
        const SEABIOS: [&str; 2] = [
            "usr/share/seabios/bios-256k.bin",
            "usr/share/seabios/vgabios-stdvga.bin",
        ];
        const OVMF: [&str; 2] = [
            "usr/share/OVMF/OVMF_CODE_4M.fd",
            "usr/share/OVMF/OVMF_VARS_4M.fd",
        ];
        for (kind, files) in [
            (Kind::OpenSbi, [OPENSBI[0], U_BOOT[0]]),
            (Kind::OpenSbi, [OPENSBI[1], U_BOOT[1]]),
            (Kind::OpenSbi, [OPENSBI[2], U_BOOT[0]]),
            (Kind::Seabios, SEABIOS),
            (Kind::Ovmf, OVMF),
        ] {
            let root = tempfile::tempdir().unwrap();
            let files = files.map(|file| root.path().join(file));
            touch(&files[0]);
            assert_eq!(installed(root.path(), kind), None, "one is missing");
            touch(&files[1]);
            assert_eq!(installed(root.path(), kind), Some(files));
        }
    }

    #[test]
    fn named_folder_has_both_files_or_says_which_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let names = Kind::OpenSbi.names();
        touch(&folder.path().join(names[0]));
        let refused = named(folder.path(), Kind::OpenSbi).unwrap_err().to_string();
        assert!(refused.contains("u-boot.bin"), "{refused}");
        touch(&folder.path().join(names[1]));
        assert_eq!(
            named(folder.path(), Kind::OpenSbi).unwrap(),
            names.map(|name| folder.path().join(name))
        );
    }

    #[test]
    fn variables_are_beside_the_first_disk_that_is_written_to() {
        let of = |disks: &[&str]| {
            let disks = disks.iter().map(|disk| disk.parse().unwrap()).collect();
            variables(&VmConfig {
                disks,
                ..VmConfig::default()
            })
        };
        assert_eq!(
            of(&["a.iso,media=cdrom", "b.img,snapshot=on", "c.img"]),
            Some("c.img.uefi-vars".into())
        );
        assert_eq!(of(&["a.img,readonly"]), None);
        assert_eq!(of(&["/dev/sda"]), None);
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
