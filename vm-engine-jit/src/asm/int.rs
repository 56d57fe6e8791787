//! Integer instructions.

use super::{
    Alu, Assembler, BitTest, Bits, Cc, Encoding, Mem, Reg, Rm, Scatter, Shift, Vex, Width,
};

impl Width {
    const fn prefix(self) -> u8 {
        if matches!(self, Self::W) { 0x66 } else { 0 }
    }

    const fn wide(self) -> bool {
        matches!(self, Self::Q)
    }

    /// Bit 0 of most opcodes: set for everything but bytes.
    const fn not_byte(self) -> u8 {
        !matches!(self, Self::B) as u8
    }
}

/// An instruction on general registers with a VEX prefix.
const fn general(pp: u8, width: Width, opcode: u8) -> Vex {
    let vex = Vex::new(pp, 2, opcode);
    if width.wide() { vex.wide() } else { vex }
}

fn rm_needs_rex(rm: Rm) -> bool {
    matches!(rm, Rm::Reg(4..=7))
}

impl Assembler {
    /// An instruction whose opcode's bit 0 tells bytes from the other widths.
    #[inline(always)]
    fn sized(&mut self, width: Width, opcode: u8, reg: u8, rm: Rm) {
        self.sized_imm(width, opcode, reg, rm, 0, 0);
    }

    #[inline(always)]
    fn sized_imm(&mut self, width: Width, opcode: u8, reg: u8, rm: Rm, imm: u32, bytes: usize) {
        let byte = width == Width::B;
        let e = Encoding {
            prefix: width.prefix(),
            wide: width.wide(),
            map: 0,
            opcode: opcode | width.not_byte(),
            reg,
            rm,
            rex: byte && rm_needs_rex(rm),
        };
        self.encode(e, imm, bytes);
    }

    #[inline(always)]
    fn sized_reg(&mut self, width: Width, opcode: u8, reg: Reg, rm: Rm) {
        let e = Encoding {
            prefix: width.prefix(),
            wide: width.wide(),
            map: 0,
            opcode: opcode | width.not_byte(),
            reg: reg as u8,
            rm,
            rex: width == Width::B && (reg.byte_needs_rex() || rm_needs_rex(rm)),
        };
        self.encode(e, 0, 0);
    }

    #[inline(always)]
    fn escaped(&mut self, prefix: u8, width: Width, opcode: u8, reg: u8, rm: Rm, rex: bool) {
        let e = Encoding {
            prefix,
            wide: width.wide(),
            map: 1,
            opcode,
            reg,
            rm,
            rex,
        };
        self.encode(e, 0, 0);
    }

    /// `dst = dst op src`; `cmp` only sets flags.
    pub fn alu(&mut self, op: Alu, width: Width, dst: Reg, src: impl Into<Rm>) {
        self.sized_reg(width, (op as u8) << 3 | 2, dst, src.into());
    }

    /// `mem = mem op src`.
    pub fn alu_to_mem(&mut self, op: Alu, width: Width, dst: Mem, src: Reg) {
        self.sized_reg(width, (op as u8) << 3, src, dst.into());
    }

    /// `dst = dst op imm`, the constant sign-extended (and cut to the width).
    pub fn alu_imm(&mut self, op: Alu, width: Width, dst: impl Into<Rm>, imm: i32) {
        let dst = dst.into();
        let short = i8::try_from(imm).is_ok();
        if dst == Rm::from(Reg::Rax) && !short && matches!(width, Width::D | Width::Q) {
            // RAX has opcodes of its own, without ModRM.
            if width == Width::Q {
                self.put_slice([0x48]);
            }
            let [a, b, c, d] = imm.to_le_bytes();
            return self.put_slice([(op as u8) << 3 | 5, a, b, c, d]);
        }
        let (opcode, bytes) = match (width, short) {
            (Width::B, _) => (0x80, 1),
            (_, true) => (0x83, 1),
            (Width::W, false) => (0x81, 2),
            _ => (0x81, 4),
        };
        self.sized_imm(width, opcode, op as u8, dst, imm as u32, bytes);
    }

    /// Flags of `a & b`.
    pub fn test(&mut self, width: Width, a: Reg, b: Reg) {
        self.sized_reg(width, 0x84, b, a.into());
    }

    /// Flags of the second byte of RDX and a constant.
    pub fn test_dh(&mut self, bits: u8) {
        self.put_slice([0xf6, 0xc6, bits]);
    }

    /// Copies a register or loads.
    pub fn mov(&mut self, width: Width, dst: Reg, src: impl Into<Rm>) {
        self.sized_reg(width, 0x8a, dst, src.into());
    }

