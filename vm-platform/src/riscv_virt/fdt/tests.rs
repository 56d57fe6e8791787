//! The blob is read back by a small parser of its own (Devicetree Specification 0.4, 5) and printed; the text
//! is compared with `two_harts.dts`. `BLESS=1 cargo test -p vm-platform` rewrites that file.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use vm_core::GuestPhysAddr;

/// Properties by "path:name".
type Properties = HashMap<String, Vec<u8>>;

struct Blob<'a>(&'a [u8]);

impl Blob<'_> {
    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn text(&self, at: usize) -> &str {
        let end = at + self.0[at..].iter().position(|&b| b == 0).unwrap();
        std::str::from_utf8(&self.0[at..end]).unwrap()
    }

    /// Walks the structure block; `node` sees (depth, name or `None` at the end), `prop` (depth, name, value).
    fn walk(&self, mut see: impl FnMut(usize, Item<'_>)) {
        assert_eq!(self.u32(0), 0xd00d_feed);
        assert_eq!(self.u32(4) as usize, self.0.len());
        let (structure, strings) = (self.u32(8) as usize, self.u32(12) as usize);
        let (mut at, mut depth) = (structure, 0);
        loop {
            let token = self.u32(at);
            at += 4;
            match token {
                1 => {
                    let name = self.text(at);
                    see(depth, Item::Open(name));
                    at += (name.len() + 1).next_multiple_of(4);
                    depth += 1;
                }
                2 => {
                    depth -= 1;
                    see(depth, Item::Close);
                }
                3 => {
                    let bytes = self.u32(at) as usize;
                    let name = self.text(strings + self.u32(at + 4) as usize);
                    see(depth, Item::Property(name, &self.0[at + 8..at + 8 + bytes]));
                    at += 8 + bytes.next_multiple_of(4);
                }
                9 => break,
                other => panic!("token {other:#x} at {at:#x}"),
            }
        }
        assert_eq!(depth, 0);
    }

    fn properties(&self) -> Properties {
        let mut path = Vec::new();
        let mut all = Properties::new();
        self.walk(|_, item| match item {
            Item::Open(name) => path.push(name.to_owned()),
            Item::Close => {
                path.pop();
            }
            Item::Property(name, value) => {
                all.insert(format!("{}:{name}", path.join("/")), value.to_vec());
            }
        });
        all
    }

    fn print(&self) -> String {
        let mut out = String::new();
        self.walk(|depth, item| {
            let indent = "    ".repeat(depth);
            let line = match item {
                Item::Open("") => "/ {".to_owned(),
                Item::Open(name) => format!("{name} {{"),
                Item::Close => "};".to_owned(),
                Item::Property(name, []) => format!("{name};"),
                Item::Property(name, value) => format!("{name} = {};", print_value(value)),
            };
            out.push_str(&format!("{indent}{line}\n"));
        });
        out
    }
}

enum Item<'a> {
    Open(&'a str),
    Close,
    Property(&'a str, &'a [u8]),
}

fn print_value(value: &[u8]) -> String {
    let printable = |b: &u8| (b' '..=b'~').contains(b);
    if let Some(strings) = value.strip_suffix(&[0])
        && strings
            .split(|&b| b == 0)
            .all(|s| !s.is_empty() && s.iter().all(printable))
    {
        let quoted: Vec<String> = strings
            .split(|&b| b == 0)
            .map(|s| format!("\"{}\"", String::from_utf8_lossy(s)))
            .collect();
        return quoted.join(", ");
    }
    let cells: Vec<String> = value
        .chunks(4)
        .map(|cell| format!("{:#x}", u32::from_be_bytes(cell.try_into().unwrap())))
        .collect();
    format!("<{}>", cells.join(" "))
}

fn two_harts() -> FdtConfig {
    let names = [
        "i", "m", "a", "f", "d", "c", "zicbom", "zicboz", "zicsr", "zba", "sstc",
    ];
    FdtConfig {
        cpus: 2,
        ram_bytes: 512 << 20,
        extensions: names.map(str::to_owned).to_vec(),
        mmu: MmuType::Sv57,
        bootargs: "console=ttyS0".to_owned(),
        initrd: Some(Region {
            base: GuestPhysAddr(0x9000_0000),
            bytes: 0x2710,
        }),
        rng_seed: Some(std::array::from_fn(|i| 0x80 | i as u8)),
        kaslr_seed: Some(0x0123_4567_89ab_cdef),
    }
}

fn cells(properties: &Properties, key: &str) -> Vec<u32> {
    let value = properties.get(key).unwrap_or_else(|| panic!("no {key}"));
    value
        .chunks(4)
        .map(|cell| u32::from_be_bytes(cell.try_into().unwrap()))
        .collect()
}

#[test]
fn build_two_harts_matches_golden_text() {
    let text = Blob(&build(&two_harts()).unwrap()).print();
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/riscv_virt/fdt/two_harts.dts"
    );
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap();
    assert!(
        text == expected,
        "differs from {golden}; the new text is:\n{text}"
    );
}

