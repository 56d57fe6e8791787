//! How virtual CPUs touch guest RAM.
//!
//! Guests mix access sizes on the same bytes, from several threads. Rust's atomics do not allow that, the
//! machine does: so each access is one machine instruction, written as such. This is the only module that
//! dereferences host pointers into guest RAM on a virtual CPU's behalf.
//!
//! Every function here needs `host` to point to as many mapped bytes of guest RAM as it accesses.

#![allow(unsafe_code)]
#![allow(clippy::missing_safety_doc)]

#[cfg(not(target_arch = "x86_64"))]
compile_error!("guest memory accessors exist for x86_64 hosts only so far");

use std::arch::asm;

macro_rules! plain {
    ($load:ident $store:ident $reg:tt $mov_load:literal $mov_store:literal $doc:literal) => {
        #[doc = concat!("Loads ", $doc, ", zero-extended.")]
        #[inline(always)]
        pub unsafe fn $load(host: u64) -> u64 {
            let value: u64;
            // SAFETY: the caller promises that the bytes are mapped guest RAM.
            unsafe {
                asm!($mov_load, v = out(reg) value, p = in(reg) host,
                     options(nostack, preserves_flags, readonly));
            }
            value
        }

        #[doc = concat!("Stores the low ", $doc, ".")]
        #[inline(always)]
        pub unsafe fn $store(host: u64, value: u64) {
            // SAFETY: the caller promises that the bytes are mapped guest RAM.
            unsafe {
                asm!($mov_store, v = in($reg) value, p = in(reg) host,
                     options(nostack, preserves_flags));
            }
        }
    };
}

plain!(load_u8 store_u8 reg "movzx {v:e}, byte ptr [{p}]" "mov byte ptr [{p}], {v:l}" "byte");
plain!(load_u16 store_u16 reg "movzx {v:e}, word ptr [{p}]" "mov word ptr [{p}], {v:x}" "2 bytes");
plain!(load_u32 store_u32 reg "mov {v:e}, dword ptr [{p}]" "mov dword ptr [{p}], {v:e}" "4 bytes");
plain!(load_u64 store_u64 reg "mov {v}, qword ptr [{p}]" "mov qword ptr [{p}], {v}" "8 bytes");

/// Loads `1 << size_log2` bytes (up to 8), zero-extended.
#[inline]
pub unsafe fn load(host: u64, size_log2: u8) -> u64 {
    // SAFETY: as the caller promises.
    unsafe {
        match size_log2 {
            0 => load_u8(host),
            1 => load_u16(host),
            2 => load_u32(host),
            _ => load_u64(host),
        }
    }
}

/// Stores the low `1 << size_log2` bytes (up to 8).
#[inline]
pub unsafe fn store(host: u64, size_log2: u8, value: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        match size_log2 {
            0 => store_u8(host, value),
            1 => store_u16(host, value),
            2 => store_u32(host, value),
            _ => store_u64(host, value),
        }
    }
}

/// Copies bytes upwards.
///
/// # Safety
/// All bytes are of mapped guest RAM. Where the ranges overlap, `to` is not above `from`.
pub unsafe fn copy(to: u64, from: u64, bytes: u64) {
    // Few bytes are all loaded before the first is stored: the instruction for many takes long to start.
    // SAFETY: as the caller promises.
    unsafe {
        match bytes {
            0 => {}
            1..=3 => copy_small(to, from, [0, bytes / 2, bytes - 1], 0),
            4..=7 => copy_small(to, from, [0, bytes - 4], 2),
            8..=16 => copy_small(to, from, [0, bytes - 8], 3),
            17..=32 => copy_small(to, from, [0, 8, bytes - 16, bytes - 8], 3),
            _ => copy_many(to, from, bytes),
        }
    }
}

/// Copies pieces of `1 << size_log2` bytes, which may overlap, from the same offsets.
unsafe fn copy_small<const PIECES: usize>(
    to: u64,
    from: u64,
    offsets: [u64; PIECES],
    size_log2: u8,
) {
    // SAFETY: as for `copy`.
    unsafe {
        let pieces = offsets.map(|offset| load(from + offset, size_log2));
        for (offset, piece) in std::iter::zip(offsets, pieces) {
            store(to + offset, size_log2, piece);
        }
    }
}

