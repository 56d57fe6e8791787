//! The parts for x86_64 guests.

use std::fs;
use std::path::Path;

use super::{
    BASE_PACKAGES, Bundle, Cache, DEFAULT_INIT, DHCP_SCRIPT, Error, HOST_TOOLS, PROGRAM_PACKAGES,
    Part, REPOSITORY_PACKAGES, Root, copy, find, package_files, replace,
};
use crate::guests::disk;
use crate::guests::initramfs::Initramfs;
use crate::guests::modules::ModuleTree;
use crate::guests::programs_disk;
use crate::guests::vmlinux;

/// The kernel for cloud machines: small, with no drivers for hardware that no virtual machine has.
const CLOUD_KERNEL: Bundle = Bundle {
    name: "x86_64-cloud-kernel",
    root: Root::Amd64,
    packages: &["linux-image-cloud-amd64"],
    closure: false,
};
const BUSYBOX: Bundle = Bundle {
    name: "x86_64-busybox",
    root: Root::Amd64,
    packages: &["busybox-static"],
    closure: false,
};
const FIRMWARE: Bundle = Bundle {
    name: "x86_64-firmware",
    root: Root::Amd64,
    packages: &["seabios", "ovmf"],
    closure: false,
};
const GRUB_RESCUE: Bundle = Bundle {
    name: "x86_64-grub-rescue",
    root: Root::Amd64,
    packages: &["grub-rescue-pc"],
    closure: false,
};
const INSTALLER: Bundle = Bundle {
    name: "x86_64-installer",
    root: Root::Amd64,
    packages: &["debian-installer-13-netboot-amd64"],
    closure: false,
};
const GRUB: Bundle = Bundle {
    name: "x86_64-grub",
    root: Root::Amd64,
    packages: &["grub-efi-amd64-bin", "grub-pc-bin"],
    closure: false,
};
const BASE: Bundle = Bundle {
    name: "x86_64-base",
    root: Root::Amd64,
    packages: BASE_PACKAGES,
    closure: true,
};
/// What makes the disk a system that packages can be installed on, and Python.
const DISK_TOOLS: Bundle = Bundle {
    name: "x86_64-disk-tools",
    root: Root::Amd64,
    packages: &["apt", "dpkg", "python3"],
    closure: true,
};
/// A 32-bit userland.
const I386: Bundle = Bundle {
    name: "i386-busybox",
    root: Root::I386,
    packages: &["busybox", "libc6"],
    closure: false,
};
const PROGRAMS: Bundle = Bundle {
    name: "x86_64-programs",
    root: Root::Amd64,
    packages: PROGRAM_PACKAGES,
    closure: true,
};
const REPOSITORY: Bundle = Bundle {
    name: "x86_64-repository",
    root: Root::Amd64,
    packages: REPOSITORY_PACKAGES,
    closure: false,
};
/// The packages that the benchmark's guest installs, and the part that fetches them.
pub(super) const REPOSITORY_OF_PROGRAMS: (&Bundle, &str) = (&REPOSITORY, PROGRAMS.name);
const QEMU: Bundle = Bundle {
    name: "qemu-x86_64",
    root: Root::HostBackports,
    packages: &["qemu-system-x86", "ipxe-qemu"],
    closure: true,
};

/// Modules of the standard initramfs: disk, network and entropy over virtio, and FAT. The cloud kernel has PCI and
/// ext4 built in.
pub(super) const MODULES: &[&str] = &[
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "vfat",
    "nls_ascii",
];

pub(super) const LINUX: Part = Part {
    name: "x86_64-linux",
    about: "Debian's cloud kernel as bzImage and as ELF, and an initramfs of busybox",
    bundles: &[&CLOUD_KERNEL, &BUSYBOX],
    on_request: false,
    recipe: &[&[DEFAULT_INIT, DHCP_SCRIPT], MODULES],
    outputs: &[
        "x86_64/bzImage",
        "x86_64/vmlinux",
        "x86_64/busybox",
        "x86_64/initramfs.cpio.gz",
    ],
    assemble: linux,
};

pub(super) const FIRMWARE_FILES: Part = Part {
    name: "x86_64-firmware",
    about: "SeaBIOS with its VGA BIOSes, and OVMF",
    bundles: &[&FIRMWARE],
    on_request: false,
    recipe: &[],
    outputs: &[
        "x86_64/bios-256k.bin",
        "x86_64/vgabios-stdvga.bin",
        "x86_64/vgabios-ramfb.bin",
        "x86_64/OVMF_CODE_4M.fd",
        "x86_64/OVMF_VARS_4M.fd",
    ],
    assemble: firmware,
};

