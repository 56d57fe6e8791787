//! Saving and restoring state: FXSAVE, XSAVE and their kin (Intel SDM 1, 10.5 and 13).

use vm_core::AccessWidth;
use vm_ir::ExceptionCode;

use super::mxcsr;
use super::x87::environment::{initialize, probe, set_control};
use crate::guest::{Exception, View};
use crate::x86::helpers::Cpu;
use crate::x86::state::CpuState;

/// How state is saved, as bits of the second argument above the mask.
pub(super) mod form {
    /// 64-bit pointers (REX.W).
    pub(crate) const WIDE: i64 = 1;
    /// In 64-bit mode: sixteen vector registers.
    pub(crate) const LONG_MODE: i64 = 2;
    /// XSAVEOPT: components in their initial state are not written.
    pub(crate) const OPTIMIZED: i64 = 4;
    /// XSAVEC.
    pub(crate) const COMPACTED: i64 = 8;
}

/// State components (Intel SDM 1, 13.1).
const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;

/// Words of the area with header and AVX state.
const AREA_WORDS: usize = 104;
const HEADER_WORD: usize = 64;
const AVX_WORD: usize = 72;
const XMM_WORD: usize = 20;
/// XCOMP_BV's bit that says the format is compacted.
const COMPACT: u64 = 1 << 63;

/// #GP(0).
const PROTECTION: Exception = Exception {
    code: ExceptionCode(13),
    value: 0,
};

/// An area on its way to or from memory.
struct Area([u64; AREA_WORDS]);

/// Registers of vectors that count.
const fn vectors(form: u64) -> usize {
    if form as i64 & form::LONG_MODE != 0 {
        16
    } else {
        8
    }
}

/// A pointer as 64 bits, or as 32 and its selector.
fn pointer(word: u64, form: u64) -> u64 {
    if form as i64 & form::WIDE != 0 {
        // Sign-extended from 48 bits.
        ((word << 16) as i64 >> 16) as u64
    } else {
        word & 0xffff_ffff | word >> 48 << 32
    }
}

fn from_pointer(word: u64, form: u64) -> u64 {
    if form as i64 & form::WIDE != 0 {
        word & 0xffff_ffff_ffff
    } else {
        word & 0xffff_ffff | (word >> 32 & 0xffff) << 48
    }
}

impl Area {
    fn put_x87(&mut self, state: &CpuState, form: u64) {
        let [opcode, code, data] = state.x87_last;
        self.0[0] = state.x87_control & 0xffff
            | (state.x87_status & 0xffff) << 16
            | (state.x87_tags & 0xff) << 32
            | (opcode & 0x7ff) << 48;
        self.0[1] = pointer(code, form);
        self.0[2] = pointer(data, form);
        let top = (state.x87_status >> 11 & 7) as usize;
        for n in 0..8 {
            let [low, high] = state.x87[(top + n) & 7];
            (self.0[4 + 2 * n], self.0[5 + 2 * n]) = (low, high & 0xffff);
        }
    }

    fn put_mxcsr(&mut self, state: &CpuState) {
        self.0[3] = mxcsr::read(state) | mxcsr::MASK << 32;
    }

    fn put_sse(&mut self, state: &CpuState, form: u64) {
        for (n, vector) in state.xmm.iter().take(vectors(form)).enumerate() {
            self.0[XMM_WORD + 2 * n..][..2].copy_from_slice(vector);
        }
    }

    fn put_avx(&mut self, state: &CpuState, form: u64) {
        for (n, vector) in state.ymm_high.iter().take(vectors(form)).enumerate() {
            self.0[AVX_WORD + 2 * n..][..2].copy_from_slice(vector);
        }
    }

    fn take_x87(&self, state: &mut CpuState, form: u64) {
        let word = self.0[0];
        state.x87_status = word >> 16 & 0xffff;
        state.x87_tags = word >> 32 & 0xff;
        let opcode = word >> 48 & 0x7ff;
        state.x87_last = [
            opcode,
            from_pointer(self.0[1], form),
            from_pointer(self.0[2], form),
        ];
        let top = (state.x87_status >> 11 & 7) as usize;
        for n in 0..8 {
            state.x87[(top + n) & 7] = [self.0[4 + 2 * n], self.0[5 + 2 * n] & 0xffff];
        }
        set_control(state, word & 0xffff);
    }

