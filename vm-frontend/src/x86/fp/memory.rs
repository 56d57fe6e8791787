//! Moves by a mask, and gathers (Intel SDM 2B, "MASKMOVDQU"; 2C, "VMASKMOV", "VPGATHERDD").

use vm_core::{AccessWidth, GuestVirtAddr};

use crate::guest::{Access, Exception, View};
use crate::x86::helpers::Cpu;
use crate::x86::state::CpuState;

/// What a masked move does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Masked {
    /// Register moved from or to.
    pub(super) data: u8,
    /// Register whose lanes' top bits say which lanes are moved.
    pub(super) mask: u8,
    /// Bytes of a lane: 1, 4 or 8.
    pub(super) bytes: u8,
    /// Whether both halves count.
    pub(super) wide: bool,
    /// Whether the registers are MMX registers.
    pub(super) mmx: bool,
}

impl Masked {
    pub(super) const fn pack(self) -> i64 {
        self.data as i64
            | (self.mask as i64) << 8
            | (self.bytes as i64) << 16
            | (self.wide as i64) << 24
            | (self.mmx as i64) << 25
    }

    const fn unpack(word: u64) -> Self {
        Self {
            data: word as u8 & 15,
            mask: (word >> 8) as u8 & 15,
            bytes: (word >> 16) as u8,
            wide: word >> 24 & 1 != 0,
            mmx: word >> 25 & 1 != 0,
        }
    }

    fn lanes(self) -> usize {
        let all = match (self.mmx, self.wide) {
            (true, _) => 8,
            (_, false) => 16,
            _ => 32,
        };
        all / usize::from(self.bytes.max(1))
    }

    fn register(self, state: &CpuState, n: u8) -> [u8; 32] {
        if self.mmx {
            let low = state.x87[usize::from(n & 7)][0];
            return join([low, 0, 0, 0]);
        }
        register(state, n)
    }
}

/// What a gather does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather {
    pub(super) data: u8,
    pub(super) mask: u8,
    pub(super) index: u8,
    /// Left shift of indices.
    pub(super) scale: u8,
    /// Bytes of a lane of data: 4 or 8.
    pub(super) bytes: u8,
    /// Bytes of an index: 4 or 8.
    pub(super) index_bytes: u8,
    /// Whether the data has both halves.
    pub(super) wide: bool,
    /// Whether the indices have both halves.
    pub(super) wide_index: bool,
    /// Whether addresses have 32 bits.
    pub(super) short: bool,
}

impl Gather {
    pub(super) const fn pack(self) -> i64 {
        self.data as i64
            | (self.mask as i64) << 4
            | (self.index as i64) << 8
            | (self.scale as i64) << 12
            | (self.bytes as i64) << 16
            | (self.index_bytes as i64) << 20
            | (self.wide as i64) << 24
            | (self.wide_index as i64) << 25
            | (self.short as i64) << 26
    }

    const fn unpack(word: u64) -> Self {
        Self {
            data: word as u8 & 15,
            mask: (word >> 4) as u8 & 15,
            index: (word >> 8) as u8 & 15,
            scale: (word >> 12) as u8 & 3,
            bytes: if word >> 16 & 8 != 0 { 8 } else { 4 },
            index_bytes: if word >> 20 & 8 != 0 { 8 } else { 4 },
            wide: word >> 24 & 1 != 0,
            wide_index: word >> 25 & 1 != 0,
            short: word >> 26 & 1 != 0,
        }
    }

    /// Lanes that are gathered: as many as both data and indices have.
    fn lanes(self) -> usize {
        let count = |wide: bool, bytes: u8| if wide { 32 } else { 16 } / usize::from(bytes);
        count(self.wide, self.bytes).min(count(self.wide_index, self.index_bytes))
    }
}