pub(super) const GRUB_RESCUE_FILES: Part = Part {
    name: "x86_64-grub-rescue",
    about: "GRUB on a CD and on a disk, for the PC's BIOS",
    bundles: &[&GRUB_RESCUE],
    on_request: false,
    recipe: &[],
    outputs: &["x86_64/grub-rescue-cdrom.iso", "x86_64/grub-rescue-usb.img"],
    assemble: grub_rescue,
};

pub(super) const INSTALLER_FILES: Part = Part {
    name: "x86_64-installer",
    about: "Debian's netboot installer",
    bundles: &[&INSTALLER],
    on_request: false,
    recipe: &[],
    outputs: &[
        "x86_64/installer/linux",
        "x86_64/installer/vmlinux",
        "x86_64/installer/initrd.gz",
    ],
    assemble: installer,
};

pub(super) const DISK: Part = Part {
    name: "x86_64-disk",
    about: "a disk with GRUB for BIOS and UEFI, and Debian on ext4 (user root, no password)",
    bundles: &[
        &CLOUD_KERNEL,
        &BUSYBOX,
        &GRUB,
        &HOST_TOOLS,
        &BASE,
        &DISK_TOOLS,
    ],
    on_request: false,
    recipe: &[
        &[disk::INIT, disk::KERNEL_OPTIONS, "2"],
        disk::X86_64.modules,
    ],
    outputs: &["x86_64/debian.img", "x86_64/debian-initrd.gz"],
    assemble: debian_disk,
};

pub(super) const I386_FILES: Part = Part {
    name: "x86_64-i386",
    about: "the initramfs with Debian's busybox and C library for i386 below /i386",
    bundles: &[&CLOUD_KERNEL, &BUSYBOX, &I386],
    on_request: false,
    recipe: &[&[DEFAULT_INIT, DHCP_SCRIPT], MODULES],
    outputs: &["x86_64/initramfs-i386.cpio.gz"],
    assemble: i386,
};

pub(super) const PROGRAMS_DISK: Part = Part {
    name: "x86_64-programs",
    about: "a disk with compilers, runtimes and servers for the benchmark",
    bundles: &[&PROGRAMS, &REPOSITORY, &HOST_TOOLS],
    on_request: true,
    recipe: &[],
    outputs: &["x86_64/programs.img"],
    assemble: |cache| {
        programs_disk::build(
            cache,
            &cache.unpacked(PROGRAMS.name),
            &cache.file("x86_64/programs.img"),
        )
    },
};

pub(super) const EMULATOR: Part = Part {
    name: "qemu-x86_64",
    about: "QEMU of Debian's backports for x86_64 machines",
    bundles: &[&QEMU],
    on_request: false,
    recipe: &[],
    outputs: &[],
    assemble: |_| Ok(()),
};

fn linux(cache: &Cache) -> Result<(), Error> {
    let kernel = find(&cache.unpacked(CLOUD_KERNEL.name).join("boot"), |name| {
        name.starts_with("vmlinuz")
    })?;
    copy(&kernel, &cache.file("x86_64/bzImage"))?;
    unpack(&kernel, &cache.file("x86_64/vmlinux"))?;
    replace(&cache.file("x86_64/busybox"), &cache.x86_64_busybox()?)?;
    let archive = cache.x86_64_initramfs()?.gzip();
    replace(&cache.file("x86_64/initramfs.cpio.gz"), &archive)
}

/// Writes the ELF file in a bzImage.
fn unpack(kernel: &Path, to: &Path) -> Result<(), Error> {
    let image = fs::read(kernel).map_err(Error::io(kernel))?;
    let unpacked = vmlinux::of_bzimage(&image).map_err(|reason| Error::Layout {
        what: reason,
        place: kernel.into(),
    })?;
    replace(to, &unpacked)
}

fn firmware(cache: &Cache) -> Result<(), Error> {
    let share = cache.unpacked(FIRMWARE.name).join("usr/share");
    copy_all(
        cache,
        &share,
        &[
            ("seabios/bios-256k.bin", "bios-256k.bin"),
            ("seabios/vgabios-stdvga.bin", "vgabios-stdvga.bin"),
            ("seabios/vgabios-ramfb.bin", "vgabios-ramfb.bin"),
            ("OVMF/OVMF_CODE_4M.fd", "OVMF_CODE_4M.fd"),
            ("OVMF/OVMF_VARS_4M.fd", "OVMF_VARS_4M.fd"),
        ],
    )
}

