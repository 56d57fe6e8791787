//! The disk guests: a GPT disk with an EFI system partition that holds GRUB, and Debian on ext4
//! (UEFI 2.10, chapter 5 and section 13.3). Firmware starts GRUB, GRUB starts Debian's kernel, which ends at a
//! login prompt: user `root`, no password. A disk for PCs has GRUB for their BIOS, too.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{BIOS, EFI, LINUX_FS};

use super::grub_pc::{self, BIOS_PARTITION_BYTES};
use super::initramfs::Initramfs;
use super::modules::ModuleTree;
use super::parts::replace;
use super::process::{output_of, text_of};
use super::rootfs::Rootfs;
use super::{Cache, Error};

const MIB: u64 = 1 << 20;
const SECTOR_BYTES: u64 = 512;
/// Partitions begin at whole MiB; the first MiB holds the partition table, the last one its copy.
const ESP_OFFSET: u64 = MIB;
const ESP_BYTES: u64 = 32 * MIB;
const ROOT_OFFSET: u64 = ESP_OFFSET + ESP_BYTES;
const ROOT_BYTES: u64 = 990 * MIB;
/// Behind the root file system, so that this is the second partition on every disk.
const BIOS_OFFSET: u64 = ROOT_OFFSET + ROOT_BYTES;
const DISK_BYTES: u64 = BIOS_OFFSET + BIOS_PARTITION_BYTES + MIB;

const ROOT_LABEL: &str = "debian-root";

pub(super) const INIT: &str = include_str!("disk-init.sh");

/// Modules that GRUB has built in: enough to find the root file system and to start Linux.
const GRUB_MODULES: &[&str] = &[
    "part_gpt",
    "ext2",
    "fat",
    "search",
    "search_label",
    "search_fs_file",
    "configfile",
    "normal",
    "linux",
    "echo",
    "test",
    "reboot",
    "halt",
];

/// How disks of different architectures differ.
#[derive(Debug)]
pub(super) struct Platform {
    /// GRUB's name for the EFI platform, which is the folder of its modules, too.
    efi_target: &'static str,
    /// The program that firmware looks for on a removable disk (UEFI 2.10, 3.5.1.1).
    efi_program: &'static str,
    /// GRUB's name for the BIOS platform, where there is one.
    bios_target: Option<&'static str>,
    /// What the kernel's file name in /boot begins with.
    kernel: &'static str,
    /// Modules of the initramfs.
    pub(super) modules: &'static [&'static str],
    /// Folders below /usr that / has links to, beside those of all architectures.
    links: &'static [&'static str],
}

pub(super) const RISCV64: Platform = Platform {
    efi_target: "riscv64-efi",
    efi_program: "BOOTRISCV64.EFI",
    bios_target: None,
    kernel: "vmlinux",
    modules: &["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"],
    links: &[],
};

pub(super) const X86_64: Platform = Platform {
    efi_target: "x86_64-efi",
    efi_program: "BOOTX64.EFI",
    bios_target: Some("i386-pc"),
    kernel: "vmlinuz",
    modules: &["virtio_mmio", "virtio_blk", "ahci", "sd_mod"],
    links: &["lib64"],
};

/// What the packages' installation scripts would have written.
const CONFIGURATION: &[(&str, &str)] = &[
    ("etc/hostname", "debian\n"),
    (
        "etc/hosts",
        "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost\n",
    ),
    ("etc/machine-id", "5f0c1b6e4d5a4c3e9a7d2f8b6c1e0a94\n"),
    (
        "etc/fstab",
        "LABEL=debian-root / ext4 errors=remount-ro 0 1\n",
    ),
    ("etc/shadow", "root::20000:0:99999:7:::\n"),
    (
        "etc/pam.d/common-auth",
        "auth required pam_unix.so nullok\n",
    ),
    ("etc/pam.d/common-account", "account required pam_unix.so\n"),
    (
        "etc/pam.d/common-password",
        "password required pam_unix.so\n",
    ),
    ("etc/pam.d/common-session", "session required pam_unix.so\n"),
    (
        "etc/pam.d/common-session-noninteractive",
        "session required pam_unix.so\n",
    ),
];

/// Templates in the packages that become configuration files.
const TEMPLATES: &[(&str, &str)] = &[
    ("etc/passwd", "usr/share/base-passwd/passwd.master"),
    ("etc/group", "usr/share/base-passwd/group.master"),
    ("etc/profile", "usr/share/base-files/profile"),
    ("root/.profile", "usr/share/base-files/dot.profile"),
    ("root/.bashrc", "usr/share/base-files/dot.bashrc"),
];

