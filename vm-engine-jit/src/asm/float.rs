//! Scalar floating point (SSE2) and its control register.

use super::{Assembler, Encoding, Mem, Reg, Rm, Vex, Width, Xmm};

/// Two-operand scalar operations by opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Scalar {
    Sqrt = 0x51,
    Add = 0x58,
    Mul = 0x59,
    Sub = 0x5c,
    Min = 0x5d,
    Div = 0x5e,
    Max = 0x5f,
}

impl Scalar {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Sqrt,
        Self::Add,
        Self::Mul,
        Self::Sub,
        Self::Min,
        Self::Div,
        Self::Max,
    ];
}

/// Fused operations `dst = ±(a * b) ± dst` by opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Fused {
    MulAdd = 0xb9,
    MulSub = 0xbb,
    /// `-(a * b) + dst`
    NegMulAdd = 0xbd,
    /// `-(a * b) - dst`
    NegMulSub = 0xbf,
}

/// Prefix that tells double from single precision.
const fn precision(double: bool) -> u8 {
    if double { 0xf2 } else { 0xf3 }
}

impl Assembler {
    fn sse(&mut self, prefix: u8, wide: bool, opcode: u8, reg: u8, rm: Rm) {
        let e = Encoding {
            prefix,
            wide,
            map: 1,
            opcode,
            reg,
            rm,
            rex: false,
        };
        self.encode(e, 0, 0);
    }

    /// `dst = dst op src` on the low lane.
    pub fn scalar(&mut self, op: Scalar, double: bool, dst: Xmm, src: impl Into<Rm>) {
        self.sse(precision(double), false, op as u8, dst.0, src.into());
    }

    /// Compares low lanes to ZF, PF, CF; Invalid for signalling NaNs only.
    pub fn ucomis(&mut self, double: bool, a: Xmm, b: impl Into<Rm>) {
        self.sse(if double { 0x66 } else { 0 }, false, 0x2e, a.0, b.into());
    }

    /// Compares low lanes to ZF, PF, CF; Invalid for every NaN.
    pub fn comis(&mut self, double: bool, a: Xmm, b: impl Into<Rm>) {
        self.sse(if double { 0x66 } else { 0 }, false, 0x2f, a.0, b.into());
    }

    /// Loads the low lane and clears the rest.
    pub fn load_scalar(&mut self, double: bool, dst: Xmm, src: Mem) {
        self.sse(precision(double), false, 0x10, dst.0, src.into());
    }

    /// Stores the low lane.
    pub fn store_scalar(&mut self, double: bool, dst: Mem, src: Xmm) {
        self.sse(precision(double), false, 0x11, src.0, dst.into());
    }

    /// Copies a whole vector register.
    pub fn movaps(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0, false, 0x28, dst.0, src.into());
    }

    /// High half of `src` to the low half of `dst`.
    pub fn movhlps(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0, false, 0x12, dst.0, src.into());
    }

    /// Carry-less product of a half of `dst` (bit 0 of `halves`) and a half of `src` (bit 4) to all of `dst`.
    pub fn pclmulqdq(&mut self, dst: Xmm, src: Xmm, halves: u8) {
        let e = Encoding {
            prefix: 0x66,
            wide: false,
            map: 3,
            opcode: 0x44,
            reg: dst.0,
            rm: src.into(),
            rex: false,
        };
        self.encode(e, halves.into(), 1);
    }

    /// Bits of a general-purpose register to the low lane, the rest cleared.
    pub fn mov_to_xmm(&mut self, width: Width, dst: Xmm, src: Reg) {
        self.sse(0x66, width == Width::Q, 0x6e, dst.0, src.into());
    }

    /// Bits of the low lane to a general-purpose register.
    pub fn mov_from_xmm(&mut self, width: Width, dst: Reg, src: Xmm) {
        self.sse(0x66, width == Width::Q, 0x7e, src.0, dst.into());
    }

    /// Signed integer of this width to floating point.
    pub fn cvt_from_int(&mut self, width: Width, double: bool, dst: Xmm, src: impl Into<Rm>) {
        let wide = width == Width::Q;
        self.sse(precision(double), wide, 0x2a, dst.0, src.into());
    }

    /// Floating point to a signed integer, as the control register rounds.
    pub fn cvt_to_int(&mut self, width: Width, double: bool, dst: Reg, src: Xmm) {
        let wide = width == Width::Q;
        self.sse(precision(double), wide, 0x2d, dst as u8, src.into());
    }

    /// Floating point to a signed integer, toward zero.
    pub fn cvt_to_int_truncated(&mut self, width: Width, double: bool, dst: Reg, src: Xmm) {
        let wide = width == Width::Q;
        self.sse(precision(double), wide, 0x2c, dst as u8, src.into());
    }

    /// To the other precision: from double when `from_double`.
    pub fn cvt_precision(&mut self, from_double: bool, dst: Xmm, src: Xmm) {
        self.sse(precision(from_double), false, 0x5a, dst.0, src.into());
    }

    /// `dst = ±(a * b) ± dst` on the low lane (FMA).
    pub fn fused(&mut self, op: Fused, double: bool, dst: Xmm, a: Xmm, b: impl Into<Rm>) {
        let vex = Vex::new(1, 2, op as u8);
        let vex = if double { vex.wide() } else { vex };
        self.vex(vex, dst.0, a.0, b);
    }

    /// `dst &= src`, all bits.
    pub fn andps(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0, false, 0x54, dst.0, src.into());
    }

    /// `dst = !dst & src`, all bits.
    pub fn andnps(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0, false, 0x55, dst.0, src.into());
    }

    /// Shifts each lane of this width (32 or 64 bits) left.
    pub fn shift_lanes_left(&mut self, width: Width, dst: Xmm, count: u8) {
        let e = Encoding {
            prefix: 0x66,
            wide: false,
            map: 1,
            opcode: if width == Width::Q { 0x73 } else { 0x72 },
            reg: 6,
            rm: dst.into(),
            rex: false,
        };
        self.encode(e, count.into(), 1);
    }

    /// `dst |= src`, all bits.
    pub fn orps(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0, false, 0x56, dst.0, src.into());
    }

    /// `dst ^= src`, all bits.
    pub fn xorps(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0, false, 0x57, dst.0, src.into());
    }

    /// Puts the low 32 bits of `src` above those of `dst`.
    pub fn unpcklps(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0, false, 0x14, dst.0, src.into());
    }

    /// All ones where 32-bit lanes are equal.
    pub fn pcmpeqd(&mut self, dst: Xmm, src: Xmm) {
        self.sse(0x66, false, 0x76, dst.0, src.into());
    }

    /// Loads MXCSR.
    pub fn ldmxcsr(&mut self, from: Mem) {
        self.sse(0, false, 0xae, 2, from.into());
    }

    /// Stores MXCSR.
    pub fn stmxcsr(&mut self, to: Mem) {
        self.sse(0, false, 0xae, 3, to.into());
    }

    /// An x87 instruction with an operand in memory, by its opcode and the register field of what follows.
    pub fn x87_memory(&mut self, (opcode, field): (u8, u8), at: Mem) {
        let e = Encoding {
            prefix: 0,
            wide: false,
            map: 0,
            opcode,
            reg: field,
            rm: at.into(),
            rex: false,
        };
        self.encode(e, 0, 0);
    }
}
