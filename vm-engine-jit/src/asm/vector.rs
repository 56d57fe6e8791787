//! Instructions with VEX prefixes (Intel SDM 2A, 2.3).

use super::{Assembler, Head, Mem, Rm, Xmm};

/// A VEX-encoded instruction but for its operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vex {
    /// VEX.pp: 0 none, 1 `66`, 2 `f3`, 3 `f2`.
    pub pp: u8,
    /// VEX.mmmmm: 1 `0f`, 2 `0f 38`, 3 `0f 3a`.
    pub map: u8,
    /// The opcode.
    pub opcode: u8,
    /// VEX.W.
    pub wide: bool,
    /// VEX.L: 256 bits.
    pub long: bool,
}

impl Vex {
    /// On 128 bits, without VEX.W.
    pub const fn new(pp: u8, map: u8, opcode: u8) -> Self {
        Self {
            pp,
            map,
            opcode,
            wide: false,
            long: false,
        }
    }

    /// The same with VEX.W.
    pub const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// The same on 256 bits.
    pub const fn long(self) -> Self {
        Self { long: true, ..self }
    }
}

/// `vmovups`, to a register.
const LOAD: Vex = Vex::new(0, 1, 0x10);
/// `vmovups`, from a register.
const STORE: Vex = Vex::new(0, 1, 0x11);
/// `vmovaps` between registers.
const COPY: Vex = Vex::new(0, 1, 0x28);
/// `vxorps`.
const XOR: Vex = Vex::new(0, 1, 0x57);
/// `vpcmpeqd`.
const EQUAL: Vex = Vex::new(1, 1, 0x76);

impl Assembler {
    /// An instruction with up to three operands: ModRM.reg, VEX.vvvv (0 when there is none), ModRM.rm.
    pub fn vex(&mut self, vex: Vex, reg: u8, vvvv: u8, rm: impl Into<Rm>) {
        self.encode_vex(vex, reg, vvvv, rm.into(), (0, 0));
    }

    /// The same with a constant.
    pub fn vex_imm(&mut self, vex: Vex, reg: u8, vvvv: u8, rm: impl Into<Rm>, imm: u8) {
        self.encode_vex(vex, reg, vvvv, rm.into(), (imm.into(), 1));
    }

    /// Writes an instruction with a VEX prefix, of two bytes where that will do, and a constant.
    pub(super) fn encode_vex(
        &mut self,
        vex: Vex,
        reg: u8,
        vvvv: u8,
        rm: Rm,
        (imm, imm_bytes): (u32, usize),
    ) {
        let mut head = Head::default();
        let (x, b) = rm.high_bits();
        let not_r = (reg >> 3 ^ 1) << 7;
        let last = (vvvv ^ 15) << 3 | u8::from(vex.long) << 2 | vex.pp;
        if vex.map == 1 && !vex.wide && x | b == 0 {
            head.push(0xc5);
            head.push(not_r | last);
        } else {
            head.push(0xc4);
            head.push(not_r | (x ^ 1) << 6 | (b ^ 1) << 5 | vex.map);
            head.push(u8::from(vex.wide) << 7 | last);
        }
        head.push(vex.opcode);
        let disp = head.modrm(reg, rm);
        self.put(head, disp, (imm, imm_bytes));
    }

    /// Copies 128 bits to a register, clearing what is above.
    pub fn vmov(&mut self, dst: Xmm, src: impl Into<Rm>) {
        match src.into() {
            Rm::Reg(src) if src == dst.0 => {}
            // The direction with the higher register in VEX.R is shorter.
            Rm::Reg(src) if src > 7 && dst.0 < 8 => {
                let reverse = Vex::new(0, 1, 0x29);
                self.vex(reverse, src, 0, dst);
            }
            src @ Rm::Reg(_) => self.vex(COPY, dst.0, 0, src),
            src @ Rm::Mem(_) => self.vex(LOAD, dst.0, 0, src),
        }
    }

    /// Stores 128 bits.
    pub fn vstore(&mut self, dst: Mem, src: Xmm) {
        self.vex(STORE, src.0, 0, dst);
    }

    /// Clears the high halves of all 256-bit registers, on which instructions without VEX prefixes would have to wait.
    pub fn vzeroupper(&mut self) {
        self.put_slice([0xc5, 0xf8, 0x77]);
    }

    /// Clears a register.
    pub fn vzero(&mut self, dst: Xmm) {
        self.vex(XOR, dst.0, dst.0, dst);
    }

    /// Sets all 128 bits.
    pub fn vones(&mut self, dst: Xmm) {
        self.vex(EQUAL, dst.0, dst.0, dst);
    }
}
