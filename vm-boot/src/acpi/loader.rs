//! The script from which firmware puts tables in RAM and links them (QEMU 10.0, `hw/acpi/bios-linker-loader.c`).

use super::blob::Blob;

const TABLES: &str = "etc/acpi/tables";
const RSDP: &str = "etc/acpi/rsdp";
const LOADER: &str = "etc/table-loader";

/// Length of a command.
const COMMAND_BYTES: usize = 128;
/// Length of a file's name, with a NUL.
const NAME_BYTES: usize = 56;

const ALLOCATE: u32 = 1;
const ADD_POINTER: u32 = 2;
const ADD_CHECKSUM: u32 = 3;

/// Zones of memory: anywhere, and where systems look for the root pointer.
const ZONE_HIGH: u8 = 1;
const ZONE_FSEG: u8 = 2;
/// Alignments in them.
const TABLES_ALIGN: u32 = 64;
const RSDP_ALIGN: u32 = 16;

/// Files for `fw_cfg`, by name.
#[derive(Clone, Debug)]
pub struct FwCfgFiles {
    /// Name and content of each.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// The files for a root pointer and the tables that it leads to.
pub(super) fn files(rsdp: &Blob, tables: &Blob) -> FwCfgFiles {
    let mut script = Vec::new();
    let blobs = [
        (RSDP, rsdp, RSDP_ALIGN, ZONE_FSEG),
        (TABLES, tables, TABLES_ALIGN, ZONE_HIGH),
    ];
    for (name, _, align, zone) in blobs {
        command(
            &mut script,
            ALLOCATE,
            &[&file(name), &align.to_le_bytes(), &[zone]],
        );
    }
    for (name, blob, ..) in blobs {
        for pointer in &blob.pointers {
            let at = (pointer.at as u32).to_le_bytes();
            let fields: [&[u8]; 4] = [&file(name), &file(TABLES), &at, &[pointer.width]];
            command(&mut script, ADD_POINTER, &fields);
        }
    }
    for (name, blob, ..) in blobs {
        for checksum in &blob.checksums {
            let [at, start, length] = [checksum.at, checksum.start, checksum.length]
                .map(|value| (value as u32).to_le_bytes());
            command(
                &mut script,
                ADD_CHECKSUM,
                &[&file(name), &at, &start, &length],
            );
        }
    }
    FwCfgFiles {
        files: vec![
            (TABLES, tables.bytes.clone()),
            (RSDP, rsdp.bytes.clone()),
            (LOADER, script),
        ],
    }
}

fn file(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

fn command(script: &mut Vec<u8>, kind: u32, fields: &[&[u8]]) {
    let end = script.len() + COMMAND_BYTES;
    script.extend(kind.to_le_bytes());
    for field in fields {
        script.extend(*field);
    }
    script.resize(end, 0);
}