/// Groups that device rules name, which first-boot work would make.
const DEVICE_GROUPS: &str = "input:x:101:\nsgx:x:102:\nkvm:x:103:\nrender:x:104:\n";

/// What [`build`] makes the disk of.
pub(super) struct Inputs<'a> {
    pub(super) platform: &'a Platform,
    /// The static busybox of the initramfs.
    pub(super) busybox: Vec<u8>,
    /// Name of the bundle with the unpacked kernel package.
    pub(super) kernel: &'a str,
    /// Name of the bundle with GRUB's modules.
    pub(super) grub: &'a str,
    /// Name of the bundle with Debian's base packages, unpacked.
    pub(super) base: &'a str,
    /// The packages of `kernel` and `base`, as files.
    pub(super) packages: &'a [PathBuf],
    /// Whether dpkg is among them, and is told of them all.
    pub(super) has_dpkg: bool,
    /// Where the initial RAM disk is written to besides, for a kernel that is started without a boot loader.
    pub(super) initrd: Option<PathBuf>,
}

/// Assembles the disk in `output`.
pub(super) fn build(cache: &Cache, inputs: &Inputs<'_>, output: &Path) -> Result<(), Error> {
    let platform = inputs.platform;
    let work = cache.file(&format!("work-{}", platform.efi_target));
    if work.exists() {
        fs::remove_dir_all(&work).map_err(Error::io(&work))?;
    }
    fs::create_dir_all(&work).map_err(Error::io(&work))?;
    let version = kernel_version(&cache.unpacked(inputs.kernel))?;
    let root = work.join("root.tar");
    let archive = root_archive(cache, inputs, &version, &work)?;
    fs::write(&root, archive).map_err(Error::io(&root))?;
    let efi_program = grub_image(cache, inputs.grub, platform, &work)?;

    let image = work.join("disk.img");
    let file = File::create_new(&image).map_err(Error::io(&image))?;
    file.set_len(DISK_BYTES).map_err(Error::io(&image))?;
    drop(file);
    partition(&image, platform).map_err(Error::io(&image))?;
    system_partition(&image, platform, &efi_program).map_err(Error::io(&image))?;
    if let Some(target) = platform.bios_target {
        let modules = cache
            .unpacked(inputs.grub)
            .join("usr/lib/grub")
            .join(target);
        let early = work.join(EARLY_CONFIGURATION);
        let boot = grub_pc::Boot::make(cache, target, &modules, &early, GRUB_MODULES, &work)?;
        boot.write(&image, BIOS_OFFSET)?;
    }
    let mut mke2fs = cache.host_tool("usr/sbin/mke2fs")?;
    mke2fs
        .args(["-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-d"])
        .arg(&root);
    mke2fs
        .args(["-E", &format!("offset={ROOT_OFFSET}")])
        .arg(&image);
    mke2fs.arg(format!("{}k", ROOT_BYTES / 1024));
    output_of(&mut mke2fs, "e2fsprogs")?;

    fs::rename(&image, output).map_err(Error::io(output))?;
    fs::remove_dir_all(&work).map_err(Error::io(&work))
}

fn kernel_version(kernel: &Path) -> Result<String, Error> {
    let modules = kernel.join("usr/lib/modules");
    fs::read_dir(&modules)
        .map_err(Error::io(&modules))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .next()
        .ok_or_else(|| Error::Layout {
            what: "a kernel version".into(),
            place: modules,
        })
}