fn join(words: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// All of a vector register.
fn register(state: &CpuState, n: u8) -> [u8; 32] {
    let n = usize::from(n & 15);
    let ([a, b], [c, d]) = (state.xmm[n], state.ymm_high[n]);
    join([a, b, c, d])
}

fn set_register(state: &mut CpuState, n: u8, bytes: &[u8; 32]) {
    let n = usize::from(n & 15);
    let mut words = [0; 4];
    for (word, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = from
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    let [a, b, c, d] = words;
    (state.xmm[n], state.ymm_high[n]) = ([a, b], [c, d]);
}

/// Lane `n` of so many bytes.
fn lane(bytes: &[u8; 32], size: u8, n: usize) -> u64 {
    let size = usize::from(size);
    bytes[n * size..][..size]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn set_lane(bytes: &mut [u8; 32], size: u8, n: usize, value: u64) {
    let size = usize::from(size);
    bytes[n * size..][..size].copy_from_slice(&value.to_le_bytes()[..size]);
}

fn is_set(mask: &[u8; 32], size: u8, n: usize) -> bool {
    lane(mask, size, n) >> (8 * u32::from(size) - 1) != 0
}

fn width(bytes: u8) -> AccessWidth {
    match bytes {
        1 => AccessWidth::Byte,
        4 => AccessWidth::Word,
        _ => AccessWidth::Double,
    }
}

/// Helper: loads the lanes that the mask has, and clears the others.
pub(super) fn load(cpu: &mut Cpu<'_>, [address, word, _]: [u64; 3]) -> Result<u64, Exception> {
    let request = Masked::unpack(word);
    let mask = request.register(cpu.state, request.mask);
    let mut data = [0; 32];
    for n in 0..request.lanes() {
        if is_set(&mask, request.bytes, n) {
            let at = address.wrapping_add(n as u64 * u64::from(request.bytes));
            let value = cpu
                .env
                .load(cpu.state, at, width(request.bytes), View::Current)?;
            set_lane(&mut data, request.bytes, n, value);
        }
    }
    set_register(cpu.state, request.data, &data);
    Ok(0)
}

/// Helper: stores the lanes that the mask has.
pub(super) fn store(cpu: &mut Cpu<'_>, [address, word, _]: [u64; 3]) -> Result<u64, Exception> {
    let request = Masked::unpack(word);
    let mask = request.register(cpu.state, request.mask);
    let data = request.register(cpu.state, request.data);
    let places = || {
        (0..request.lanes())
            .filter(|&n| is_set(&mask, request.bytes, n))
            .map(|n| (n, address.wrapping_add(n as u64 * u64::from(request.bytes))))
    };
    for (_, at) in places() {
        let last = at.wrapping_add(u64::from(request.bytes) - 1);
        for at in [at, last] {
            cpu.env
                .probe(cpu.state, GuestVirtAddr(at), 1, Access::Write)?;
        }
    }
    for (n, at) in places() {
        let value = lane(&data, request.bytes, n);
        cpu.env
            .store(cpu.state, at, width(request.bytes), value, View::Current)?;
    }
    Ok(0)
}

/// Helper: gathers. A fault leaves the lanes before it done and their masks clear, as the manual allows and programs that
/// handle faults rely on.
pub(super) fn gather(cpu: &mut Cpu<'_>, [base, word, segment]: [u64; 3]) -> Result<u64, Exception> {
    let request = Gather::unpack(word);
    let index = register(cpu.state, request.index);
    let mut mask = register(cpu.state, request.mask);
    let mut data = register(cpu.state, request.data);
    let lanes = request.lanes();
    // What a shorter vector lacks, and lanes without index, become zero, and masks all ones or zeros, whatever comes then.
    let used = lanes * usize::from(request.bytes);
    data[used..].fill(0);
    mask[used..].fill(0);
    for n in 0..lanes {
        let all = match is_set(&mask, request.bytes, n) {
            true => u64::MAX,
            false => 0,
        };
        set_lane(&mut mask, request.bytes, n, all);
    }
    let mut outcome = Ok(0);
    for n in 0..lanes {
        if !is_set(&mask, request.bytes, n) {
            continue;
        }
        let offset = match request.index_bytes {
            4 => lane(&index, 4, n) as u32 as i32 as i64 as u64,
            _ => lane(&index, 8, n),
        };
        let mut at = base.wrapping_add(offset << request.scale);
        if request.short {
            at &= u64::from(u32::MAX);
        }
        let at = at.wrapping_add(segment);
        match cpu
            .env
            .load(cpu.state, at, width(request.bytes), View::Current)
        {
            Ok(value) => {
                set_lane(&mut data, request.bytes, n, value);
                set_lane(&mut mask, request.bytes, n, 0);
            }
            Err(fault) => {
                outcome = Err(fault);
                break;
            }
        }
    }
    set_register(cpu.state, request.data, &data);
    set_register(cpu.state, request.mask, &mask);
    outcome
}