unsafe fn copy_many(to: u64, from: u64, bytes: u64) {
    // SAFETY: as for `copy`. The ABI has the direction flag clear.
    unsafe {
        asm!("rep movsb", inout("rdi") to => _, inout("rsi") from => _, inout("rcx") bytes => _,
            options(nostack, preserves_flags));
    }
}

/// Words that are stored one by one.
const FEW_WORDS: u64 = 16;

/// Fills bytes with `pattern`, its lowest byte first, over and over.
///
/// # Safety
/// All bytes are of mapped guest RAM.
pub unsafe fn fill(to: u64, pattern: u64, bytes: u64) {
    let words = bytes / 8;
    // SAFETY: as the caller promises. The ABI has the direction flag clear.
    unsafe {
        if words <= FEW_WORDS {
            for n in 0..words {
                store(to + 8 * n, 3, pattern);
            }
        } else {
            asm!("rep stosq", inout("rdi") to => _, in("rax") pattern, inout("rcx") words => _,
                options(nostack, preserves_flags));
        }
        for n in 0..bytes % 8 {
            store(to + 8 * words + n, 0, pattern >> (8 * n));
        }
    }
}

/// Compares memory with `old` and, when equal, stores `new`; gives what memory held, zero-extended. Sequentially
/// consistent. `1 << size_log2` bytes, naturally aligned or at least within a cache line.
#[inline]
pub unsafe fn compare_exchange(host: u64, size_log2: u8, old: u64, new: u64) -> u64 {
    let mut held = old;
    // SAFETY: the caller promises that the bytes are mapped guest RAM.
    unsafe {
        match size_log2 {
            0 => {
                asm!("lock cmpxchg byte ptr [{p}], {n}", p = in(reg) host, n = in(reg_byte) new as u8,
                inout("rax") held, options(nostack));
                held & 0xff
            }
            1 => {
                asm!("lock cmpxchg word ptr [{p}], {n:x}", p = in(reg) host, n = in(reg) new,
                inout("rax") held, options(nostack));
                held & 0xffff
            }
            2 => {
                asm!("lock cmpxchg dword ptr [{p}], {n:e}", p = in(reg) host, n = in(reg) new,
                inout("rax") held, options(nostack));
                held & 0xffff_ffff
            }
            _ => {
                asm!("lock cmpxchg qword ptr [{p}], {n}", p = in(reg) host, n = in(reg) new,
                inout("rax") held, options(nostack));
                held
            }
        }
    }
}

/// The 16-byte form of [`compare_exchange`], low half first; the address must be 16-byte aligned.
#[inline]
pub unsafe fn compare_exchange_16(host: u64, old: [u64; 2], new: [u64; 2]) -> [u64; 2] {
    let (mut low, mut high) = (old[0], old[1]);
    // SAFETY: the caller promises that the bytes are mapped guest RAM. rbx is reserved by the compiler, so it is
    // swapped in and out; the others are named so that none of them is rbx.
    unsafe {
        asm!("xchg rsi, rbx", "lock cmpxchg16b [rdi]", "mov rbx, rsi",
            inout("rsi") new[0] => _, in("rdi") host, in("rcx") new[1],
            inout("rax") low, inout("rdx") high, options(nostack));
    }
    [low, high]
}

/// Exchanges; gives what memory held. 4 or 8 bytes.
#[inline]
pub unsafe fn swap(host: u64, size_log2: u8, value: u64) -> u64 {
    let mut held = value;
    // SAFETY: the caller promises that the bytes are mapped guest RAM.
    unsafe {
        if size_log2 == 3 {
            asm!("xchg qword ptr [{p}], {v}", p = in(reg) host, v = inout(reg) held, options(nostack, preserves_flags));
            held
        } else if size_log2 == 2 {
            asm!("xchg dword ptr [{p}], {v:e}", p = in(reg) host, v = inout(reg) held, options(nostack, preserves_flags));
            held & 0xffff_ffff
        } else {
            update(host, size_log2, |_| value)
        }
    }
}

