//! Scattering and gathering of bits, and cyclic redundancy checks (Intel SDM 2B, "PDEP", "PEXT"; 2A, "CRC32").

use crate::guest::Exception;
use crate::x86::helpers::Cpu;

/// `pdep`: the low bits of the first argument to the places that are set in the second.
pub(super) fn deposit(_: &mut Cpu<'_>, [value, mask, _]: [u64; 3]) -> Result<u64, Exception> {
    Ok(scatter(value, mask))
}

/// `pext`: the bits of the first argument at places that are set in the second, to the low bits.
pub(super) fn extract(_: &mut Cpu<'_>, [value, mask, _]: [u64; 3]) -> Result<u64, Exception> {
    Ok(gather(value, mask))
}

/// `crc32`: sum, data, bytes of data.
pub(super) fn crc32(_: &mut Cpu<'_>, [sum, data, bytes]: [u64; 3]) -> Result<u64, Exception> {
    Ok(checksum(sum as u32, data, bytes as usize).into())
}

/// The low bits of a value at the places that are set in the mask.
pub(in crate::x86) fn scatter(value: u64, mask: u64) -> u64 {
    let (mut result, mut left, mut value) = (0, mask, value);
    while left != 0 {
        let lowest = left & left.wrapping_neg();
        if value & 1 != 0 {
            result |= lowest;
        }
        value >>= 1;
        left ^= lowest;
    }
    result
}

/// The bits of a value at places that are set in the mask, side by side.
pub(in crate::x86) fn gather(value: u64, mask: u64) -> u64 {
    let (mut result, mut left, mut place) = (0, mask, 0);
    while left != 0 {
        let lowest = left & left.wrapping_neg();
        if value & lowest != 0 {
            result |= 1 << place;
        }
        place += 1;
        left ^= lowest;
    }
    result
}

/// The polynomial 11EDC6F41H, bits in reverse order.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each byte adds to a sum.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let (mut sum, mut bit) = (n as u32, 0);
        while bit < 8 {
            sum = if sum & 1 != 0 {
                sum >> 1 ^ POLYNOMIAL
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[n] = sum;
        n += 1;
    }
    table
};

/// The sum with so many bytes of data added.
pub(in crate::x86) fn checksum(sum: u32, data: u64, bytes: usize) -> u32 {
    let data = data.to_le_bytes();
    data.iter().take(bytes).fold(sum, |sum, &byte| {
        sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)]
    })
}
