use super::*;
use crate::args::{Cli, Command};
use clap::Parser as _;
use vm_core::GuestArch;
use vm_core::config::{
    Accel, Bios, ByteSize, CodeCache, DiskBus, DiskConfig, DisplayChoice, Dump, EscapeKey,
    FlashConfig, GdbConfig, NetConfig, OnPanic, PcRange, Rtc, SerialConfig, VirtioTransport,
};

fn args(words: &[&str]) -> MachineArgs {
    let line = ["vm-cli", "run"].iter().chain(words);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Run(run) => run.machine,
        other => panic!("{other:?}"),
    }
}

fn gdb(address: &str, wait: bool) -> GdbConfig {
    GdbConfig {
        address: address.into(),
        wait,
    }
}

/// A configuration in which every value differs from the default and from what the options below say.
fn file() -> VmConfig {
    VmConfig {
        cpus: 7,
        cpu: "max".into(),
        memory: Some(ByteSize::mib(64)),
        kernel: Some("file-kernel".into()),
        initrd: Some("file-initrd".into()),
        dtb: Some("file-dtb".into()),
        append: "file".into(),
        bios: Bios::File("file-bios".into()),
        disks: vec![DiskConfig::raw("file-disk")],
        nets: vec![NetConfig {
            hostname: "file".into(),
            ..NetConfig::user()
        }],
        serial: Some(SerialConfig::Pty),
        console: Some(SerialConfig::Pty),
        ports: vec!["name=file,to=null".parse().unwrap()],
        rng: true,
        dump_signature: Some("file-signature".into()),
        ..VmConfig::default()
    }
}

