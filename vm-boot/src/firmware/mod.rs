//! Firmware that is installed on this host: found through the descriptor files that packages of firmware bring (QEMU
//! 10.0, `docs/interop/firmware.json`), or else at the places where distributions have it.

mod descriptor;

use std::path::{Path, PathBuf};

use vm_core::GuestArch;

/// What firmware offers to boot loaders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interface {
    /// The interrupts of the PC's BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// Files of firmware.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Firmware {
    /// An image that ends at 4 GiB.
    Image(PathBuf),
    /// Two banks of flash.
    Flash {
        /// The code, which is only read.
        code: PathBuf,
        /// Empty variables, of which each machine gets a copy.
        variables: PathBuf,
    },
}

impl Firmware {
    fn exists(&self) -> bool {
        match self {
            Self::Image(image) => image.is_file(),
            Self::Flash { code, variables } => code.is_file() && variables.is_file(),
        }
    }
}

/// Where distributions have SeaBIOS: Debian's seabios, Fedora's seabios-bin, and what comes with QEMU.
const SEABIOS: [&str; 3] = [
    "usr/share/seabios/bios-256k.bin",
    "usr/share/qemu/bios-256k.bin",
    "usr/share/qemu-kvm/bios-256k.bin",
];
/// Where they have OVMF for machines without system management mode: Debian's ovmf, Fedora's edk2-ovmf, Arch's
/// edk2-ovmf.
const OVMF: [(&str, &str); 4] = [
    (
        "usr/share/OVMF/OVMF_CODE_4M.fd",
        "usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
    (
        "usr/share/edk2/ovmf/OVMF_CODE.fd",
        "usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        "usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
];

/// A display that SeaBIOS has no driver for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adapter {
    /// The VGA with the extensions of Bochs.
    Standard,
    /// The frame buffer in RAM.
    Ramfb,
}

impl Adapter {
    /// What its option ROM is called.
    fn rom(self) -> &'static str {
        match self {
            Self::Standard => "vgabios-stdvga.bin",
            Self::Ramfb => "vgabios-ramfb.bin",
        }
    }
}

/// Where distributions have option ROMs when they are not beside SeaBIOS: Fedora's seavgabios-bin, and what comes with QEMU.
const VGA_ROM_FOLDERS: [&str; 3] = [
    "usr/share/seabios",
    "usr/share/seavgabios",
    "usr/share/qemu",
];

/// The option ROM of a display for the BIOS in a file: what lies beside it, or else where distributions have it below `root`.
pub fn vga_rom(root: &Path, bios: &Path, adapter: Adapter) -> Option<PathBuf> {
    let folders = VGA_ROM_FOLDERS.iter().map(|folder| root.join(folder));
    let beside = bios.parent().map(Path::to_owned);
    let mut files = beside
        .into_iter()
        .chain(folders)
        .map(|it| it.join(adapter.rom()));
    files.find(|file| file.is_file())
}

/// What firmware is wanted, and where it is looked for.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The host's root directory.
    pub root: &'a Path,
    /// The user's configuration directory (`XDG_CONFIG_HOME`), whose descriptors come first.
    pub user_config: Option<&'a Path>,
    /// The guest's architecture.
    pub arch: GuestArch,
    /// The machine by QEMU's name, with its version: `pc-q35-10.0`.
    pub machine: &'a str,
    /// What it has to offer.
    pub interface: Interface,
}

impl Search<'_> {
    /// The first firmware that runs on the machine and whose files are there. Firmware that needs system management
    /// mode is left out.
    pub fn first(&self) -> Option<Firmware> {
        let described = descriptor::all(self.root, self.user_config);
        described
            .iter()
            .filter(|found| found.suits(self.arch, self.machine, self.interface))
            .filter_map(|found| found.firmware(self.root))
            .chain(self.usual())
            .find(Firmware::exists)
    }

    fn usual(&self) -> Vec<Firmware> {
        match (self.arch, self.interface) {
            (GuestArch::X86_64, Interface::Bios) => SEABIOS
                .iter()
                .map(|path| Firmware::Image(self.root.join(path)))
                .collect(),
            (GuestArch::X86_64, Interface::Uefi) => OVMF
                .iter()
                .map(|(code, variables)| Firmware::Flash {
                    code: self.root.join(code),
                    variables: self.root.join(variables),
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