    /// Stores the low part of a register.
    pub fn store(&mut self, width: Width, dst: Mem, src: Reg) {
        self.sized_reg(width, 0x88, src, dst.into());
    }

    /// Stores a constant, sign-extended to the width.
    pub fn store_imm(&mut self, width: Width, dst: Mem, imm: i32) {
        let bytes = match width {
            Width::B => 1,
            Width::W => 2,
            _ => 4,
        };
        self.sized_imm(width, 0xc6, 0, dst.into(), imm as u32, bytes);
    }

    /// Sets a register to a constant without touching flags, by the shortest instruction.
    pub fn mov_imm(&mut self, dst: Reg, value: u64) {
        let (low, high) = (dst as u8 & 7, dst as u8 >> 3);
        if let Ok(value) = u32::try_from(value) {
            let [a, b, c, d] = value.to_le_bytes();
            if high == 0 {
                self.put_slice([0xb8 | low, a, b, c, d]);
            } else {
                self.put_slice([0x41, 0xb8 | low, a, b, c, d]);
            }
        } else if let Ok(value) = i32::try_from(value as i64) {
            self.sized_imm(Width::Q, 0xc6, 0, dst.into(), value as u32, 4);
        } else {
            let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
            self.put_slice([0x48 | high, 0xb8 | low, a, b, c, d, e, f, g, h]);
        }
    }

    /// Loads RAX from an absolute address.
    pub fn mov_rax_from(&mut self, address: u64) {
        let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
        self.put_slice([0x48, 0xa1, a, b, c, d, e, f, g, h]);
    }

    /// Loads or copies a byte or half-word, zero-extended to 64 bits.
    pub fn movzx(&mut self, from: Width, dst: Reg, src: impl Into<Rm>) {
        let src = src.into();
        let (opcode, rex) = match from {
            Width::B => (0xb6, rm_needs_rex(src)),
            Width::W => (0xb7, false),
            Width::D | Width::Q => return self.mov(from, dst, src),
        };
        self.escaped(0, Width::D, opcode, dst as u8, src, rex);
    }

    /// Loads or copies a narrower value, sign-extended to 32 or 64 bits.
    pub fn movsx(&mut self, to: Width, from: Width, dst: Reg, src: impl Into<Rm>) {
        let src = src.into();
        match from {
            Width::B => self.escaped(0, to, 0xbe, dst as u8, src, rm_needs_rex(src)),
            Width::W => self.escaped(0, to, 0xbf, dst as u8, src, false),
            Width::D if to == Width::Q => self.sized_reg(Width::Q, 0x63, dst, src),
            Width::D | Width::Q => self.mov(from, dst, src),
        }
    }

    /// Address of a memory operand.
    pub fn lea(&mut self, width: Width, dst: Reg, of: Mem) {
        self.sized_reg(width, 0x8d, dst, of.into());
    }

    /// Shifts by a constant below the width.
    pub fn shift_imm(&mut self, op: Shift, width: Width, dst: impl Into<Rm>, count: u8) {
        let dst = dst.into();
        if count == 1 {
            self.sized(width, 0xd0, op as u8, dst);
        } else {
            self.sized_imm(width, 0xc0, op as u8, dst, count.into(), 1);
        }
    }

    /// Shifts by CL, modulo 32 or 64.
    pub fn shift_cl(&mut self, op: Shift, width: Width, dst: impl Into<Rm>) {
        self.sized(width, 0xd2, op as u8, dst.into());
    }