/// Each option, and what it must change; one that is ignored fails here.
#[test]
fn every_option_wins_over_the_file() {
    type Change = fn(&mut VmConfig);
    let table: &[(&[&str], Change)] = &[
        (&["--arch", "x86_64"], |c| c.arch = GuestArch::X86_64.into()),
        (&["--cpus", "3"], |c| c.cpus = 3),
        (&["--cpu", "rv64,-c"], |c| c.cpu = "rv64,-c".into()),
        (&["--memory", "2G"], |c| {
            c.memory = Some(ByteSize::mib(2048))
        }),
        (&["--kernel", "K"], |c| c.kernel = Some("K".into())),
        (&["--initrd", "I"], |c| c.initrd = Some("I".into())),
        (&["--append", "a b"], |c| c.append = "a b".into()),
        (&["--bios", "none"], |c| c.bios = Bios::None),
        (&["--bios", "builtin"], |c| c.bios = Bios::Builtin),
        (&["--bios", "seabios"], |c| c.bios = Bios::Seabios),
        (&["--bios", "uefi"], |c| c.bios = Bios::Uefi),
        (&["--debugcon", "file:L"], |c| {
            c.debugcon = Some(SerialConfig::File("L".into()))
        }),
        (&["--screenshot", "S.png"], |c| {
            c.screenshot = Some("S.png".into())
        }),
        (&["--display", "vga"], |c| c.display = DisplayChoice::Vga),
        (&["--display", "ramfb"], |c| {
            c.display = DisplayChoice::Ramfb
        }),
        (&["--display", "none"], |c| c.display = DisplayChoice::None),
        (&["--watchdog", "on"], |c| c.watchdog = true),
        (&["--debug-exit"], |c| c.debug_exit = true),
        (&["--test-device"], |c| c.test_device = true),
        (&["--cdrom", "D"], |c| c.disks.push(DiskConfig::cdrom("D"))),
        (&["--disk", "d,bus=nvme"], |c| {
            c.disks = vec![DiskConfig {
                bus: DiskBus::Nvme,
                ..DiskConfig::raw("d")
            }]
        }),
        (&["--disk", "d,media=cdrom"], |c| {
            c.disks = vec![DiskConfig::cdrom("d")]
        }),
        (&["--serial", "null"], |c| {
            c.serial = Some(SerialConfig::Null)
        }),
        (&["--console", "null"], |c| {
            c.console = Some(SerialConfig::Null)
        }),
        (&["--port", "name=agent,to=unix:A"], |c| {
            c.ports = vec!["name=agent,to=unix:A".parse().unwrap()]
        }),
        (&["--escape", "none"], |c| c.escape = EscapeKey::NONE),
        (&["--on-panic", "stop"], |c| c.on_panic = OnPanic::Stop),
        (&["--rng", "off"], |c| c.rng = false),
        (&["--balloon", "on"], |c| c.balloon = Some(true)),
        (&["--balloon", "off"], |c| c.balloon = Some(false)),
        (&["--rtc", "local"], |c| c.rtc = Rtc::Local),
        (&["--rtc", "2027-01-31T12:00:00"], |c| {
            c.rtc = "2027-01-31T12:00:00".parse().unwrap()
        }),
        (&["--dtb", "D"], |c| c.dtb = Some("D".into())),
        (&["--virtio", "mmio"], |c| c.virtio = VirtioTransport::Mmio),
        (&["--accel", "interp"], |c| c.accel = Accel::Interp),
        (&["--code-cache", "32M"], |c| {
            c.code_cache = CodeCache::Size(ByteSize::mib(32))
        }),
        (&["--stats"], |c| c.stats = true),
        (&["--dump", "ir"], |c| {
            c.dump = Some(Dump {
                ir: true,
                asm: false,
            })
        }),
        (&["--filter", "80-8f"], |c| {
            c.filter = Some(PcRange {
                first: 0x80,
                last: 0x8f,
            })
        }),
        (&["--verify"], |c| c.verify = true),
        (&["--perf-map"], |c| c.perf_map = true),
        (&["--gdb", "[::1]:9"], |c| {
            c.gdb = Some(gdb("[::1]:9", true))
        }),
        (&["--gdb"], |c| c.gdb = Some(gdb("127.0.0.1:1234", true))),
        (&["--gdb", "9,wait=off"], |c| c.gdb = Some(gdb("9", false))),
        (&["--flash", "code=c,readonly", "--flash", "vars=v"], |c| {
            c.flash = FlashConfig {
                code: Some("c".into()),
                vars: Some("v".into()),
                readonly: true,
            }
        }),
        (&["--no-reboot"], |c| c.no_reboot = true),
        (&["-m", "96"], |c| c.memory = Some(ByteSize::mib(96))),
        (&["--append", "a", "--append", "b=1 c"], |c| {
            c.append = "a b=1 c".into()
        }),
        (&["--dump-signature", "S"], |c| {
            c.dump_signature = Some("S".into())
        }),
        (&["--trace", "exec=T"], |c| c.trace = Some("T".into())),
        (&["--trace", "exec"], |c| {
            c.trace = Some("vm-trace.txt".into())
        }),
        (&["--disk", "file=a,readonly", "--disk", "file=b"], |c| {
            c.disks = vec![
                DiskConfig {
                    readonly: true,
                    ..DiskConfig::raw("a")
                },
                DiskConfig::raw("b"),
            ];
        }),
        (&["--net", "user,hostname=h"], |c| {
            c.nets = vec![NetConfig {
                hostname: "h".into(),
                ..NetConfig::user()
            }];
        }),
    ];
    for (words, change) in table {
        let mut expected = file();
        change(&mut expected);
        assert_ne!(expected, file(), "{words:?} must change something");
        assert_eq!(over(file(), &args(words)), expected, "{words:?}");
    }
    assert_eq!(over(file(), &args(&[])), file());
}

#[test]
fn config_option_reads_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vm.toml");
    std::fs::write(&path, "cpus = 5\nmemory = \"64M\"").unwrap();
    let options = args(&["--config", path.to_str().unwrap(), "--memory", "96M"]);
    let config = of(&options).unwrap();
    assert_eq!((config.cpus, config.memory), (5, Some(ByteSize::mib(96))));
}

#[test]
fn switches_are_on_alone_and_take_a_value() {
    type Field = fn(&VmConfig) -> bool;
    let switches: [(&str, Field); 6] = [
        ("--no-reboot", |config| config.no_reboot),
        ("--stats", |config| config.stats),
        ("--verify", |config| config.verify),
        ("--perf-map", |config| config.perf_map),
        ("--debug-exit", |config| config.debug_exit),
        ("--test-device", |config| config.test_device),
    ];
    for (option, field) in switches {
        let on = over(VmConfig::default(), &args(&[option]));
        assert!(field(&on), "{option}");
        for (value, expected) in [
            ("on", true),
            ("true", true),
            ("off", false),
            ("false", false),
        ] {
            let option = format!("{option}={value}");
            // The file says the opposite.
            let file = match expected {
                true => VmConfig::default(),
                false => on.clone(),
            };
            assert_eq!(field(&over(file, &args(&[&option]))), expected, "{option}");
        }
    }
}