    fn mxcsr(&self) -> u64 {
        self.0[3] & 0xffff_ffff
    }

    fn take_sse(&self, state: &mut CpuState, form: u64) {
        for (n, vector) in state.xmm.iter_mut().take(vectors(form)).enumerate() {
            vector.copy_from_slice(&self.0[XMM_WORD + 2 * n..][..2]);
        }
    }

    fn take_avx(&self, state: &mut CpuState, form: u64) {
        for (n, vector) in state.ymm_high.iter_mut().take(vectors(form)).enumerate() {
            vector.copy_from_slice(&self.0[AVX_WORD + 2 * n..][..2]);
        }
    }

    /// Stores some of the words.
    fn store(
        &self,
        cpu: &mut Cpu<'_>,
        address: u64,
        words: std::ops::Range<usize>,
    ) -> Result<(), Exception> {
        for n in words {
            let at = address.wrapping_add(8 * n as u64);
            let double = AccessWidth::Double;
            cpu.env
                .store(cpu.state, at, double, self.0[n], View::Current)?;
        }
        Ok(())
    }

    /// Loads some of the words.
    fn load(
        &mut self,
        cpu: &mut Cpu<'_>,
        address: u64,
        words: std::ops::Range<usize>,
    ) -> Result<(), Exception> {
        for n in words {
            let at = address.wrapping_add(8 * n as u64);
            let double = AccessWidth::Double;
            self.0[n] = cpu.env.load(cpu.state, at, double, View::Current)?;
        }
        Ok(())
    }
}

/// Helper: FXSAVE to an address, in a form.
pub(super) fn fxsave(cpu: &mut Cpu<'_>, [address, form, _]: [u64; 3]) -> Result<u64, Exception> {
    if !address.is_multiple_of(16) {
        return Err(PROTECTION);
    }
    let end = XMM_WORD + 2 * vectors(form);
    probe(cpu, address, 8 * end as u64)?;
    let mut area = Area([0; AREA_WORDS]);
    area.put_x87(cpu.state, form);
    area.put_mxcsr(cpu.state);
    area.put_sse(cpu.state, form);
    area.store(cpu, address, 0..end)?;
    Ok(0)
}

/// Helper: FXRSTOR.
pub(super) fn fxrstor(cpu: &mut Cpu<'_>, [address, form, _]: [u64; 3]) -> Result<u64, Exception> {
    if !address.is_multiple_of(16) {
        return Err(PROTECTION);
    }
    let mut area = Area([0; AREA_WORDS]);
    area.load(cpu, address, 0..XMM_WORD + 2 * vectors(form))?;
    if area.mxcsr() & !mxcsr::MASK != 0 {
        return Err(PROTECTION);
    }
    area.take_x87(cpu.state, form);
    mxcsr::load(cpu, area.mxcsr());
    area.take_sse(cpu.state, form);
    Ok(0)
}

/// Components that are not in their initial state (Intel SDM 1, 13.6).
pub(super) fn in_use(state: &CpuState) -> u64 {
    let used = |vectors: &[[u64; 2]; 16]| vectors.iter().any(|vector| *vector != [0; 2]);
    let x87 = state.x87_control != super::x87::CONTROL_INIT
        || state.x87_status | state.x87_tags != 0
        || state.x87_last != [0; 3]
        || state.x87.iter().any(|value| *value != [0; 2]);
    (u64::from(x87) * X87)
        | (u64::from(used(&state.xmm)) * SSE)
        | (u64::from(used(&state.ymm_high)) * AVX)
}