fn root_archive(
    cache: &Cache,
    inputs: &Inputs<'_>,
    version: &str,
    work: &Path,
) -> Result<Vec<u8>, Error> {
    let platform = inputs.platform;
    let mut rootfs = Rootfs::new(platform.links)?;
    for directory in [
        "etc",
        "etc/pam.d",
        "root",
        "boot",
        "boot/grub",
        "usr/lib/modules",
    ] {
        rootfs.directory(directory)?;
    }
    for (path, contents) in CONFIGURATION {
        let mode = if path.ends_with("shadow") {
            0o600
        } else {
            0o644
        };
        rootfs.file(path, mode, contents.as_bytes())?;
    }
    let base = cache.unpacked(inputs.base);
    for (path, template) in TEMPLATES {
        let template = base.join(template);
        let text = fs::read_to_string(&template).map_err(Error::io(&template))?;
        // `*` forbids root to log in; `x` refers to the shadow file.
        let mut text = text.replace("root:*:0:0:", "root:x:0:0:");
        if *path == "etc/group" {
            text += DEVICE_GROUPS;
        }
        rootfs.file(path, 0o644, text.as_bytes())?;
    }
    rootfs.file(
        "boot/grub/grub.cfg",
        0o644,
        grub_menu(platform.kernel, version).as_bytes(),
    )?;
    let mut initramfs = Initramfs::new(inputs.busybox.clone());
    initramfs.file("init", 0o755, INIT).modules(
        &ModuleTree::open(&cache.unpacked(inputs.kernel))?,
        platform.modules,
    )?;
    let initrd = initramfs.gzip();
    if let Some(file) = &inputs.initrd {
        replace(file, &initrd)?;
    }
    rootfs.file(&format!("boot/initrd.img-{version}"), 0o644, &initrd)?;
    if inputs.has_dpkg {
        package_database(&mut rootfs, inputs.packages)?;
    }
    for (name, contents) in module_indexes(cache, inputs.kernel, version, work)? {
        rootfs.directory(&format!("usr/lib/modules/{version}"))?;
        rootfs.file(
            &format!("usr/lib/modules/{version}/{name}"),
            0o644,
            &contents,
        )?;
    }
    for deb in inputs.packages {
        rootfs.package(deb)?;
    }
    Ok(rootfs.finish())
}

/// What dpkg knows of packages that it has installed, and the folders that it and apt expect.
fn package_database(rootfs: &mut Rootfs, packages: &[PathBuf]) -> Result<(), Error> {
    let mut status = String::new();
    for deb in packages {
        let control = text_of(Command::new("dpkg-deb").arg("--field").arg(deb), "dpkg")?;
        let (package, rest) = control.split_once('\n').ok_or_else(|| Error::Layout {
            what: "a control file".into(),
            place: deb.clone(),
        })?;
        let rest = rest.trim_end();
        status += &format!("{package}\nStatus: install ok installed\n{rest}\n\n");
    }
    for folder in [
        "var",
        "var/lib",
        "var/lib/dpkg",
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/dpkg/triggers",
    ] {
        rootfs.directory(folder)?;
    }
    rootfs.file("var/lib/dpkg/status", 0o644, status.as_bytes())
}

/// What GRUB adds to the kernel's command line. A guest whose code is compared with the interpreter is slow: without the
/// longer limit, systemd gives the console up after 90 s and starts no login there.
pub(super) const KERNEL_OPTIONS: &str = "console=ttyS0 systemd.default_device_timeout_sec=3600";

/// Under a PC's BIOS GRUB's own console is the display, so that it is told of the serial line.
fn grub_menu(kernel: &str, version: &str) -> String {
    format!(
        "if [ $grub_platform = pc ]; then\n\
         \tserial --unit=0 --speed=115200\n\
         \tterminal_input serial console\n\
         \tterminal_output serial console\n\
         fi\n\
         set timeout=1\n\
         menuentry 'Debian GNU/Linux' {{\n\
         \techo 'Loading Linux {version} ...'\n\
         \tlinux /boot/{kernel}-{version} root=LABEL={ROOT_LABEL} {KERNEL_OPTIONS}\n\
         \techo 'Loading initial ramdisk ...'\n\
         \tinitrd /boot/initrd.img-{version}\n\
         }}\n"
    )
}

/// `modules.dep` and its like, which the kernel package's installation script makes.
fn module_indexes(
    cache: &Cache,
    kernel: &str,
    version: &str,
    work: &Path,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let output = work.join("depmod");
    let mut depmod = cache.host_tool("usr/sbin/depmod")?;
    depmod
        .arg("-b")
        .arg(cache.unpacked(kernel).join("usr"))
        .arg("-o")
        .arg(&output)
        .arg(version);
    output_of(&mut depmod, "kmod")?;
    let place = output.join("lib/modules").join(version);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&place).map_err(Error::io(&place))?.flatten() {
        let contents = fs::read(entry.path()).map_err(Error::io(entry.path()))?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), contents);
    }
    Ok(files)
}

/// The file with what GRUB does first.
const EARLY_CONFIGURATION: &str = "early.cfg";

