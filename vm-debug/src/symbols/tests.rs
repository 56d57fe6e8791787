use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Where the tables of an image are in relation to the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    /// Addresses behind the token index (Linux 6.4 and later).
    AddressesLast,
    /// Addresses before the names (before Linux 6.4).
    AddressesFirst,
}

const BASE: u64 = 0xffff_ffff_8000_0000;

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// An image with kallsyms tables for the symbols (offset, type and name).
fn image(symbols: &[(u32, String)], layout: Layout) -> Vec<u8> {
    // Characters stand for themselves; two more tokens are common words.
    let mut tokens: Vec<String> = (0..=255_u8).map(|n| format!("unused{n}_")).collect();
    let used: BTreeSet<u8> = symbols.iter().flat_map(|(_, name)| name.bytes()).collect();
    for byte in used.into_iter().chain(b'0'..=b'9') {
        tokens[usize::from(byte)] = char::from(byte).to_string();
    }
    tokens[1] = "start_".to_owned();
    tokens[200] = "kernel".to_owned();

    let mut addresses = Vec::new();
    for (offset, _) in symbols {
        addresses.extend_from_slice(&offset.to_le_bytes());
    }
    align(&mut addresses);
    addresses.extend_from_slice(&BASE.to_le_bytes());

    let mut bytes = vec![0x13; 4096];
    // Digits that are no token table.
    bytes.extend_from_slice(b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0");
    align(&mut bytes);
    if layout == Layout::AddressesFirst {
        bytes.extend_from_slice(&addresses);
    }
    bytes.extend_from_slice(&(symbols.len() as u32).to_le_bytes());
    align(&mut bytes);
    let names = bytes.len();
    let mut markers = Vec::new();
    for (number, (_, name)) in symbols.iter().enumerate() {
        if number % 256 == 0 {
            markers.extend_from_slice(&((bytes.len() - names) as u32).to_le_bytes());
        }
        let packed: Vec<u8> = name
            .replace("start_", "\u{1}")
            .replace("kernel", "\u{2}")
            .bytes()
            .map(|byte| if byte == 2 { 200 } else { byte })
            .collect();
        if packed.len() < 128 {
            bytes.push(packed.len() as u8);
        } else {
            bytes.extend_from_slice(&[packed.len() as u8 & 0x7f | 0x80, (packed.len() >> 7) as u8]);
        }
        bytes.extend_from_slice(&packed);
    }
    align(&mut bytes);
    bytes.extend_from_slice(&markers);
    align(&mut bytes);
    let mut index = Vec::new();
    let start = bytes.len();
    for token in &tokens {
        index.extend_from_slice(&((bytes.len() - start) as u16).to_le_bytes());
        bytes.extend_from_slice(token.as_bytes());
        bytes.push(0);
    }
    align(&mut bytes);
    bytes.extend_from_slice(&index);
    if layout == Layout::AddressesLast {
        bytes.extend_from_slice(&addresses);
    }
    bytes.extend_from_slice(&[0xcc; 64]);
    bytes
}

/// Symbols at every eighth byte, with some names that make trouble.
fn many(count: u32) -> Vec<(u32, String)> {
    (0..count)
        .map(|number| {
            let name = match number {
                0 => "T_start".to_owned(),
                1 => "Tstart_kernel".to_owned(),
                2 => "Djiffies".to_owned(),
                3 => format!("t{}", "very_long_name_".repeat(20)),
                _ => format!("tsymbol_{number}.constprop.0"),
            };
            (number * 8, name)
        })
        .collect()
}

fn table(image: &[u8]) -> Option<SymbolTable> {
    SymbolTable::from_kallsyms(GuestArch::Riscv64, image)
}

#[test]
fn kallsyms_either_layout_decodes() {
    for layout in [Layout::AddressesLast, Layout::AddressesFirst] {
        // Numbers of symbols around the borders of markers and padding.
        for count in [255, 256, 257, 511, 512, 513, 1000] {
            let symbols = many(count);
            let found = table(&image(&symbols, layout)).unwrap_or_else(|| {
                panic!("{count} symbols, {layout:?}");
            });
            assert_eq!(found.len(), symbols.len());
            for (symbol, (offset, name)) in found.symbols().iter().zip(&symbols) {
                assert_eq!(symbol.addr.raw(), BASE + u64::from(*offset));
                assert_eq!(symbol.name, name[1..]);
            }
            let jiffies = found.find("jiffies").unwrap();
            assert_eq!((jiffies.kind, jiffies.global), (SymbolKind::Object, true));
            let local = found.find("symbol_9.constprop.0").unwrap();
            assert_eq!((local.kind, local.global), (SymbolKind::Function, false));
        }
    }
}

#[test]
fn kallsyms_signed_offsets_are_absolute_or_below_the_base() {
    let symbols: Vec<_> = many(600)
        .into_iter()
        .enumerate()
        .map(|(number, (offset, name))| match number {
            // Variables of each processor have addresses of their own.
            0..40 => (offset, name),
            _ => ((-1 - (offset as i32)).cast_unsigned(), name),
        })
        .collect();
    let found = table(&image(&symbols, Layout::AddressesFirst)).unwrap();
    let addr = |name: &str| found.find(name).unwrap().addr.raw();
    assert_eq!(addr("symbol_39.constprop.0"), 39 * 8);
    assert_eq!(addr("symbol_40.constprop.0"), BASE + 40 * 8);
    assert_eq!(addr("symbol_599.constprop.0"), BASE + 599 * 8);
}

#[test]
fn kallsyms_cut_off_anywhere_is_no_table() {
    let whole = image(&many(600), Layout::AddressesLast);
    let needed = whole.len() - 64;
    assert!(table(&whole[..needed]).is_some());
    for bytes in (0..needed).rev().step_by(97) {
        assert!(table(&whole[..bytes]).is_none(), "{bytes} of {needed}");
    }
}

#[test]
fn kallsyms_descending_addresses_are_refused() {
    let mut symbols = many(300);
    symbols[7].0 = 0xffff_0000;
    assert!(table(&image(&symbols, Layout::AddressesLast)).is_none());
}

proptest! {
    #[test]
    fn kallsyms_damaged_image_never_panics(
        at in proptest::collection::vec((0..40_000_usize, any::<u8>()), 1..20),
        layout in prop_oneof![Just(Layout::AddressesLast), Just(Layout::AddressesFirst)],
    ) {
        let mut bytes = image(&many(700), layout);
        let length = bytes.len();
        for (at, value) in at {
            bytes[at % length] = value;
        }
        let _ = table(&bytes);
    }

    #[test]
    fn elf_damaged_file_never_panics(at in 0..2000_usize, value in any::<u8>(), cut in 0..2000_usize) {
        let mut bytes = elf::to_bytes(&sample()).unwrap();
        let length = bytes.len();
        bytes[at % length] = value;
        let _ = SymbolTable::from_elf(&bytes);
        let _ = SymbolTable::from_elf(&bytes[..cut.min(length)]);
    }
}

fn symbol(addr: u64, bytes: u64, name: &str, kind: SymbolKind, global: bool) -> Symbol {
    Symbol {
        addr: GuestVirtAddr(addr),
        bytes,
        name: name.to_owned(),
        kind,
        global,
    }
}

fn sample() -> SymbolTable {
    use SymbolKind::{Function, Object, Other};
    SymbolTable::new(
        GuestArch::Riscv64,
        vec![
            symbol(0x3000, 8, "counter", Object, true),
            symbol(0x1000, 0, "alias", Function, false),
            symbol(0x1000, 0, "main", Function, true),
            symbol(0x1040, 0x10, "leaf", Function, false),
            symbol(0x2000, 0, "mark", Other, false),
        ],
    )
}

#[test]
fn lookup_prefers_global_and_respects_lengths() {
    let table = sample();
    let at = |addr| {
        table
            .lookup(GuestVirtAddr(addr))
            .map(|place| place.to_string())
    };
    let cases = [
        (0xfff, None),
        (0x1000, Some("main")),
        (0x103f, Some("main+0x3f")),
        (0x1040, Some("leaf")),
        (0x104f, Some("leaf+0xf")),
        (0x1050, None),
        (0x2fff, Some("mark+0xfff")),
        (0x3007, Some("counter+0x7")),
        (0x3008, None),
        (u64::MAX, None),
    ];
    for (addr, expected) in cases {
        assert_eq!(at(addr).as_deref(), expected, "{addr:#x}");
    }
    assert_eq!(table.find("leaf").unwrap().addr, GuestVirtAddr(0x1040));
    assert!(table.find("nobody").is_none());
}

#[test]
fn slide_wraps_and_stays_sorted() {
    let table = sample().slid(-0x2000);
    let first = &table.symbols()[0];
    assert_eq!((first.name.as_str(), first.addr.raw()), ("mark", 0));
    assert_eq!(
        table.find("main").unwrap().addr,
        GuestVirtAddr(0x1000_u64.wrapping_sub(0x2000))
    );
}

#[test]
fn elf_written_and_read_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("symbols.elf");
    write_elf(&sample(), &path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let read = SymbolTable::from_elf(&bytes).unwrap();
    let names = |table: &SymbolTable| -> BTreeSet<(u64, String, bool)> {
        let row = |s: &Symbol| (s.addr.raw(), s.name.clone(), s.global);
        table.symbols().iter().map(row).collect()
    };
    assert_eq!(names(&read), names(&sample()));
    assert_eq!(read.arch(), GuestArch::Riscv64);
    // Unknown lengths reach to the next symbol.
    assert_eq!(read.find("main").unwrap().bytes, 0x40);
    assert_eq!(read.find("counter").unwrap().kind, SymbolKind::Object);
    let error = write_elf(&sample(), &dir.path().join("no/such/folder"));
    assert!(matches!(error, Err(SymbolError::Unwritable { .. })));
}

/// An x86 kernel that unpacks `inner` (Linux `Documentation/arch/x86/boot.rst`).
fn bzimage(inner: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut payload = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    payload.write_all(inner).unwrap();
    let payload = payload.finish().unwrap();
    // One sector of setup code behind the boot sector, and the payload 64 bytes into what follows.
    let mut bytes = vec![0; 2 * 512 + 64];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    let units = (64 + payload.len()).div_ceil(16) as u32;
    put(0x1f1, &[1]);
    put(0x1f4, &units.to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x248, &64_u32.to_le_bytes());
    put(0x24c, &(payload.len() as u32).to_le_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes
}

#[test]
fn kernel_file_of_either_kind_gives_symbols() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut flat = image(&many(300), Layout::AddressesLast);
    flat[..64].fill(0);
    flat[16..20].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    flat[0x38..0x3c].copy_from_slice(b"RSC\x05");
    let path = write("Image", &flat);
    assert_eq!(symbols_from_kernel(&path).unwrap().len(), 300);
    let path = write(
        "bzImage",
        &bzimage(&image(&many(300), Layout::AddressesLast)),
    );
    let found = symbols_from_kernel(&path).unwrap();
    assert_eq!((found.len(), found.arch()), (300, GuestArch::X86_64));
    let path = write("bare", &flat[..4096]);
    let error = symbols_from_kernel(&path).unwrap_err().to_string();
    assert!(error.contains("CONFIG_KALLSYMS"), "{error}");
    let missing = symbols_from_kernel(&dir.path().join("missing"));
    assert!(matches!(missing, Err(SymbolError::Kernel(_))));
}