/// Helper: XSAVE, XSAVEOPT or XSAVEC to an address, of the components in a mask, in a form.
pub(super) fn xsave(cpu: &mut Cpu<'_>, [address, mask, form]: [u64; 3]) -> Result<u64, Exception> {
    if !address.is_multiple_of(64) {
        return Err(PROTECTION);
    }
    let wanted = mask & cpu.state.xcr0;
    let compacted = form as i64 & form::COMPACTED != 0;
    let optimized = compacted || form as i64 & form::OPTIMIZED != 0;
    let mut used = in_use(cpu.state);
    if compacted && mxcsr::read(cpu.state) != mxcsr::RESET {
        used |= SSE;
    }
    let written = if optimized { wanted & used } else { wanted };
    let end = match wanted & AVX {
        0 => HEADER_WORD + 8,
        _ => AREA_WORDS,
    };
    probe(cpu, address, 8 * end as u64)?;
    let mut area = Area([0; AREA_WORDS]);
    area.load(cpu, address, HEADER_WORD..HEADER_WORD + 1)?;
    let before = area.0[HEADER_WORD];
    if written & X87 != 0 {
        area.put_x87(cpu.state, form);
        area.store(cpu, address, 0..3)?;
        area.store(cpu, address, 4..XMM_WORD)?;
    }
    let with_mxcsr = if compacted {
        written & SSE
    } else {
        wanted & (SSE | AVX)
    };
    if with_mxcsr != 0 {
        area.put_mxcsr(cpu.state);
        area.store(cpu, address, 3..4)?;
    }
    if written & SSE != 0 {
        area.put_sse(cpu.state, form);
        area.store(cpu, address, XMM_WORD..XMM_WORD + 2 * vectors(form))?;
    }
    if written & AVX != 0 {
        area.put_avx(cpu.state, form);
        area.store(cpu, address, AVX_WORD..AVX_WORD + 2 * vectors(form))?;
    }
    if compacted {
        area.0[HEADER_WORD] = wanted & used;
        area.0[HEADER_WORD + 1] = COMPACT | wanted;
        area.store(cpu, address, HEADER_WORD..HEADER_WORD + 2)?;
    } else {
        area.0[HEADER_WORD] = before & !wanted | wanted & used;
        area.store(cpu, address, HEADER_WORD..HEADER_WORD + 1)?;
    }
    Ok(0)
}

/// Helper: XRSTOR.
pub(super) fn xrstor(cpu: &mut Cpu<'_>, [address, mask, form]: [u64; 3]) -> Result<u64, Exception> {
    if !address.is_multiple_of(64) {
        return Err(PROTECTION);
    }
    let xcr0 = cpu.state.xcr0;
    let wanted = mask & xcr0;
    let mut area = Area([0; AREA_WORDS]);
    area.load(cpu, address, HEADER_WORD..HEADER_WORD + 8)?;
    let (held, format) = (area.0[HEADER_WORD], area.0[HEADER_WORD + 1]);
    let compacted = format & COMPACT != 0;
    let allowed = if compacted { format & !COMPACT } else { xcr0 };
    // The standard form leaves the last 40 bytes to software (Intel SDM 1, 13.8.1).
    let reserved = match compacted {
        true => &area.0[HEADER_WORD + 2..HEADER_WORD + 8],
        false => &area.0[HEADER_WORD + 1..HEADER_WORD + 3],
    };
    if allowed & !xcr0 != 0 || held & !allowed != 0 || reserved.iter().any(|&word| word != 0) {
        return Err(PROTECTION);
    }
    let present = wanted & held;
    let with_mxcsr = match compacted {
        true => present & SSE != 0,
        false => wanted & (SSE | AVX) != 0,
    };
    if present & X87 != 0 {
        area.load(cpu, address, 0..3)?;
        area.load(cpu, address, 4..XMM_WORD)?;
    }
    if with_mxcsr {
        area.load(cpu, address, 3..4)?;
        if area.mxcsr() & !mxcsr::MASK != 0 {
            return Err(PROTECTION);
        }
    }
    if present & SSE != 0 {
        area.load(cpu, address, XMM_WORD..XMM_WORD + 2 * vectors(form))?;
    }
    if present & AVX != 0 {
        area.load(cpu, address, AVX_WORD..AVX_WORD + 2 * vectors(form))?;
    }
    let state = &mut *cpu.state;
    if wanted & X87 != 0 {
        if present & X87 != 0 {
            area.take_x87(state, form);
        } else {
            state.x87 = [[0; 2]; 8];
            initialize(state);
        }
    }
    if with_mxcsr {
        mxcsr::load(cpu, area.mxcsr());
    } else if compacted && wanted & SSE != 0 {
        mxcsr::load(cpu, mxcsr::RESET);
    }
    let state = &mut *cpu.state;
    // Components that memory does not have are zeros in the area.
    if wanted & SSE != 0 {
        area.take_sse(state, form);
    }
    if wanted & AVX != 0 {
        area.take_avx(state, form);
    }
    Ok(0)
}
