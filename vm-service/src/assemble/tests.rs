use super::*;
use crate::Vm;
use vm_core::config::{ArchChoice, Bios, ByteSize, MacAddress, VirtioTransport};

fn assembly(config: &VmConfig) -> Result<Assembly, VmError> {
    let null = SerialLine::to(Arc::new(vm_device::chardev::NoSink));
    let inputs = Inputs::open(GuestArch::Riscv64, config, &Notices::default())?;
    Assembly::of(
        &Vm::builder().config(config.clone()),
        inputs,
        &null,
        None,
        &[],
        None,
    )
}

/// A program of one instruction that `--bios none` takes.
fn bare_program(dir: &tempfile::TempDir) -> VmConfig {
    let path = dir.path().join("program");
    std::fs::write(&path, 0x0000_006f_u32.to_le_bytes()).unwrap();
    VmConfig {
        kernel: Some(path),
        bios: Bios::None,
        ..VmConfig::default()
    }
}

#[test]
fn assembly_every_setting_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk");
    std::fs::write(&image, [7; 1024]).unwrap();
    let config = VmConfig {
        cpus: 3,
        cpu: "rv64,+zba".into(),
        memory: Some(ByteSize::mib(96)),
        append: "quiet".into(),
        disks: vec![
            DiskConfig {
                serial: "A".into(),
                readonly: true,
                ..DiskConfig::raw(&image)
            },
            DiskConfig {
                snapshot: true,
                ..DiskConfig::raw(&image)
            },
        ],
        nets: vec![
            NetConfig::user(),
            NetConfig {
                mac: Some(MacAddress([2, 0, 0, 0, 0, 9])),
                ..NetConfig::user()
            },
        ],
        rng: false,
        rtc: "2027-01-31T12:00:00".parse().unwrap(),
        virtio: VirtioTransport::Mmio,
        no_reboot: true,
        ..bare_program(&dir)
    };
    let Assembly {
        machine,
        board: Board::RiscvVirt(board),
        nats,
        ..
    } = assembly(&config).unwrap()
    else {
        panic!("it is RISC-V's");
    };
    assert_eq!((machine.cpus, machine.ram_bytes), (3, 96 << 20));
    assert_eq!(board.isa, "rv64,+zba".parse().unwrap());
    assert_eq!(board.bootargs, "quiet");
    assert_eq!(machine.rtc_start.as_secs(), 1_801_396_800);
    assert_eq!(machine.disks[0].serial, "A");
    assert!(machine.disks[0].backend.read_only());
    machine.disks[1].backend.write_at(0, &[9]).unwrap();
    assert_eq!(std::fs::read(&image).unwrap(), [7; 1024]);
    assert_eq!(machine.nics[0].mac, FIRST_MAC);
    assert_eq!(machine.nics[1].mac, [2, 0, 0, 0, 0, 9]);
    assert_eq!(nats.len(), 2);
    assert!(!machine.rng && machine.no_reboot && !board.builtin_sbi);
    assert_eq!(board.virtio, VirtioTransport::Mmio);
}

#[test]
fn assembly_writable_disk_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk");
    std::fs::write(&image, [7; 512]).unwrap();
    let config = VmConfig {
        disks: vec![DiskConfig::raw(&image)],
        ..bare_program(&dir)
    };
    let first = assembly(&config).unwrap();
    first.machine.disks[0].backend.write_at(0, &[9]).unwrap();
    assert_eq!(std::fs::read(&image).unwrap()[0], 9);
    let error = assembly(&config).err().unwrap().to_string();
    assert!(
        error.contains("in use by another virtual machine"),
        "{error}"
    );
}

#[test]
fn assembly_hostfwd_and_hostname_reach_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let pcap = dir.path().join("p.pcap");
    let config = VmConfig {
        nets: vec![NetConfig {
            hostfwd: vec!["tcp::0-:22".into()],
            pcap: Some(pcap.clone()),
            hostname: "named".into(),
            ..NetConfig::user()
        }],
        ..bare_program(&dir)
    };
    let Assembly { nats, .. } = assembly(&config).unwrap();
    let port = nats[0].forwarded()[0].port();
    let reached = |net| nat_config(net, &Notices::default()).unwrap();
    assert_eq!(reached(&config.nets[0]).hostname, "named");
    let all: NetConfig = "user,net=192.168.7.0/24,ipv6=off,mtu=9000,dns=127.0.0.1:5353,allow=a:80"
        .parse()
        .unwrap();
    let all = reached(&all);
    assert_eq!(all.network.to_string(), "192.168.7.0/24");
    assert_eq!((all.ipv6, all.mtu), (Some(false), 9000));
    assert_eq!(all.resolvers, Some(vec!["127.0.0.1:5353".parse().unwrap()]));
    assert!(all.restrict && all.allow.len() == 1);
    assert!(pcap.exists());
    let taken = VmConfig {
        nets: vec![NetConfig {
            hostfwd: vec![format!("tcp::{port}-:22")],
            ..NetConfig::user()
        }],
        ..bare_program(&dir)
    };
    let error = assembly(&taken).err().unwrap().to_string();
    assert!(error.contains("is in use"), "{error}");
}

#[test]
fn assembly_net_none_is_no_card() {
    let dir = tempfile::tempdir().unwrap();
    let config = VmConfig {
        nets: vec![NetConfig::none()],
        ..bare_program(&dir)
    };
    let Assembly { machine, nats, .. } = assembly(&config).unwrap();
    assert!(machine.nics.is_empty() && nats.is_empty());
    let both = VmConfig {
        nets: vec![NetConfig::none(), NetConfig::user()],
        ..config
    };
    let error = check(GuestArch::Riscv64, &both).unwrap_err().to_string();
    assert!(error.contains("leave one of them out"), "{error}");
}

#[test]
fn check_unknown_names_suggest_the_nearest() {
    let config = VmConfig {
        cpu: "debain".into(),
        ..VmConfig::default()
    };
    let error = check(GuestArch::Riscv64, &config).unwrap_err().to_string();
    assert!(error.contains("did you mean 'debian'?"), "{error}");
    let error = check(GuestArch::Aarch64, &VmConfig::default()).unwrap_err();
    assert!(error.to_string().contains("--arch riscv64"), "{error}");
    let config = VmConfig {
        nets: vec![NetConfig {
            hostfwd: vec!["tcp:2222".into()],
            ..NetConfig::user()
        }],
        ..VmConfig::default()
    };
    assert!(
        check(GuestArch::Riscv64, &config)
            .unwrap_err()
            .to_string()
            .contains("tcp::2222-:22")
    );
}

#[test]
fn arch_auto_is_that_of_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kernel");
    let arch = |content: &[u8], arch: ArchChoice| {
        std::fs::write(&path, content).unwrap();
        crate::boards::arch_of(&VmConfig {
            kernel: Some(path.clone()),
            arch,
            ..VmConfig::default()
        })
    };
    let mut elf = *b"\x7fELF\x02\x01____________\x3e\0______";
    assert_eq!(arch(&elf, ArchChoice::Auto), GuestArch::X86_64);
    assert_eq!(arch(&elf, GuestArch::Riscv64.into()), GuestArch::Riscv64);
    elf[18] = 243;
    assert_eq!(arch(&elf, ArchChoice::Auto), GuestArch::Riscv64);
    assert_eq!(arch(b"?", ArchChoice::Auto), GuestArch::Riscv64);
}