fn grub_rescue(cache: &Cache) -> Result<(), Error> {
    let images = cache.unpacked(GRUB_RESCUE.name).join("usr/lib/grub-rescue");
    copy_all(
        cache,
        &images,
        &[
            ("grub-rescue-cdrom.iso", "grub-rescue-cdrom.iso"),
            ("grub-rescue-usb.img", "grub-rescue-usb.img"),
        ],
    )
}

fn installer(cache: &Cache) -> Result<(), Error> {
    let images = cache
        .unpacked(INSTALLER.name)
        .join("usr/lib/debian-installer/images/13/amd64/text/debian-installer/amd64");
    copy_all(
        cache,
        &images,
        &[
            ("linux", "installer/linux"),
            ("initrd.gz", "installer/initrd.gz"),
        ],
    )?;
    let vmlinux = cache.file("x86_64/installer/vmlinux");
    unpack(&images.join("linux"), &vmlinux)
}

/// Adds what the dynamically linked busybox of i386 needs to the standard initramfs.
fn i386(cache: &Cache) -> Result<(), Error> {
    let usr = cache.unpacked(I386.name).join("usr");
    let mut initramfs = cache.x86_64_initramfs()?;
    let libraries = "lib/i386-linux-gnu";
    for directory in ["i386", "i386/bin", "i386/lib", "i386/proc", "i386/tmp"] {
        initramfs.directory(directory);
    }
    initramfs.directory(&format!("i386/{libraries}"));
    for (from, to) in [
        ("bin/busybox".to_owned(), "i386/bin/busybox".to_owned()),
        // Where programs name their loader, which the package has as a link.
        (
            format!("{libraries}/ld-linux.so.2"),
            "i386/lib/ld-linux.so.2".to_owned(),
        ),
        (
            format!("{libraries}/libc.so.6"),
            format!("i386/{libraries}/libc.so.6"),
        ),
        (
            format!("{libraries}/libresolv.so.2"),
            format!("i386/{libraries}/libresolv.so.2"),
        ),
    ] {
        let path = usr.join(from);
        let contents = fs::read(&path).map_err(Error::io(&path))?;
        initramfs.file(&to, 0o755, contents);
    }
    replace(
        &cache.file("x86_64/initramfs-i386.cpio.gz"),
        &initramfs.gzip(),
    )
}

fn debian_disk(cache: &Cache) -> Result<(), Error> {
    let inputs = disk::Inputs {
        platform: &disk::X86_64,
        busybox: cache.x86_64_busybox()?,
        kernel: CLOUD_KERNEL.name,
        grub: GRUB.name,
        base: BASE.name,
        packages: &package_files(cache, &[&BASE, &DISK_TOOLS, &CLOUD_KERNEL]),
        has_dpkg: true,
        initrd: Some(cache.file("x86_64/debian-initrd.gz")),
    };
    disk::build(cache, &inputs, &cache.file("x86_64/debian.img"))
}

fn copy_all(cache: &Cache, from: &Path, names: &[(&str, &str)]) -> Result<(), Error> {
    for (source, name) in names {
        copy(&from.join(source), &cache.file(&format!("x86_64/{name}")))?;
    }
    Ok(())
}

impl Cache {
    /// The modules of the x86_64 cloud kernel.
    pub fn x86_64_modules(&self) -> Result<ModuleTree, Error> {
        ModuleTree::open(&self.unpacked(CLOUD_KERNEL.name))
    }

    /// The static busybox for x86_64.
    pub(in crate::guests) fn x86_64_busybox(&self) -> Result<Vec<u8>, Error> {
        let path = self.unpacked(BUSYBOX.name).join("usr/bin/busybox");
        fs::read(&path).map_err(Error::io(path))
    }

    /// The standard x86_64 initramfs (busybox, and modules for virtio) for a test to add to.
    pub fn x86_64_initramfs(&self) -> Result<Initramfs, Error> {
        let mut initramfs = Initramfs::new(self.x86_64_busybox()?);
        initramfs.modules(&self.x86_64_modules()?, MODULES)?;
        Ok(initramfs)
    }
}
