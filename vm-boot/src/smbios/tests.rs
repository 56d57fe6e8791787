use super::*;

fn identity(ram_bytes: u64) -> SystemIdentity {
    SystemIdentity {
        manufacturer: "Maker".into(),
        product: "Machine".into(),
        version: "1.0".into(),
        uuid: Some([
            0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
            0xee, 0xff,
        ]),
        cpus: 2,
        processor_id: [0x000a_0671, 0x0f8b_fbff],
        ram: PcRam::split(ram_bytes),
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Kind, fields with header, and strings of each structure.
fn parse(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (fields, rest) = bytes.split_at(bytes[1].into());
        let end = rest.windows(2).position(|pair| pair == [0, 0]).unwrap();
        let strings = rest[..end]
            .split(|&byte| byte == 0)
            .map(|text| String::from_utf8(text.to_vec()).unwrap())
            .collect();
        all.push((fields[0], fields.to_vec(), strings));
        bytes = &rest[end + 2..];
    }
    all
}

#[test]
fn placed_anchor_leads_to_all_structures() {
    let tables = SmbiosTables::new(&identity(5 << 30));
    let placed = tables.placed().unwrap();
    let [(anchor_at, anchor), (at, bytes)] = &placed[..] else {
        panic!("{placed:?}")
    };
    assert_eq!((anchor_at.raw(), anchor.len()), (0xf_0000, 31));
    assert_eq!((sum(anchor), sum(&anchor[16..])), (0, 0));
    assert_eq!(anchor[24..28], (at.raw() as u32).to_le_bytes());
    assert_eq!(anchor[22..24], (bytes.len() as u16).to_le_bytes());
    let all = parse(bytes);
    let kinds: Vec<u8> = all.iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [0, 1, 3, 4, 16, 17, 19, 19, 32, 127]);
    assert_eq!(anchor[28..30], (all.len() as u16).to_le_bytes());
    let largest = all
        .iter()
        .map(|(_, fields, strings)| {
            fields.len() + strings.iter().map(|text| text.len() + 1).sum::<usize>() + 1
        })
        .max()
        .unwrap();
    assert_eq!(usize::from(anchor[8]), largest);
}

#[test]
fn structures_have_the_lengths_of_their_versions() {
    let tables = SmbiosTables::new(&identity(1 << 30));
    let lengths: Vec<(u8, usize)> = parse(&tables.structures)
        .iter()
        .map(|(kind, fields, _)| (*kind, fields.len()))
        .collect();
    assert_eq!(
        lengths,
        [
            (0, 24),
            (1, 27),
            (3, 22),
            (4, 42),
            (16, 23),
            (17, 40),
            (19, 31),
            (32, 11),
            (127, 4)
        ]
    );
}

#[test]
fn system_names_and_uuid_are_in_their_fields() {
    let tables = SmbiosTables::new(&identity(1 << 30));
    let all = parse(&tables.structures);
    let (_, fields, strings) = all.iter().find(|(kind, ..)| *kind == 1).unwrap();
    assert_eq!(strings, &["Maker", "Machine", "1.0"]);
    assert_eq!(fields[4..8], [1, 2, 3, 0]);
    assert_eq!(
        fields[8..16],
        [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]
    );
    assert_eq!(
        fields[16..24],
        [0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]
    );
}

#[test]
fn memory_sizes_use_the_wide_fields_when_they_must() {
    let fields = |ram_bytes, wanted: u8| {
        let tables = SmbiosTables::new(&identity(ram_bytes));
        let all = parse(&tables.structures);
        all.into_iter()
            .find(|(kind, ..)| *kind == wanted)
            .unwrap()
            .1
    };
    let u32_at =
        |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let small = fields(1 << 30, 17);
    assert_eq!(
        (small[0xc..0xe].to_vec(), u32_at(&small, 0x1c)),
        (vec![0, 4], 0)
    );
    let large = fields(64 << 30, 17);
    assert_eq!(
        (large[0xc..0xe].to_vec(), u32_at(&large, 0x1c)),
        (vec![0xff, 0x7f], 64 << 10)
    );
    assert_eq!(u32_at(&fields(1 << 30, 16), 7), 1 << 20);
    assert_eq!(u32_at(&fields(2 << 40, 16), 7), 1 << 31);
}

#[test]
fn names_with_nuls_cannot_break_out_of_their_strings() {
    let hostile = SystemIdentity {
        product: "a\0\0b".into(),
        version: "\0".into(),
        ..identity(1 << 30)
    };
    let all = parse(&SmbiosTables::new(&hostile).structures);
    assert_eq!(all.len(), 9);
    let (_, fields, strings) = &all[1];
    assert_eq!(strings, &["Maker", "ab"]);
    assert_eq!(fields[4..8], [1, 2, 0, 0]);
    let long = SystemIdentity {
        product: "x".repeat(70_000),
        ..identity(1 << 30)
    };
    let error = SmbiosTables::new(&long).placed().unwrap_err();
    assert!(matches!(error, BootError::TablesTooLarge { .. }), "{error}");
}
