//! The parts: which packages each one needs and what is made of them. One table row a part.

use std::fs;
use std::path::{Path, PathBuf};

use super::disk;
use super::initramfs::{DEFAULT_INIT, DHCP_SCRIPT, Initramfs};
use super::modules::ModuleTree;
use super::programs_disk;
use super::{Cache, Error};

mod x86_64;

/// Whose architecture a package root has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// Debian's riscv64 port (first released with trixie).
    Riscv64,
    /// Debian's amd64 port, of the same suite.
    Amd64,
    /// Debian's i386 port, of the same suite: programs for kernels of the amd64 port.
    I386,
    /// Programs that run on the host, of the suite whose formats the riscv64 guest uses.
    HostTools,
    /// The newest QEMU that is packaged for bookworm.
    HostBackports,
}

impl Root {
    /// Suites, the preferred one last.
    pub(crate) fn suites(self) -> &'static [&'static str] {
        match self {
            Self::Riscv64 | Self::Amd64 | Self::I386 | Self::HostTools => &["trixie"],
            Self::HostBackports => &["bookworm", "bookworm-backports"],
        }
    }
}

/// Packages that are downloaded and unpacked together into one directory of that name.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) name: &'static str,
    pub(crate) root: Root,
    pub(crate) packages: &'static [&'static str],
    /// Unpack all dependencies too.
    pub(crate) closure: bool,
}

/// Files under stable names, made of unpacked bundles.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) bundles: &'static [&'static Bundle],
    /// Only made when named: large, and no test needs it.
    pub(crate) on_request: bool,
    /// What the outputs depend on besides the packages: a change makes them anew.
    pub(crate) recipe: &'static [&'static [&'static str]],
    /// Relative to the cache directory.
    pub(crate) outputs: &'static [&'static str],
    pub(crate) assemble: fn(&Cache) -> Result<(), Error>,
}

const KERNEL: Bundle = Bundle {
    name: "riscv64-kernel",
    root: Root::Riscv64,
    packages: &["linux-image-riscv64"],
    closure: false,
};
const BUSYBOX: Bundle = Bundle {
    name: "riscv64-busybox",
    root: Root::Riscv64,
    packages: &["busybox-static"],
    closure: false,
};
const FIRMWARE: Bundle = Bundle {
    name: "riscv64-firmware",
    root: Root::Riscv64,
    packages: &["opensbi", "u-boot-qemu"],
    closure: false,
};
const EDK2: Bundle = Bundle {
    name: "riscv64-edk2",
    root: Root::Riscv64,
    packages: &["qemu-efi-riscv64"],
    closure: false,
};
const INSTALLER: Bundle = Bundle {
    name: "riscv64-installer",
    root: Root::Riscv64,
    packages: &["debian-installer-13-netboot-riscv64"],
    closure: false,
};
const GRUB: Bundle = Bundle {
    name: "riscv64-grub",
    root: Root::Riscv64,
    packages: &["grub-efi-riscv64-bin"],
    closure: false,
};
const HOST_TOOLS: Bundle = Bundle {
    name: "host-tools",
    root: Root::HostTools,
    packages: &["grub-common", "e2fsprogs", "kmod", "libarchive13t64"],
    closure: true,
};
/// Debian's base as far as a login and ordinary work need it. Essential packages are named, as nothing
/// depends on them.
const BASE_PACKAGES: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "e2fsprogs",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "iproute2",
    "kmod",
    "libc-bin",
    "login",
    "ncurses-base",
    "ncurses-bin",
    "passwd",
    "procps",
    "sed",
    "systemd-sysv",
    "tar",
    "udev",
    "util-linux",
    "xz-utils",
];
const BASE: Bundle = Bundle {
    name: "riscv64-base",
    root: Root::Riscv64,
    packages: BASE_PACKAGES,
    closure: true,
};
const QEMU: Bundle = Bundle {
    name: "qemu",
    root: Root::HostBackports,
    packages: &["qemu-system-riscv", "qemu-user", "ipxe-qemu"],
    closure: true,
};

/// Real programs for the benchmark.
const PROGRAM_PACKAGES: &[&str] = &[
    "apt",
    "apt-utils",
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "erlang-base",
    "findutils",
    "gcc",
    "git",
    "golang-go",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "libc6-dev",
    "nodejs",
    "openjdk-21-jdk-headless",
    "postgresql-17",
    "postgresql-contrib",
    "python3",
    "redis-server",
    "redis-tools",
    "rustc",
    "sed",
    "sqlite3",
    "tar",
    "util-linux",
    "xz-utils",
];
/// With all they need to run.
const PROGRAMS: Bundle = Bundle {
    name: "riscv64-programs",
    root: Root::Riscv64,
    packages: PROGRAM_PACKAGES,
    closure: true,
};

