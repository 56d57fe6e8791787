use std::path::Path;

use super::*;
use std::ffi::OsStr;

fn message<T: std::str::FromStr<Err = ConfigError>>(text: &str) -> String {
    match text.parse::<T>() {
        Ok(_) => panic!("'{text}' was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn size_with_unit_is_bytes() {
    for (text, bytes) in [
        ("512M", 512 << 20),
        ("1G", 1 << 30),
        ("1.5G", 3 << 29),
        ("64k", 64 << 10),
        ("2TiB", 2 << 40),
        ("10MB", 10 << 20),
    ] {
        assert_eq!(text.parse::<ByteSize>().unwrap().bytes(), bytes, "{text}");
    }
}

#[test]
fn size_without_sense_says_what_to_write() {
    assert!(message::<ByteSize>("512").contains("write K, M, G or T"));
    for text in ["", "M", "-1M", "1.G", "1..5G", "5Q", "1e3M"] {
        message::<ByteSize>(text);
    }
    assert!(message::<ByteSize>("0M").contains("nothing"));
    assert!(message::<ByteSize>("99999999999T").contains("64 bits"));
}

#[test]
fn code_cache_of_its_own_choice_follows_the_hosts_memory() {
    let auto: CodeCache = "auto".parse().unwrap();
    assert_eq!(auto, CodeCache::default());
    assert_eq!(auto.to_string(), "auto");
    for (free, limit) in [(4 << 30, 512 << 20), (64 << 30, 1 << 30), (0, 16 << 20)] {
        assert_eq!(auto.limit_bytes(|| free), limit, "{free}");
    }
    let sized: CodeCache = "32M".parse().unwrap();
    assert_eq!(sized.limit_bytes(|| unreachable!("not asked")), 32 << 20);
    assert!(message::<CodeCache>("much").contains("needs a unit"));
}

#[test]
fn size_of_ram_without_a_unit_is_in_mib() {
    for (text, size) in [
        ("512", ByteSize::mib(512)),
        ("2G", ByteSize::mib(2048)),
        ("64M", ByteSize::mib(64)),
    ] {
        assert_eq!(ByteSize::of_ram(text), Ok(size), "{text}");
    }
    for text in ["", "0", "-1", "1.5", "many"] {
        assert!(ByteSize::of_ram(text).is_err(), "{text}");
    }
}

#[test]
fn size_printed_is_parsed_again() {
    for bytes in [1 << 20, 3 << 20, 5 << 30, 1 << 40] {
        let size = ByteSize(bytes);
        assert_eq!(size.to_string().parse(), Ok(size));
    }
}

#[test]
fn disk_every_option_arrives() {
    let disk: DiskConfig =
        "file=/a,,b.img,format=raw,readonly,snapshot=on,serial=S1,on-full=report"
            .parse()
            .unwrap();
    assert_eq!(disk.file.to_str(), Some("/a,b.img"));
    assert!(disk.readonly && disk.snapshot);
    assert_eq!(disk.serial, "S1");
    assert_eq!(disk.format, Some(DiskFormat::Raw));
    assert_eq!(disk.on_full, OnFull::Report);
    let plain: DiskConfig = "disk.img,readonly=off".parse().unwrap();
    assert_eq!(plain, DiskConfig::raw("disk.img"));
}

#[test]
fn disk_buses_and_media_go_together() {
    let disk = |text: &str| text.parse::<DiskConfig>();
    let plain = disk("d,bus=virtio,media=disk").unwrap();
    assert_eq!(plain, DiskConfig::raw("d"));
    assert_eq!(disk("d,bus=ahci").unwrap().bus, DiskBus::Ahci);
    assert_eq!(disk("d,bus=nvme,slot=9").unwrap().bus, DiskBus::Nvme);
    let disc = disk("d,media=cdrom").unwrap();
    assert_eq!(disc, DiskConfig::cdrom("d"));
    assert!(disc.is_readonly() && !plain.is_readonly());
    for (text, words) in [
        ("d,media=cdrom,bus=nvme", "on the SATA controller only"),
        ("d,bus=ahci,slot=3", "leave one of them out"),
        ("d,bus=scsi", "unknown disk bus 'scsi'"),
        ("d,media=tape", "unknown disk media 'tape'"),
    ] {
        let error = disk(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn check_gives_the_terminal_to_one_port() {
    let terminal = Some(SerialConfig::Stdio);
    let config = VmConfig {
        serial: terminal.clone(),
        debugcon: terminal.clone(),
        ..VmConfig::default()
    };
    let error = config.check().unwrap_err().to_string();
    assert!(error.contains("both want the terminal"), "{error}");
    let alone = VmConfig {
        debugcon: terminal,
        ..VmConfig::default()
    };
    assert!(alone.check().is_ok());
}

#[test]
fn items_commas_are_separators_unless_doubled() {
    for (text, items) in [
        ("", &[][..]),
        (",", &[]),
        ("a", &["a"]),
        ("a,", &["a"]),
        (",a", &["a"]),
        ("a,b", &["a", "b"]),
        ("a,,b", &["a,b"]),
        ("a,,,b", &["a,", "b"]),
        ("a,,", &["a,"]),
        (",,a", &[",a"]),
        ("a,,,,b", &["a,,b"]),
    ] {
        let found = options::items(text.as_ref());
        let found: Vec<_> = found.iter().map(|(key, _)| key.to_str().unwrap()).collect();
        assert_eq!(found, items, "{text}");
    }
}

#[test]
#[cfg(unix)]
fn paths_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt as _;
    let odd =
        |prefix: &str| OsStr::from_bytes(&[prefix.as_bytes(), b"/\xff.img"].concat()).to_owned();
    let path = std::path::PathBuf::from(odd(""));
    for text in [odd("file="), odd("")] {
        assert_eq!(DiskConfig::from_os_str(&text), Ok(DiskConfig::raw(&path)));
    }
    let net = NetConfig::from_os_str(&odd("user,pcap=")).unwrap();
    assert_eq!(net.pcap.as_ref(), Some(&path));
    let file = SerialConfig::from_os_str(&odd("file:"));
    assert_eq!(file, Ok(SerialConfig::File(path.clone())));
    let socket = SerialConfig::from_os_str(&odd("unix:"));
    assert_eq!(socket, Ok(SerialConfig::Unix(path.clone())));
    assert_eq!(Bios::from_os_str(&odd("")), Ok(Bios::File(path)));
    let serial = DiskConfig::from_os_str(&odd("file=a,serial=")).unwrap_err();
    assert!(serial.to_string().contains("is not UTF-8"), "{serial}");
}

#[test]
fn nearest_is_a_slip_or_a_beginning_and_nothing_else() {
    let options = [
        "memory", "dump", "arch", "initrd", "disk", "bios", "trace", "net", "user",
    ];
    for (word, meant) in [
        ("memroy", Some("memory")),
        ("mem", Some("memory")),
        ("bois", Some("bios")),
        ("usr", Some("user")),
        ("smp", None),
        ("machine", None),
        ("monitor", None),
        ("display", None),
        ("iso", None),
        ("rtc", None),
        ("usb", None),
        ("d", None),
        ("", None),
    ] {
        assert_eq!(nearest(word, options), meant, "{word}");
    }
}

#[test]
fn disk_mistakes_name_the_nearest_word() {
    assert!(message::<DiskConfig>("file=a,snapshto=on").contains("did you mean 'snapshot'?"));
    assert!(message::<DiskConfig>("file=a,snapshot=maybe").contains("use on, off"));
    assert!(message::<DiskConfig>("file=").contains("needs a value"));
    assert!(message::<DiskConfig>("").contains("file=PATH"));
    assert!(message::<DiskConfig>("file=a,format=qcow2").contains("qemu-img convert -O raw"));
    assert!(message::<DiskConfig>("file=a,on-full=stop").contains("pause"));
    assert!(message::<DiskConfig>("file=a,serial=123456789012345678901").contains("20 bytes"));
}

#[test]
fn net_every_option_arrives() {
    let net: NetConfig =
        "user,hostfwd=tcp::2222-:22,hostfwd=udp::53-:53,pcap=f.pcap,mac=52:54:00:00:00:01,hostname=g,loss=5,\
         net=192.168.7.0/24,ipv6=off,mtu=9000,dns=192.0.2.1,dns=[::1]:5353,allow=a:80,allow=b:443,slot=9"
            .parse()
            .unwrap();
    assert_eq!(net.hostfwd, ["tcp::2222-:22", "udp::53-:53"]);
    assert_eq!(net.pcap.as_ref().unwrap().to_str(), Some("f.pcap"));
    assert_eq!(net.mac, Some(MacAddress([0x52, 0x54, 0, 0, 0, 1])));
    assert_eq!(net.hostname, "g");
    assert_eq!(net.loss, 5);
    assert_eq!(net.net, "192.168.7.0/24");
    assert_eq!(
        (net.ipv6, net.mtu, net.slot),
        (Some(false), Some(9000), Some(9))
    );
    assert_eq!(net.dns, ["192.0.2.1", "[::1]:5353"]);
    assert_eq!(net.allow, ["a:80", "b:443"]);
    assert!(net.restrict.is_none() && net.is_restricted());
    let restricted = |text: &str| text.parse::<NetConfig>().unwrap().is_restricted();
    assert!(restricted("user,restrict") && restricted("user,restrict=on"));
    assert!(!restricted("user") && !restricted("user,restrict=off"));
    assert_eq!("none".parse::<NetConfig>().unwrap(), NetConfig::none());
}

#[test]
fn net_mistakes_say_what_to_write() {
    assert!(message::<NetConfig>("usr").contains("did you mean 'user'?"));
    assert!(message::<NetConfig>("user,hostfw=x").contains("did you mean 'hostfwd'?"));
    assert!(message::<NetConfig>("user,mac=53:54:00:12:34:56").contains("even"));
    assert!(message::<NetConfig>("user,mac=52:54").contains("six bytes"));
    assert!(message::<NetConfig>("").contains("--net user"));
    assert!(message::<NetConfig>("user,loss=few").contains("0 to 50"));
    assert!(message::<NetConfig>("user,mtu=big").contains("576 to 65520"));
    assert!(message::<NetConfig>("user,slot=32").contains("1 to 31"));
    assert!(message::<NetConfig>("user,restrict=maybe").contains("use on, off"));
    assert!(message::<NetConfig>("none,mtu=9000").contains("none alone"));
}

#[test]
fn words_round_trip() {
    for text in ["stdio", "file:/x", "unix:/y", "pty", "null"] {
        assert_eq!(text.parse::<SerialConfig>().unwrap().to_string(), text);
    }
    for text in ["builtin", "none", "/fw.bin"] {
        assert_eq!(text.parse::<Bios>().unwrap().to_string(), text);
    }
    for text in ["pci", "mmio"] {
        assert_eq!(text.parse::<VirtioTransport>().unwrap().to_string(), text);
    }
    for text in ["ir", "asm", "ir,asm"] {
        assert_eq!(text.parse::<Dump>().unwrap().to_string(), text);
    }
    for text in ["80200000", "0-ffffffff80000000"] {
        assert_eq!(text.parse::<PcRange>().unwrap().to_string(), text);
    }
    for text in ["auto", "interp", "jit"] {
        assert_eq!(text.parse::<Accel>().unwrap().to_string(), text);
    }
}

#[test]
fn words_unknown_name_the_nearest() {
    assert!(message::<SerialConfig>("stdoi").contains("did you mean 'stdio'?"));
    assert!(message::<SerialConfig>("file:").contains("no path"));
    assert!(message::<VirtioTransport>("pcie").contains("did you mean 'pci'?"));
    assert!(message::<Accel>("kvm").contains("use auto, jit or interp"));
    assert!(message::<Dump>("ir,asn").contains("did you mean 'asm'?"));
    assert!(message::<PcRange>("main").contains("is not hexadecimal"));
    assert!(message::<Accel>("intrep").contains("did you mean 'interp'?"));
}

#[test]
fn check_parts_that_do_not_go_together_are_refused() {
    let good = VmConfig::default();
    assert_eq!(good.check(), Ok(()));
    let odd = VmConfig {
        memory: Some(ByteSize(1 << 20 | 1)),
        ..VmConfig::default()
    };
    assert!(
        odd.check()
            .unwrap_err()
            .to_string()
            .contains("whole number of MiB")
    );
    let both = VmConfig {
        serial: Some(SerialConfig::Stdio),
        console: Some(SerialConfig::Stdio),
        ..VmConfig::default()
    };
    assert!(
        both.check()
            .unwrap_err()
            .to_string()
            .contains("both want the terminal")
    );
    let lone = VmConfig {
        initrd: Some("i".into()),
        ..VmConfig::default()
    };
    assert!(lone.check().unwrap_err().to_string().contains("--kernel"));
    let lone = VmConfig {
        append: "quiet".into(),
        ..VmConfig::default()
    };
    assert!(lone.check().unwrap_err().to_string().contains("--kernel"));
}

#[test]
fn resolve_paths_moves_relative_ones_only() {
    let mut config = VmConfig {
        kernel: Some("Image".into()),
        initrd: Some("/abs".into()),
        bios: Bios::File("fw".into()),
        disks: vec![DiskConfig::raw("d")],
        serial: Some(SerialConfig::File("log".into())),
        ..VmConfig::default()
    };
    config.resolve_paths("/base".as_ref());
    assert_eq!(config.kernel.unwrap().to_str(), Some("/base/Image"));
    assert_eq!(config.initrd.unwrap().to_str(), Some("/abs"));
    assert_eq!(config.bios, Bios::File("/base/fw".into()));
    assert_eq!(config.disks[0].file.to_str(), Some("/base/d"));
    assert_eq!(config.serial, Some(SerialConfig::File("/base/log".into())));
}

#[test]
fn flash_forms_and_mistakes() {
    let one: FlashConfig = "code=/c.fd,readonly,vars=v.fd".parse().unwrap();
    let mut two: FlashConfig = "vars=old.fd".parse().unwrap();
    two.merge(&"code=/c.fd,readonly".parse().unwrap());
    two.merge(&"vars=v.fd".parse().unwrap());
    assert_eq!(one, two);
    assert_eq!(one.code.as_deref(), Some(Path::new("/c.fd")));
    assert!(one.readonly);
    assert!(message::<FlashConfig>("c.fd").contains("use code=FILE, readonly, vars=FILE"));
    assert!(message::<FlashConfig>("cod=c.fd").contains("did you mean 'code=FILE'?"));
    assert!(message::<FlashConfig>("").contains("code=FILE or vars=FILE"));
    assert!(message::<FlashConfig>("vars=v,readonly").contains("code=FILE,readonly"));
    assert!(message::<FlashConfig>("code=").contains("needs a value"));
}

#[test]
fn port_forms_and_mistakes() {
    let port: PortConfig = "name=org.qemu.guest_agent.0,to=unix:/run/agent"
        .parse()
        .unwrap();
    assert_eq!(port.name, "org.qemu.guest_agent.0");
    assert_eq!(port.to, SerialConfig::Unix("/run/agent".into()));
    let comma: PortConfig = "to=file:a,,b,name=n".parse().unwrap();
    assert_eq!(comma.to, SerialConfig::File("a,b".into()));
    for (text, expected) in [
        ("name=a", "needs a name and what it is connected to"),
        ("to=pty", "needs a name and what it is connected to"),
        ("name=,to=pty", "needs a value"),
        ("name=a/b,to=pty", "is no file's name"),
        ("name=..,to=pty", "is no file's name"),
        ("name=a b,to=pty", "is no file's name"),
        ("name=a,to=stdio", "cannot have the terminal"),
        ("name=a,to=socket:/x", "serial port"),
        ("nmae=a,to=pty", "did you mean 'name'?"),
    ] {
        let said = message::<PortConfig>(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    assert!(message::<PortConfig>(&format!("name={},to=pty", "a".repeat(65))).contains("too long"));
    let mut config = VmConfig {
        ports: vec![port.clone(), comma, port],
        ..VmConfig::default()
    };
    assert!(config.check().unwrap_err().to_string().contains("twice"));
    config.ports.truncate(2);
    config.check().unwrap();
    config.resolve_paths("/base".as_ref());
    assert_eq!(config.ports[1].to, SerialConfig::File("/base/a,b".into()));
    assert_eq!(config.ports[0].to, SerialConfig::Unix("/run/agent".into()));
}

#[test]
fn gdb_waits_unless_told_not_to() {
    let of = |text: &str| text.parse::<GdbConfig>().unwrap();
    assert_eq!(of(""), GdbConfig::default());
    assert!(of("[::1]:9").wait);
    let off = of(":9,wait=off");
    assert_eq!((off.address.as_str(), off.wait), (":9", false));
    assert_eq!(of(&off.to_string()), off);
    assert_eq!(of("wait=off").address, GdbConfig::default().address);
    assert!(message::<GdbConfig>("9,wiat=off").contains("did you mean 'wait'?"));
    assert!(message::<GdbConfig>("9,wait=maybe").contains("use on, off"));
}
