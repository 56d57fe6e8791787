//! Commands, status bits and the query table of Intel StrataFlash chips (Intel P30 data sheet 306666, chapters 9
//! to 14; JEDEC JESD68.01 "Common Flash Interface"; Intel AP-646), two 16-bit chips side by side.

/// Chips that share the bank's 32-bit bus, one 16-bit lane each.
pub const CHIPS: u64 = 2;
/// Bytes of the bus that the chips form.
pub const BUS_BYTES: u64 = 4;
/// Bytes of a bank of the `virt` machine.
pub const VIRT_BANK_BYTES: u64 = 32 << 20;
/// Bytes of a sector of the `virt` machine's banks (128 KiB in each chip).
pub const VIRT_SECTOR_BYTES: u64 = 256 << 10;

/// Bytes of a sector of a PC's banks.
pub const PC_SECTOR_BYTES: u64 = 4 << 10;

/// Read array.
pub const READ_ARRAY: u8 = 0xff;
/// Read array, as AMD chips know it; probing software sends it first.
pub const READ_ARRAY_AMD: u8 = 0xf0;
/// Read identifier codes.
pub const READ_ID: u8 = 0x90;
/// CFI query.
pub const READ_QUERY: u8 = 0x98;
/// Read status register.
pub const READ_STATUS: u8 = 0x70;
/// Clear status register.
pub const CLEAR_STATUS: u8 = 0x50;
/// Program one bus word.
pub const PROGRAM: u8 = 0x40;
/// Program one bus word, the older code.
pub const PROGRAM_ALTERNATE: u8 = 0x10;
/// Program through the write buffer.
pub const BUFFERED_PROGRAM: u8 = 0xe8;
/// Erase a sector.
pub const ERASE: u8 = 0x20;
/// Change a sector's lock.
pub const LOCK_SETUP: u8 = 0x60;
/// Second cycle of erase, buffered program and unlock.
pub const CONFIRM: u8 = 0xd0;

/// Status: ready.
pub const SR_READY: u8 = 1 << 7;
/// Status: erase failed (with SR_PROGRAM: improper command sequence).
pub const SR_ERASE: u8 = 1 << 5;
/// Status: program failed.
pub const SR_PROGRAM: u8 = 1 << 4;
/// Status: the sector is locked.
pub const SR_LOCKED: u8 = 1 << 1;

/// Identifier 0: manufacturer Intel.
pub const ID_MANUFACTURER: u16 = 0x0089;
/// Identifier 1: device code.
pub const ID_DEVICE: u16 = 0x0018;

/// Base-2 logarithm of the bytes in a chip's write buffer.
pub const BUFFER_BITS: u8 = 6;
/// Bytes in the bank's write buffer.
pub const BUFFER_BYTES: u64 = CHIPS << BUFFER_BITS;

/// The low byte that each chip returns at `index` in query mode (JESD68.01, 2.4; the extended table from 0x31 by
/// AP-646), for a bank of `bank_bytes` in sectors of `sector_bytes`.
pub fn query(index: u64, bank_bytes: u64, sector_bytes: u64) -> u8 {
    let sectors = (bank_bytes / sector_bytes).saturating_sub(1).to_le_bytes();
    let sector = (sector_bytes / CHIPS / 256).to_le_bytes();
    match index {
        0x10 => b'Q',
        0x11 => b'R',
        0x12 => b'Y',
        // Command set 1: Intel/Sharp extended. Its table is at 0x31.
        0x13 => 0x01,
        0x15 => 0x31,
        // Vcc 2.7 V to 3.6 V; no Vpp.
        0x1b => 0x27,
        0x1c => 0x36,
        // Typical times 2^n: 128 us a word, 128 us a buffer, 1024 ms an erase; at most 2^4 times that.
        0x1f | 0x20 => 0x07,
        0x21 => 0x0a,
        0x23..=0x25 => 0x04,
        // Bytes in a chip, 2^n.
        0x27 => (bank_bytes / CHIPS).trailing_zeros() as u8,
        // Interface: x16 only.
        0x28 => 0x01,
        0x2a => BUFFER_BITS,
        // One erase region: sectors less one, and bytes of a sector / 256.
        0x2c => 0x01,
        0x2d => sectors[0],
        0x2e => sectors[1],
        0x2f => sector[0],
        0x30 => sector[1],
        // Version 1.0, no optional features.
        0x31 => b'P',
        0x32 => b'R',
        0x33 => b'I',
        0x34 => b'1',
        0x35 => b'0',
        // Best Vcc 3.3 V.
        0x3d => 0x33,
        _ => 0,
    }
}