/// Adds; gives what memory held. 4 or 8 bytes in one instruction.
#[inline]
pub unsafe fn fetch_add(host: u64, size_log2: u8, value: u64) -> u64 {
    let mut held = value;
    // SAFETY: the caller promises that the bytes are mapped guest RAM.
    unsafe {
        if size_log2 == 3 {
            asm!("lock xadd qword ptr [{p}], {v}", p = in(reg) host, v = inout(reg) held, options(nostack));
            held
        } else if size_log2 == 2 {
            asm!("lock xadd dword ptr [{p}], {v:e}", p = in(reg) host, v = inout(reg) held, options(nostack));
            held & 0xffff_ffff
        } else {
            update(host, size_log2, |held| held.wrapping_add(value))
        }
    }
}

/// Replaces memory by a function of what it held, atomically; gives what it held, zero-extended.
#[inline]
pub unsafe fn update(host: u64, size_log2: u8, change: impl Fn(u64) -> u64) -> u64 {
    // SAFETY: as the caller promises.
    unsafe {
        let mut held = load(host, size_log2);
        loop {
            let seen = compare_exchange(host, size_log2, held, change(held));
            if seen == held {
                return held;
            }
            held = seen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_of_each_size_touch_their_bytes_only() {
        let mut bytes = [0x11_u8; 32];
        let at = bytes.as_mut_ptr() as u64 + 8;
        for size in 0..4_u8 {
            let mask = u64::MAX >> (64 - (8 << size));
            // SAFETY: 8 bytes at offset 8 of 32.
            let read = unsafe {
                store(at, size, 0x8899_aabb_ccdd_eeff);
                load(at, size)
            };
            assert_eq!(read, 0x8899_aabb_ccdd_eeff & mask);
        }
        assert_eq!(&bytes[..8], &[0x11; 8]);
        assert_eq!(&bytes[16..], &[0x11; 16]);
    }

    #[test]
    fn copies_and_fills_of_all_lengths_are_as_of_single_bytes() {
        let start: [u8; 256] = std::array::from_fn(|n| n as u8);
        for bytes in 0..100_usize {
            for (to, from) in [(0, 110), (110, 0), (3, 8), (5, 6)] {
                let (mut copied, mut expected) = (start, start);
                let base = copied.as_mut_ptr() as u64;
                // SAFETY: all bytes are of the array.
                unsafe { copy(base + to as u64, base + from as u64, bytes as u64) };
                for n in 0..bytes {
                    expected[to + n] = expected[from + n];
                }
                assert_eq!(copied, expected, "{bytes} bytes from {from} to {to}");
            }
            let (mut filled, mut expected) = (start, start);
            let pattern = 0x8877_6655_4433_2211_u64;
            // SAFETY: as above.
            unsafe { fill(filled.as_mut_ptr() as u64 + 3, pattern, bytes as u64) };
            for n in 0..bytes {
                expected[3 + n] = pattern.to_le_bytes()[n % 8];
            }
            assert_eq!(filled, expected, "{bytes} bytes");
        }
        let (mut filled, mut long) = ([0_u8; 512], [1_u8; 512]);
        // SAFETY: as above.
        unsafe {
            fill(filled.as_mut_ptr() as u64, u64::from_le_bytes([1; 8]), 500);
            copy(
                long.as_mut_ptr() as u64 + 500,
                filled.as_ptr() as u64 + 500,
                12,
            );
        }
        assert_eq!(filled[499..501], [1, 0]);
        assert_eq!(long[499..501], [1, 0]);
    }

    #[test]
    fn atomics_give_what_memory_held() {
        #[repr(align(16))]
        struct Cell([u64; 2]);
        let mut cell = Cell([5, 7]);
        let at = cell.0.as_mut_ptr() as u64;
        // SAFETY: the cell has 16 aligned bytes.
        unsafe {
            assert_eq!(fetch_add(at, 3, 10), 5);
            assert_eq!(swap(at, 2, 3), 15);
            assert_eq!(compare_exchange(at, 3, 4, 9), 3);
            assert_eq!(compare_exchange(at, 3, 3, 9), 3);
            assert_eq!(update(at, 0, |v| v | 0x70), 9);
            assert_eq!(fetch_add(at, 1, 1), 0x79);
            assert_eq!(compare_exchange_16(at, [0x7a, 7], [1, 2]), [0x7a, 7]);
            assert_eq!(compare_exchange_16(at, [0, 0], [9, 9]), [1, 2]);
        }
        assert_eq!(cell.0, [1, 2]);
    }
}