#[test]
fn build_passes_the_device_tree_compiler() {
    let blob = build(&two_harts()).unwrap();
    let spawned = Command::new("dtc")
        .args(["-I", "dtb", "-O", "dts", "-o", "/dev/null", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut dtc) = spawned else {
        println!("skipped: dtc (package device-tree-compiler) is not installed");
        return;
    };
    dtc.stdin.take().unwrap().write_all(&blob).unwrap();
    let output = dtc.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn build_phandles_resolve_to_the_right_nodes() {
    let p = Blob(&build(&two_harts()).unwrap()).properties();
    let plic = cells(&p, "/soc/plic@c000000:phandle")[0];
    let intc: Vec<u32> = (0..2)
        .map(|hart| {
            cells(
                &p,
                &format!("/cpus/cpu@{hart}/interrupt-controller:phandle"),
            )[0]
        })
        .collect();
    assert_eq!(
        cells(&p, "/soc/plic@c000000:interrupts-extended"),
        [intc[0], 11, intc[0], 9, intc[1], 11, intc[1], 9]
    );
    assert_eq!(
        cells(&p, "/soc/clint@2000000:interrupts-extended"),
        [intc[0], 3, intc[0], 7, intc[1], 3, intc[1], 7]
    );
    assert_eq!(cells(&p, "/soc/serial@10000000:interrupt-parent"), [plic]);
    assert_eq!(cells(&p, "/soc/virtio_mmio@10008000:interrupts"), [8]);
    assert_eq!(
        cells(&p, "/poweroff:regmap"),
        cells(&p, "/soc/test@100000:phandle")
    );
    for row in cells(&p, "/soc/pci@30000000:interrupt-map").chunks(6) {
        assert_eq!(row[4], plic);
        assert_eq!(row[5], 32 + ((row[0] >> 11) + row[3] - 1) % 4);
    }
    let map =
        ["core0", "core1"].map(|core| cells(&p, &format!("/cpus/cpu-map/cluster0/{core}:cpu")));
    assert_eq!(
        map,
        [0, 1].map(|hart| cells(&p, &format!("/cpus/cpu@{hart}:phandle")))
    );
}

#[test]
fn build_pcie_ranges_follow_ram() {
    let config = FdtConfig {
        ram_bytes: 20 << 30,
        ..two_harts()
    };
    let p = Blob(&build(&config).unwrap()).properties();
    assert_eq!(
        cells(&p, "/soc/pci@30000000:ranges"),
        [
            0x0100_0000,
            0,
            0,
            0,
            0x0300_0000,
            0,
            0x1_0000, //
            0x0200_0000,
            0,
            0x4000_0000,
            0,
            0x4000_0000,
            0,
            0x4000_0000, //
            0x0300_0000,
            8,
            0,
            8,
            0,
            4,
            0,
        ]
    );
    assert_eq!(cells(&p, "/memory@80000000:reg"), [0, 0x8000_0000, 5, 0]);
}

#[test]
fn build_isa_forms_come_from_one_list() {
    let config = FdtConfig {
        extensions: ["i", "m", "zicboz", "svinval"].map(str::to_owned).to_vec(),
        mmu: MmuType::Sv39,
        ..two_harts()
    };
    let p = Blob(&build(&config).unwrap()).properties();
    assert_eq!(p["/cpus/cpu@1:riscv,isa"], b"rv64im_zicboz_svinval\0");
    assert_eq!(
        p["/cpus/cpu@1:riscv,isa-extensions"],
        b"i\0m\0zicboz\0svinval\0"
    );
    assert_eq!(p["/cpus/cpu@1:mmu-type"], b"riscv,sv39\0");
    assert_eq!(cells(&p, "/cpus/cpu@1:riscv,cboz-block-size"), [64]);
    assert!(!p.contains_key("/cpus/cpu@1:riscv,cbom-block-size"));
}

#[test]
fn build_without_options_leaves_their_properties_out() {
    let config = FdtConfig {
        initrd: None,
        rng_seed: None,
        kaslr_seed: None,
        ..two_harts()
    };
    let p = Blob(&build(&config).unwrap()).properties();
    for name in [
        "linux,initrd-start",
        "linux,initrd-end",
        "rng-seed",
        "kaslr-seed",
    ] {
        assert!(!p.contains_key(&format!("/chosen:{name}")), "{name}");
    }
    assert_eq!(p["/chosen:bootargs"], b"console=ttyS0\0");
}

#[test]
fn build_bad_config_is_refused_with_advice() {
    let no_cpus = FdtConfig {
        cpus: 0,
        ..two_harts()
    };
    assert!(matches!(build(&no_cpus), Err(FdtError::NoCpus)));
    let zero = FdtConfig {
        bootargs: "a\0b".to_owned(),
        ..two_harts()
    };
    assert!(
        build(&zero)
            .unwrap_err()
            .to_string()
            .contains("kernel command line")
    );
}