/// GRUB as an EFI program that reads its menu from the root file system.
fn grub_image(
    cache: &Cache,
    bundle: &str,
    platform: &Platform,
    work: &Path,
) -> Result<Vec<u8>, Error> {
    let early = work.join(EARLY_CONFIGURATION);
    let text = format!(
        "search --no-floppy --label --set=root {ROOT_LABEL}\n\
         set prefix=($root)/boot/grub\n\
         configfile ($root)/boot/grub/grub.cfg\n"
    );
    fs::write(&early, text).map_err(Error::io(&early))?;
    let image = work.join(platform.efi_program);
    let mut grub = cache.host_tool("usr/bin/grub-mkimage")?;
    grub.args(["-O", platform.efi_target, "-p", "/boot/grub", "-d"]);
    let modules = cache.unpacked(bundle).join("usr/lib/grub");
    grub.arg(modules.join(platform.efi_target));
    grub.arg("-c")
        .arg(&early)
        .arg("-o")
        .arg(&image)
        .args(GRUB_MODULES);
    output_of(&mut grub, "grub-common")?;
    fs::read(&image).map_err(Error::io(&image))
}

fn partition(image: &Path, platform: &Platform) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(image)?;
    let sectors = u32::try_from(DISK_BYTES / SECTOR_BYTES - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(sectors)
        .overwrite_lba0(&mut file)
        .map_err(io::Error::other)?;
    let mut disk = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(file, None)
        .map_err(io::Error::other)?;
    let mut partitions = vec![
        ("EFI system", 1, ESP_OFFSET, ESP_BYTES, EFI),
        ("Debian", 2, ROOT_OFFSET, ROOT_BYTES, LINUX_FS),
    ];
    if platform.bios_target.is_some() {
        partitions.push(("GRUB", 3, BIOS_OFFSET, BIOS_PARTITION_BYTES, BIOS));
    }
    for (name, number, offset, bytes, kind) in partitions {
        let (first, count) = (offset / SECTOR_BYTES, bytes / SECTOR_BYTES);
        disk.add_partition_at(name, number, first, count, kind, 0)
            .map_err(io::Error::other)?;
    }
    disk.write().map_err(io::Error::other)?;
    Ok(())
}

/// Formats the system partition and writes `program` to where firmware looks for it on a removable
/// disk.
fn system_partition(image: &Path, platform: &Platform, program: &[u8]) -> io::Result<()> {
    let mut volume = io::Cursor::new(vec![0; ESP_BYTES as usize]);
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"EFI SYSTEM ");
    fatfs::format_volume(&mut volume, options)?;
    {
        let fat = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new())?;
        let boot = fat.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
        let mut file = boot.create_file(platform.efi_program)?;
        file.write_all(program)?;
        file.flush()?;
    }
    let mut file = OpenOptions::new().write(true).open(image)?;
    file.seek(SeekFrom::Start(ESP_OFFSET))?;
    file.write_all(volume.get_ref())
}

impl Cache {
    /// A program of the unpacked host tools, with their libraries.
    pub(super) fn host_tool(&self, program: &str) -> Result<Command, Error> {
        let root = self.unpacked("host-tools");
        let path = root.join(program);
        if !path.exists() {
            return Err(Error::Missing {
                path,
                part: "riscv64-disk",
            });
        }
        let mut command = super::qemu::Host::this()?.command_in(&root, program);
        // mke2fs reads archives through a library that it opens by name.
        command.env("LC_ALL", "C.UTF-8");
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn partition_and_system_partition_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.img");
        File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
        partition(&image, &RISCV64).unwrap();
        system_partition(&image, &RISCV64, b"MZ program").unwrap();

        let disk = gpt::GptConfig::new().open(&image).unwrap();
        let places: Vec<_> = disk
            .partitions()
            .values()
            .map(|p| (p.first_lba * SECTOR_BYTES, (p.last_lba + 1) * SECTOR_BYTES))
            .collect();
        assert_eq!(
            places,
            [
                (ESP_OFFSET, ESP_OFFSET + ESP_BYTES),
                (ROOT_OFFSET, ROOT_OFFSET + ROOT_BYTES)
            ]
        );

        let mut volume = vec![0; ESP_BYTES as usize];
        let mut file = File::open(&image).unwrap();
        file.seek(SeekFrom::Start(ESP_OFFSET)).unwrap();
        file.read_exact(&mut volume).unwrap();
        let fat = fatfs::FileSystem::new(io::Cursor::new(volume), fatfs::FsOptions::new()).unwrap();
        let mut program = Vec::new();
        let root = fat.root_dir();
        root.open_file("EFI/BOOT/BOOTRISCV64.EFI")
            .unwrap()
            .read_to_end(&mut program)
            .unwrap();
        assert_eq!(program, b"MZ program");
    }
}
