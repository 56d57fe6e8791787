//! The structures, one function each (DSP0134, chapter 7).

use super::SystemIdentity;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Handles by which structures refer to each other.
const FIRMWARE: u16 = 0x0000;
const SYSTEM: u16 = 0x0100;
const CHASSIS: u16 = 0x0300;
const PROCESSOR: u16 = 0x0400;
const MEMORY_ARRAY: u16 = 0x1000;
const MEMORY_DEVICE: u16 = 0x1100;
const MAPPED_ADDRESS: u16 = 0x1300;
const BOOT: u16 = 0x2000;
const END: u16 = 0x7f00;

/// No structure of that kind.
const NO_CACHE: u16 = 0xffff;
const NO_ERROR_INFORMATION: u16 = 0xfffe;

/// A structure in the making: header, fields, and the strings that fields name by number.
struct Structure {
    bytes: Vec<u8>,
    strings: Vec<u8>,
    next_string: u8,
}

impl Structure {
    fn new(kind: u8, handle: u16) -> Self {
        let mut bytes = vec![kind, 0];
        bytes.extend(handle.to_le_bytes());
        Self {
            bytes,
            strings: Vec::new(),
            next_string: 1,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// A field with the number of a string; an empty one has none.
    fn string(&mut self, text: &str) -> &mut Self {
        let printable = text.bytes().filter(|byte| *byte != 0);
        let before = self.strings.len();
        self.strings.extend(printable);
        if self.strings.len() == before {
            return self.bytes(&[0]);
        }
        self.strings.push(0);
        let number = self.next_string;
        self.next_string = number.saturating_add(1);
        self.bytes(&[number])
    }

    /// Fields, then strings; two zeros end the structure (DSP0134, 6.1.3).
    fn finish(mut self) -> Vec<u8> {
        self.bytes[1] = self.bytes.len() as u8;
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        self.strings.push(0);
        self.bytes.extend(self.strings);
        self.bytes
    }
}

/// All structures, in order.
pub(super) fn all(identity: &SystemIdentity) -> Vec<Vec<u8>> {
    let mut all = vec![
        firmware(identity),
        system(identity),
        chassis(identity),
        processor(identity),
        memory_array(identity),
        memory_device(identity),
    ];
    for (index, &(base, bytes)) in identity.ram.ranges().iter().enumerate() {
        all.push(mapped_address(index as u16, base.raw(), bytes));
    }
    all.extend([boot(), Structure::new(127, END).finish()]);
    all
}

/// BIOS information (7.1).
fn firmware(identity: &SystemIdentity) -> Vec<u8> {
    const START_SEGMENT: u16 = 0xe800;
    const NO_CHARACTERISTICS: u64 = 1 << 3;
    /// Bit 4 of the second extension byte: this is a virtual machine.
    const VIRTUAL_MACHINE: u8 = 1 << 4;
    const NO_CONTROLLER: u8 = 0xff;
    let mut table = Structure::new(0, FIRMWARE);
    table
        .string(&identity.manufacturer)
        .string(&identity.version);
    table.u16(START_SEGMENT).string("01/01/2026").bytes(&[0]);
    table.u64(NO_CHARACTERISTICS).bytes(&[0, VIRTUAL_MACHINE]);
    table.bytes(&[0, 0, NO_CONTROLLER, NO_CONTROLLER]);
    table.finish()
}

/// System information (7.2).
fn system(identity: &SystemIdentity) -> Vec<u8> {
    const POWER_SWITCH: u8 = 6;
    let mut uuid = identity.uuid.unwrap_or_default();
    // The first three fields are little-endian words (7.2.1).
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    let mut table = Structure::new(1, SYSTEM);
    table
        .string(&identity.manufacturer)
        .string(&identity.product);
    table.string(&identity.version).string("");
    table.bytes(&uuid).bytes(&[POWER_SWITCH]);
    table.string("").string("");
    table.finish()
}

/// System enclosure (7.4).
fn chassis(identity: &SystemIdentity) -> Vec<u8> {
    const OTHER: u8 = 1;
    const SAFE: u8 = 3;
    const NO_SECURITY: u8 = 3;
    let mut table = Structure::new(3, CHASSIS);
    table.string(&identity.manufacturer).bytes(&[OTHER]);
    table.string(&identity.version).string("").string("");
    table.bytes(&[SAFE, SAFE, SAFE, NO_SECURITY]).u32(0);
    // Height, power cords, contained elements and their length, stock number.
    table.bytes(&[0; 5]);
    table.finish()
}

/// Processor information (7.5): one package.
fn processor(identity: &SystemIdentity) -> Vec<u8> {
    const CENTRAL: u8 = 3;
    const OTHER: u8 = 1;
    const UNKNOWN_UPGRADE: u8 = 2;
    const POPULATED_AND_ENABLED: u8 = 0x41;
    const UNKNOWN_CHARACTERISTICS: u16 = 1 << 1;
    let cores = identity.cpus.min(255) as u8;
    let mut table = Structure::new(4, PROCESSOR);
    table.string("CPU 0").bytes(&[CENTRAL, OTHER]);
    table.string(&identity.manufacturer);
    table
        .u32(identity.processor_id[0])
        .u32(identity.processor_id[1]);
    // Voltage, external clock, highest and current speed: not known.
    table
        .string(&identity.version)
        .bytes(&[0])
        .u16(0)
        .u16(0)
        .u16(0);
    table.bytes(&[POPULATED_AND_ENABLED, UNKNOWN_UPGRADE]);
    table.u16(NO_CACHE).u16(NO_CACHE).u16(NO_CACHE);
    table.string("").string("").string("");
    table.bytes(&[cores, cores, cores]);
    table.u16(UNKNOWN_CHARACTERISTICS).u16(OTHER.into());
    table.finish()
}

/// Physical memory array (7.17).
fn memory_array(identity: &SystemIdentity) -> Vec<u8> {
    const MAIN_BOARD: u8 = 3;
    const SYSTEM_MEMORY: u8 = 3;
    const NO_CORRECTION: u8 = 3;
    /// The capacity is in the wide field instead.
    const WIDE_CAPACITY: u32 = 1 << 31;
    let bytes = total(identity);
    let mut table = Structure::new(16, MEMORY_ARRAY);
    table.bytes(&[MAIN_BOARD, SYSTEM_MEMORY, NO_CORRECTION]);
    let kib = u32::try_from(bytes / KIB)
        .ok()
        .filter(|&kib| kib < WIDE_CAPACITY);
    table.u32(kib.unwrap_or(WIDE_CAPACITY));
    table.u16(NO_ERROR_INFORMATION).u16(1);
    table.u64(if kib.is_some() { 0 } else { bytes });
    table.finish()
}

/// Memory device (7.18).
fn memory_device(identity: &SystemIdentity) -> Vec<u8> {
    const UNKNOWN_WIDTH: u16 = 0xffff;
    /// The size is in the wide field instead.
    const WIDE_SIZE: u16 = 0x7fff;
    const DIMM: u8 = 9;
    const RAM: u8 = 7;
    const OTHER_DETAIL: u16 = 1 << 1;
    let mib = total(identity).div_ceil(MIB);
    let narrow = u16::try_from(mib).ok().filter(|&mib| mib < WIDE_SIZE);
    let mut table = Structure::new(17, MEMORY_DEVICE);
    table.u16(MEMORY_ARRAY).u16(NO_ERROR_INFORMATION);
    table.u16(UNKNOWN_WIDTH).u16(UNKNOWN_WIDTH);
    table.u16(narrow.unwrap_or(WIDE_SIZE)).bytes(&[DIMM, 0]);
    table.string("DIMM 0").string("").bytes(&[RAM]);
    // Speed, and then manufacturer, serial number, asset tag, part number, attributes.
    table
        .u16(OTHER_DETAIL)
        .u16(0)
        .string(&identity.manufacturer);
    table.bytes(&[0; 4]);
    table.u32(if narrow.is_some() { 0 } else { mib as u32 });
    // Configured speed, least, highest and configured voltage.
    table.u16(0).u16(0).u16(0).u16(0);
    table.finish()
}

/// Memory array mapped address (7.20).
fn mapped_address(index: u16, base: u64, bytes: u64) -> Vec<u8> {
    /// The addresses are in the wide fields instead.
    const WIDE_ADDRESS: u32 = u32::MAX;
    let last = base + bytes - 1;
    let kib = u32::try_from(last / KIB)
        .ok()
        .filter(|&kib| kib != WIDE_ADDRESS);
    let mut table = Structure::new(19, MAPPED_ADDRESS + index);
    match kib {
        Some(last) => table.u32((base / KIB) as u32).u32(last),
        None => table.u32(WIDE_ADDRESS).u32(WIDE_ADDRESS),
    };
    table.u16(MEMORY_ARRAY).bytes(&[1]);
    match kib {
        Some(_) => table.u64(0).u64(0),
        None => table.u64(base).u64(last),
    };
    table.finish()
}

/// System boot information (7.33): no error.
fn boot() -> Vec<u8> {
    let mut table = Structure::new(32, BOOT);
    table.bytes(&[0; 7]);
    table.finish()
}

fn total(identity: &SystemIdentity) -> u64 {
    identity.ram.low_bytes + identity.ram.high_bytes
}
