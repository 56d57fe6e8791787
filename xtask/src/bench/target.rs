//! The guest architectures that are measured: compilers, files and machines, one row each.

use super::firmware::Firmware;

/// A build of the benchmark program beside the plain one: some of its kernels, compiled otherwise. Its rows have its
/// name as an ending.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// What its kernels' names end with, without the underscore.
    pub(super) name: &'static str,
    pub(super) compiler: Compiler,
    /// Flags beside the common ones.
    pub(super) flags: &'static [&'static str],
    /// The kernels that are measured.
    pub(super) kernels: &'static [&'static str],
    /// What the kernels' repeats are divided by, where they take much longer than the plain ones.
    pub(super) divisor: u64,
    /// Whether it needs AVX2, of the guest and of this host.
    pub(super) needs_avx2: bool,
}

/// A compiler with the package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compiler {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
}

/// A guest's processor in the words of both emulators.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Model {
    /// The name that `--model` takes.
    pub(super) name: &'static str,
    /// What `vm-cli --cpu` takes; empty for the default.
    pub(super) ours: &'static str,
    /// The same for QEMU. The guests report what they see, and a run whose two guests differ fails.
    pub(super) qemu: &'static str,
    pub(super) has_avx2: bool,
}

/// Debian's programs on a disk, and the disk with Debian installed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Programs {
    /// Among the files of the cache of guests.
    pub(super) disk: &'static str,
    /// Kernel modules that it needs.
    pub(super) modules: &'static [&'static str],
    /// A file whose beginning is compressed and sorted: an unpacked kernel.
    pub(super) data: &'static str,
    pub(super) installed_disk: &'static str,
    /// How the installed disk is started: options that both emulators have, without dashes, and files of the cache.
    pub(super) installed_boot: &'static [(&'static str, &'static str)],
    /// The installed system's kernel command line, where no boot loader gives it one.
    pub(super) installed_command_line: Option<&'static str>,
}

/// A guest architecture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) arch: &'static str,
    pub(super) compiler: Compiler,
    /// Flags for the plain build, beside the common ones.
    pub(super) flags: &'static [&'static str],
    pub(super) variants: &'static [Variant],
    /// The kernel's, without what is always there.
    pub(super) command_line: &'static str,
    /// In the cache of guests.
    pub(super) kernel: &'static str,
    pub(super) busybox: &'static str,
    /// Of `cargo xtask guests`.
    pub(super) qemu_machine: &'static str,
    /// The first one is what is measured when none is named.
    pub(super) models: &'static [Model],
    /// Words of `flags` in `/proc/cpuinfo` that have to be the same for both guests; the others tell of the machine,
    /// not of its instructions.
    pub(super) compared_flags: &'static [&'static str],
    pub(super) programs: Programs,
    /// Firmware that is timed, where there is some.
    pub(super) firmware: &'static [Firmware],
}

pub(super) const HOST_COMPILER: Compiler = Compiler {
    program: "gcc",
    package: "gcc",
};

const RISCV64: Target = Target {
    arch: "riscv64",
    compiler: Compiler {
        program: "riscv64-linux-gnu-gcc",
        package: "gcc-riscv64-linux-gnu",
    },
    flags: &[],
    variants: &[],
    command_line: "",
    kernel: "riscv64/Image",
    busybox: "riscv64/busybox",
    qemu_machine: "virt",
    // Its extensions and no more, Sv39, hardware A/D bits.
    models: &[Model {
        name: "",
        ours: "",
        qemu: "rv64,h=off,sv39=on,sv48=off,sv57=off,\
            zicbom=on,zicbop=on,zicboz=on,zicntr=on,zicond=on,zicsr=on,zifencei=on,zihintntl=on,\
            zihintpause=on,zihpm=on,zawrs=on,zacas=on,zabha=on,zfa=on,zfhmin=on,\
            zba=on,zbb=on,zbc=on,zbkb=on,zbs=on,\
            sstc=on,svade=off,svadu=on,svinval=on,svnapot=on,svpbmt=on,svvptc=off",
        has_avx2: false,
    }],
    compared_flags: &[],
    programs: Programs {
        disk: "riscv64/programs.img",
        modules: &["virtio_blk", "crc32c_generic", "ext4"],
        data: "riscv64/Image",
        installed_disk: "riscv64/debian.img",
        installed_boot: &[
            ("bios", "riscv64/fw_dynamic.bin"),
            ("kernel", "riscv64/u-boot.bin"),
        ],
        installed_command_line: None,
    },
    firmware: &[],
};

/// What the models have in common, in QEMU's words. Its translator has no PCID, no INVPCID and no XSAVEC, so that ours
/// is started without.
macro_rules! qemu_x86 {
    ($($more:literal)?) => {
        concat!(
            "qemu64,-svm,+cx16,+x2apic,+rdrand,+fsgsbase,+smep,+erms,+rdseed,+umip,+fsrm,",
            "+lahf-lm,+3dnowprefetch,+pdpe1gb,+rdtscp,+ssse3,+sse4.1,+sse4.2,+popcnt",
            $($more)?
        )
    };
}