/// What the guest of the benchmark installs with apt: packages that depend on nothing else and have no
/// installation scripts, as its base system has none installed by dpkg.
const REPOSITORY_PACKAGES: &[&str] = &["manpages", "manpages-dev"];
const REPOSITORY: Bundle = Bundle {
    name: "riscv64-repository",
    root: Root::Riscv64,
    packages: REPOSITORY_PACKAGES,
    closure: false,
};

/// Modules of the standard initramfs: disk, network and entropy over virtio, and the file systems.
pub const STANDARD_MODULES: &[&str] = &[
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    // ext4 asks the crypto layer for it by name, which `depends=` does not show.
    "crc32c_generic",
    "ext4",
    "vfat",
    "nls_ascii",
];

pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "riscv64-linux",
        about: "Debian's kernel and an initramfs of busybox",
        bundles: &[&KERNEL, &BUSYBOX],
        on_request: false,
        recipe: &[&[DEFAULT_INIT, DHCP_SCRIPT], STANDARD_MODULES],
        outputs: &[
            "riscv64/Image",
            "riscv64/busybox",
            "riscv64/initramfs.cpio.gz",
        ],
        assemble: linux,
    },
    Part {
        name: "riscv64-firmware",
        about: "OpenSBI and U-Boot",
        bundles: &[&FIRMWARE],
        on_request: false,
        recipe: &[],
        outputs: &[
            "riscv64/fw_dynamic.bin",
            "riscv64/fw_jump.bin",
            "riscv64/u-boot.bin",
            "riscv64/u-boot-machine.bin",
        ],
        assemble: firmware,
    },
    Part {
        name: "riscv64-edk2",
        about: "EDK2's UEFI firmware for flash",
        bundles: &[&EDK2],
        on_request: false,
        recipe: &[],
        outputs: &["riscv64/RISCV_VIRT_CODE.fd", "riscv64/RISCV_VIRT_VARS.fd"],
        assemble: edk2,
    },
    Part {
        name: "riscv64-installer",
        about: "Debian's netboot installer",
        bundles: &[&INSTALLER],
        on_request: false,
        recipe: &[],
        outputs: &["riscv64/installer/linux", "riscv64/installer/initrd.gz"],
        assemble: installer,
    },
    Part {
        name: "riscv64-disk",
        about: "a disk with GRUB and Debian on ext4 (user root, no password)",
        bundles: &[&KERNEL, &BUSYBOX, &GRUB, &HOST_TOOLS, &BASE],
        on_request: false,
        recipe: &[&[disk::INIT, disk::KERNEL_OPTIONS, "3"]],
        outputs: &["riscv64/debian.img"],
        assemble: debian_disk,
    },
    x86_64::LINUX,
    x86_64::FIRMWARE_FILES,
    x86_64::GRUB_RESCUE_FILES,
    x86_64::INSTALLER_FILES,
    x86_64::DISK,
    x86_64::I386_FILES,
    x86_64::EMULATOR,
    Part {
        name: "qemu",
        about: "QEMU of Debian's backports, system and user mode",
        bundles: &[&QEMU],
        on_request: false,
        recipe: &[],
        outputs: &[],
        assemble: |_| Ok(()),
    },
    Part {
        name: "riscv64-programs",
        about: "a disk with compilers, runtimes and servers for the benchmark",
        bundles: &[&PROGRAMS, &REPOSITORY, &HOST_TOOLS],
        on_request: true,
        recipe: &[],
        outputs: &["riscv64/programs.img"],
        assemble: |cache| {
            programs_disk::build(
                cache,
                &cache.unpacked(PROGRAMS.name),
                &cache.file("riscv64/programs.img"),
            )
        },
    },
    x86_64::PROGRAMS_DISK,
];

fn linux(cache: &Cache) -> Result<(), Error> {
    let kernel = find(&cache.unpacked(KERNEL.name).join("boot"), |name| {
        name.starts_with("vmlinu")
    })?;
    copy(&kernel, &cache.file("riscv64/Image"))?;
    replace(&cache.file("riscv64/busybox"), &cache.riscv64_busybox()?)?;
    let archive = cache.riscv64_initramfs()?.gzip();
    replace(&cache.file("riscv64/initramfs.cpio.gz"), &archive)
}

fn firmware(cache: &Cache) -> Result<(), Error> {
    let root = cache.unpacked(FIRMWARE.name).join("usr/lib");
    for name in ["fw_dynamic.bin", "fw_jump.bin"] {
        let from = root.join("riscv64-linux-gnu/opensbi/generic").join(name);
        copy(&from, &cache.file(&format!("riscv64/{name}")))?;
    }
    for (target, name) in [
        ("qemu-riscv64_smode", "u-boot.bin"),
        ("qemu-riscv64", "u-boot-machine.bin"),
    ] {
        let from = root.join("u-boot").join(target).join("u-boot.bin");
        copy(&from, &cache.file(&format!("riscv64/{name}")))?;
    }
    Ok(())
}

fn edk2(cache: &Cache) -> Result<(), Error> {
    let root = cache.unpacked(EDK2.name).join("usr/share/qemu-efi-riscv64");
    for name in ["RISCV_VIRT_CODE.fd", "RISCV_VIRT_VARS.fd"] {
        copy(&root.join(name), &cache.file(&format!("riscv64/{name}")))?;
    }
    Ok(())
}