    /// `dst = src << count` and the like without flags (BMI2), modulo 32 or 64. Rotations have no such form.
    pub fn shiftx(&mut self, op: Shift, width: Width, dst: Reg, src: impl Into<Rm>, count: Reg) {
        let pp = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            Shift::Shr => 3,
            Shift::Rol | Shift::Ror => unreachable!("rotations by register go through CL"),
        };
        self.vex(general(pp, width, 0xf7), dst as u8, count as u8, src);
    }

    /// `dst = !a & b` (BMI1).
    pub fn andn(&mut self, width: Width, dst: Reg, a: Reg, b: impl Into<Rm>) {
        self.vex(general(0, width, 0xf2), dst as u8, a as u8, b);
    }

    /// Bits of `src` to or from where `places` has ones (BMI2).
    pub fn scatter(
        &mut self,
        op: Scatter,
        width: Width,
        dst: Reg,
        src: Reg,
        places: impl Into<Rm>,
    ) {
        let vex = general(op as u8, width, 0xf5);
        self.vex(vex, dst as u8, src as u8, places);
    }

    /// `dst = dst * src`, low part.
    pub fn imul(&mut self, width: Width, dst: Reg, src: impl Into<Rm>) {
        self.escaped(width.prefix(), width, 0xaf, dst as u8, src.into(), false);
    }

    /// `RDX:RAX = RAX * src`, unsigned.
    pub fn mul(&mut self, width: Width, src: impl Into<Rm>) {
        self.sized(width, 0xf6, 4, src.into());
    }

    /// `RDX:RAX = RAX * src`, signed.
    pub fn imul_wide(&mut self, width: Width, src: impl Into<Rm>) {
        self.sized(width, 0xf6, 5, src.into());
    }

    /// RAX and RDX: quotient and remainder of `RDX:RAX / src`, unsigned.
    pub fn div(&mut self, width: Width, src: impl Into<Rm>) {
        self.sized(width, 0xf6, 6, src.into());
    }

    /// The same, signed.
    pub fn idiv(&mut self, width: Width, src: impl Into<Rm>) {
        self.sized(width, 0xf6, 7, src.into());
    }

    /// Sign of RAX to all of RDX (or of EAX to EDX).
    pub fn sign_to_rdx(&mut self, width: Width) {
        if width == Width::Q {
            self.put_slice([0x48, 0x99]);
        } else {
            self.put_slice([0x99]);
        }
    }

    /// Complement.
    pub fn not(&mut self, width: Width, dst: impl Into<Rm>) {
        self.sized(width, 0xf6, 2, dst.into());
    }

    /// Two's complement.
    pub fn neg(&mut self, width: Width, dst: impl Into<Rm>) {
        self.sized(width, 0xf6, 3, dst.into());
    }

    /// Adds one.
    pub fn inc(&mut self, width: Width, dst: impl Into<Rm>) {
        self.sized(width, 0xfe, 0, dst.into());
    }

    /// Subtracts one.
    pub fn dec(&mut self, width: Width, dst: impl Into<Rm>) {
        self.sized(width, 0xfe, 1, dst.into());
    }

    /// Low byte of `dst`: 1 when the condition holds, else 0.
    pub fn setcc(&mut self, cc: Cc, dst: impl Into<Rm>) {
        let dst = dst.into();
        let rex = rm_needs_rex(dst);
        self.escaped(0, Width::D, 0x90 | cc as u8, 0, dst, rex);
    }

    /// The low byte of the flags to AH (Intel SDM 2A, LAHF).
    pub fn lahf(&mut self) {
        self.put_slice([0x9f]);
    }

    /// AH to the low byte of the flags; the overflow flag stays.
    pub fn sahf(&mut self) {
        self.put_slice([0x9e]);
    }

    /// Inverts the carry flag.
    pub fn cmc(&mut self) {
        self.put_slice([0xf5]);
    }

    /// Flags of `a & imm`, the constant sign-extended (and cut to the width).
    pub fn test_imm(&mut self, width: Width, a: impl Into<Rm>, imm: i32) {
        let bytes = match width {
            Width::B => 1,
            Width::W => 2,
            _ => 4,
        };
        self.sized_imm(width, 0xf6, 0, a.into(), imm as u32, bytes);
    }

    /// `dst` shifted right by a constant below the width, the low bits of `from` coming in.
    pub fn shrd_imm(&mut self, width: Width, dst: Reg, from: Reg, count: u8) {
        let e = Encoding {
            prefix: width.prefix(),
            wide: width.wide(),
            map: 1,
            opcode: 0xac,
            reg: from as u8,
            rm: dst.into(),
            rex: false,
        };
        self.encode(e, count.into(), 1);
    }

    /// The same by CL, modulo 32 or 64.
    pub fn shrd_cl(&mut self, width: Width, dst: Reg, from: Reg) {
        self.escaped(width.prefix(), width, 0xad, from as u8, dst.into(), false);
    }

    /// Copies when the condition holds.
    pub fn cmov(&mut self, cc: Cc, width: Width, dst: Reg, src: impl Into<Rm>) {
        self.escaped(
            width.prefix(),
            width,
            0x40 | cc as u8,
            dst as u8,
            src.into(),
            false,
        );
    }

    /// Population count, leading or trailing zeros (of zero the width).
    pub fn count_bits(&mut self, op: Bits, width: Width, dst: Reg, src: impl Into<Rm>) {
        self.escaped(0xf3, width, op as u8, dst as u8, src.into(), false);
    }

    /// Number of the lowest bit set; undefined for zero.
    pub fn bsf(&mut self, width: Width, dst: Reg, src: impl Into<Rm>) {
        self.escaped(0, width, 0xbc, dst as u8, src.into(), false);
    }

    /// Number of the highest bit set; undefined for zero.
    pub fn bsr(&mut self, width: Width, dst: Reg, src: impl Into<Rm>) {
        self.escaped(0, width, 0xbd, dst as u8, src.into(), false);
    }

    /// Copies bit number `bit`, modulo the width, of `of` to CF and changes it.
    pub fn bit_test(&mut self, op: BitTest, width: Width, of: Reg, bit: Reg) {
        let opcode = 0x83 | (op as u8) << 3;
        self.escaped(width.prefix(), width, opcode, bit as u8, of.into(), false);
    }

    /// The same for a constant number below the width.
    pub fn bit_test_imm(&mut self, op: BitTest, width: Width, of: impl Into<Rm>, bit: u8) {
        let e = Encoding {
            prefix: width.prefix(),
            wide: width.wide(),
            map: 1,
            opcode: 0xba,
            reg: op as u8,
            rm: of.into(),
            rex: false,
        };
        self.encode(e, bit.into(), 1);
    }

    /// Reverses the bytes of 32 or 64 bits.
    pub fn bswap(&mut self, width: Width, dst: Reg) {
        let rex = 0x40 | u8::from(width.wide()) << 3 | dst as u8 >> 3;
        self.put_slice([rex, 0x0f, 0xc8 | dst as u8 & 7]);
    }

    /// Jumps to the address in a register or in memory.
    pub fn jmp_rm(&mut self, to: impl Into<Rm>) {
        self.sized(Width::D, 0xfe, 4, to.into());
    }

    /// Calls the address in a register or in memory.
    pub fn call_rm(&mut self, to: impl Into<Rm>) {
        self.sized(Width::D, 0xfe, 2, to.into());
    }

    /// Pushes a register.
    pub fn push(&mut self, reg: Reg) {
        self.push_or_pop(0x50, reg);
    }

    /// Pops a register.
    pub fn pop(&mut self, reg: Reg) {
        self.push_or_pop(0x58, reg);
    }

    /// Pushes a word of memory.
    pub fn push_mem(&mut self, from: Mem) {
        self.of_stack(0xff, 6, from);
    }

    /// Pops a word to memory.
    pub fn pop_mem(&mut self, to: Mem) {
        self.of_stack(0x8f, 0, to);
    }

    /// An instruction on a word of the stack and one of memory, which needs no prefix for 64 bits.
    fn of_stack(&mut self, opcode: u8, reg: u8, mem: Mem) {
        let e = Encoding {
            prefix: 0,
            wide: false,
            map: 0,
            opcode,
            reg,
            rm: mem.into(),
            rex: false,
        };
        self.encode(e, 0, 0);
    }

    fn push_or_pop(&mut self, opcode: u8, reg: Reg) {
        if (reg as u8) < 8 {
            self.put_slice([opcode | reg as u8]);
        } else {
            self.put_slice([0x41, opcode | reg as u8 & 7]);
        }
    }

    /// Returns.
    pub fn ret(&mut self) {
        self.put_slice([0xc3]);
    }

    /// Returns, and drops so many bytes above the return address.
    pub fn ret_dropping(&mut self, bytes: u16) {
        let [low, high] = bytes.to_le_bytes();
        self.put_slice([0xc2, low, high]);
    }

    /// Exchanges a register with memory, atomically.
    pub fn xchg(&mut self, width: Width, with: Mem, reg: Reg) {
        self.sized_reg(width, 0x86, reg, with.into());
    }

    /// Adds a register to memory, atomically; the register gets what memory held.
    pub fn lock_xadd(&mut self, width: Width, to: Mem, reg: Reg) {
        self.locked(width, 0xc0, to, reg);
    }

    /// Stores a register where memory equals RAX, atomically; RAX gets what memory held.
    pub fn lock_cmpxchg(&mut self, width: Width, to: Mem, reg: Reg) {
        self.locked(width, 0xb0, to, reg);
    }

    /// `mem = mem op src`, atomically; any but `cmp`.
    pub fn lock_alu(&mut self, op: Alu, width: Width, to: Mem, src: Reg) {
        self.put_slice([0xf0]);
        self.alu_to_mem(op, width, to, src);
    }

    fn locked(&mut self, width: Width, opcode: u8, to: Mem, reg: Reg) {
        self.put_slice([0xf0]);
        let rex = width == Width::B && reg.byte_needs_rex();
        let opcode = opcode | width.not_byte();
        self.escaped(width.prefix(), width, opcode, reg as u8, to.into(), rex);
    }

    /// Orders all earlier accesses before all later ones.
    pub fn mfence(&mut self) {
        self.put_slice([0x0f, 0xae, 0xf0]);
    }
}