const X86_64: Target = Target {
    arch: "x86_64",
    compiler: HOST_COMPILER,
    flags: &["-DBENCH_X86"],
    variants: &[
        Variant {
            name: "avx2",
            compiler: HOST_COMPILER,
            flags: &["-O3", "-mavx2"],
            kernels: &["vector_loops", "int_matrix", "float_matrix"],
            divisor: 1,
            needs_avx2: true,
        },
        Variant {
            name: "x87",
            compiler: HOST_COMPILER,
            flags: &["-mfpmath=387"],
            kernels: &["nbody", "mandelbrot", "spectral_norm"],
            divisor: 4,
            needs_avx2: false,
        },
        Variant {
            name: "compat32",
            compiler: Compiler {
                program: "i686-linux-gnu-gcc",
                package: "gcc-i686-linux-gnu",
            },
            flags: &["-march=i686"],
            kernels: &["crc32", "sha256", "sort", "hash_table", "string_search"],
            divisor: 1,
            needs_avx2: false,
        },
    ],
    // Linux tries the timer for some milliseconds, and gives up where a busy host keeps QEMU from serving it.
    command_line: " no_timer_check",
    kernel: "x86_64/bzImage",
    busybox: "x86_64/busybox",
    qemu_machine: "q35",
    models: &[
        Model {
            name: "x86-64-v2",
            ours: "x86-64-v2,-pcid,-invpcid",
            qemu: qemu_x86!(),
            has_avx2: false,
        },
        Model {
            name: "x86-64-v3",
            ours: "x86-64-v3,-pcid,-invpcid,-xsavec",
            qemu: qemu_x86!(
                ",+fma,+movbe,+xsave,+avx,+f16c,+bmi1,+avx2,+bmi2,+xsaveopt,+xgetbv1,+abm"
            ),
            has_avx2: true,
        },
    ],
    compared_flags: &[
        "pni",
        "ssse3",
        "fma",
        "cx16",
        "pcid",
        "sse4_1",
        "sse4_2",
        "movbe",
        "popcnt",
        "aes",
        "pclmulqdq",
        "xsave",
        "avx",
        "f16c",
        "rdrand",
        "fsgsbase",
        "bmi1",
        "avx2",
        "smep",
        "bmi2",
        "erms",
        "invpcid",
        "rdseed",
        "adx",
        "smap",
        "sha_ni",
        "umip",
        "vaes",
        "la57",
        "rdpid",
        "fsrm",
        "xsaveopt",
        "xsavec",
        "xgetbv1",
        "lahf_lm",
        "abm",
        "3dnowprefetch",
        "pdpe1gb",
        "rdtscp",
    ],
    programs: Programs {
        disk: "x86_64/programs.img",
        modules: &["virtio_blk"],
        data: "x86_64/vmlinux",
        installed_disk: "x86_64/debian.img",
        installed_boot: &[
            ("kernel", "x86_64/bzImage"),
            ("initrd", "x86_64/debian-initrd.gz"),
        ],
        installed_command_line: Some("console=ttyS0 root=LABEL=debian-root no_timer_check"),
    },
    firmware: &[
        Firmware {
            name: "seabios_to_grub_prompt",
            files: &[
                "x86_64/bios-256k.bin",
                "x86_64/vgabios-stdvga.bin",
                "x86_64/grub-rescue-cdrom.iso",
            ],
            ours: &[
                "--bios",
                "@bios-256k.bin",
                "--cdrom",
                "@grub-rescue-cdrom.iso",
            ],
            // Without graphics SeaBIOS prints on the serial port as well.
            qemu: &[
                "-machine",
                "graphics=off",
                "-bios",
                "@bios-256k.bin",
                "-vga",
                "std",
                "-cdrom",
                "@grub-rescue-cdrom.iso",
            ],
            typed: Some(("GNU GRUB", "c")),
            until: "grub>",
        },
        Firmware {
            name: "ovmf_to_shell",
            files: &["x86_64/OVMF_CODE_4M.fd", "x86_64/OVMF_VARS_4M.fd"],
            ours: &["--flash", "code=@OVMF_CODE_4M.fd,readonly"],
            qemu: &[
                "-vga",
                "std",
                "-drive",
                "if=pflash,format=raw,readonly=on,file=@OVMF_CODE_4M.fd",
                "-drive",
                "if=pflash,format=raw,snapshot=on,file=@OVMF_VARS_4M.fd",
            ],
            typed: None,
            until: "UEFI Interactive Shell",
        },
    ],
};

impl Target {
    pub(super) const ALL: &'static [Self] = &[RISCV64, X86_64];

    /// The one of that name.
    pub(super) fn named(arch: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|target| target.arch == arch)
    }

    /// Its processor of that name, or the first.
    pub(super) fn model(&self, name: Option<&str>) -> Option<&'static Model> {
        let all = Self::named(self.arch)?.models;
        match name {
            None => all.first(),
            Some(name) => all.iter().find(|model| model.name == name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_leave_out_what_qemu_has_not() {
        for model in X86_64.models {
            let ours: Vec<_> = model.ours.split(',').collect();
            for (without, with) in [("-pcid", "+pcid"), ("-invpcid", "+invpcid")] {
                assert!(ours.contains(&without), "{}", model.name);
                assert!(!model.qemu.contains(with), "{}", model.name);
            }
            // Whoever has XSAVE shows whether it has XSAVEC.
            let has_xsave = model.qemu.contains("+xsave,");
            assert_eq!(ours.contains(&"-xsavec"), has_xsave, "{}", model.name);
            assert!(!model.qemu.contains("+xsavec"), "{}", model.name);
        }
    }
}