fn installer(cache: &Cache) -> Result<(), Error> {
    let images = cache
        .unpacked(INSTALLER.name)
        .join("usr/lib/debian-installer/images/13/riscv64/text/debian-installer/riscv64");
    for name in ["linux", "initrd.gz"] {
        copy(
            &images.join(name),
            &cache.file(&format!("riscv64/installer/{name}")),
        )?;
    }
    Ok(())
}

fn debian_disk(cache: &Cache) -> Result<(), Error> {
    let inputs = disk::Inputs {
        platform: &disk::RISCV64,
        busybox: cache.riscv64_busybox()?,
        kernel: KERNEL.name,
        grub: GRUB.name,
        base: BASE.name,
        packages: &package_files(cache, &[&BASE, &KERNEL]),
        has_dpkg: false,
        initrd: None,
    };
    disk::build(cache, &inputs, &cache.file("riscv64/debian.img"))
}

/// The packages of bundles, as files.
fn package_files(cache: &Cache, bundles: &[&Bundle]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for bundle in bundles {
        let stamp = cache
            .bundle_stamp(bundle)
            .expect("invariant: fetched before assembly");
        let debs = cache.file("debs");
        let packages = stamp.packages.iter().map(|name| debs.join(name));
        // Two bundles may need the same one.
        let new: Vec<_> = packages.filter(|file| !files.contains(file)).collect();
        files.extend(new);
    }
    files
}

impl Cache {
    /// The modules of the riscv64 kernel.
    pub fn riscv64_modules(&self) -> Result<ModuleTree, Error> {
        ModuleTree::open(&self.unpacked(KERNEL.name))
    }

    /// The static busybox for riscv64.
    pub(super) fn riscv64_busybox(&self) -> Result<Vec<u8>, Error> {
        let path = self.unpacked(BUSYBOX.name).join("usr/bin/busybox");
        fs::read(&path).map_err(Error::io(path))
    }

    /// The package files that the benchmark's guest of an architecture installs.
    pub(crate) fn repository(&self, arch: &str) -> Result<Vec<PathBuf>, Error> {
        let (bundle, part) = match arch {
            "x86_64" => x86_64::REPOSITORY_OF_PROGRAMS,
            _ => (&REPOSITORY, PROGRAMS.name),
        };
        let stamp = self.bundle_stamp(bundle).ok_or_else(|| Error::Missing {
            path: self.unpacked(bundle.name),
            part,
        })?;
        let debs = self.file("debs");
        Ok(stamp.packages.iter().map(|name| debs.join(name)).collect())
    }

    /// The modules of an architecture's kernel.
    pub(crate) fn modules(&self, arch: &str) -> Result<ModuleTree, Error> {
        match arch {
            "x86_64" => self.x86_64_modules(),
            _ => self.riscv64_modules(),
        }
    }

    /// The standard riscv64 initramfs (busybox, [`STANDARD_MODULES`]) for a test to add to.
    pub fn riscv64_initramfs(&self) -> Result<Initramfs, Error> {
        let mut initramfs = Initramfs::new(self.riscv64_busybox()?);
        initramfs.modules(&self.riscv64_modules()?, STANDARD_MODULES)?;
        Ok(initramfs)
    }
}

/// The only file of `dir` whose name satisfies `wanted`.
fn find(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf, Error> {
    fs::read_dir(dir)
        .map_err(Error::io(dir))?
        .flatten()
        .find(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .ok_or_else(|| Error::Layout {
            what: "the kernel".into(),
            place: dir.into(),
        })
}

/// Copies to a file that appears whole or not at all.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let contents = fs::read(from).map_err(Error::io(from))?;
    replace(to, &contents)
}

/// Writes a file that appears whole or not at all.
pub(crate) fn replace(to: &Path, contents: &[u8]) -> Result<(), Error> {
    let dir = to
        .parent()
        .expect("invariant: outputs are below the cache directory");
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let partial = to.with_extension("partial");
    fs::write(&partial, contents).map_err(Error::io(&partial))?;
    fs::rename(&partial, to).map_err(Error::io(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn parts_outputs_and_names_are_distinct() {
        let names: BTreeSet<_> = PARTS.iter().map(|part| part.name).collect();
        assert_eq!(names.len(), PARTS.len());
        let outputs: Vec<_> = PARTS.iter().flat_map(|part| part.outputs).collect();
        assert_eq!(outputs.iter().collect::<BTreeSet<_>>().len(), outputs.len());
    }

    #[test]
    fn bundles_of_one_name_are_one_bundle() {
        let bundles: Vec<_> = PARTS.iter().flat_map(|part| part.bundles).collect();
        for a in &bundles {
            for b in &bundles {
                assert!(a.name != b.name || a.packages == b.packages, "{}", a.name);
            }
        }
    }
}
