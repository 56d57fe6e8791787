//! A typed assembler for x86-64.
//!
//! Bytes are written as they are asked for; branches to labels are filled in by [`Assembler::finish`]. Encodings
//! follow the Intel SDM, volume 2 (chapter 2 for the prefixes, 3 to 5 for the instructions).

mod float;
mod int;
mod operand;
#[cfg(test)]
mod tests;
mod vector;

pub use float::{Fused, Scalar};
pub use operand::{Alu, BitTest, Bits, Cc, Mem, Reg, Rm, Scatter, Shift, Width, Xmm};
pub use vector::Vex;

/// A place in the code, perhaps still to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(u32);

const UNBOUND: u32 = u32::MAX;
/// Bytes of a displacement of a jump that is not short.
pub const DISPLACEMENT_BYTES: u32 = 4;
/// Room that writing an instruction takes, the longest of which has 15 bytes.
const ROOM: usize = 20;

/// Code in the making.
#[derive(Debug)]
pub struct Assembler {
    bytes: Box<[u8]>,
    at: usize,
    overflow: bool,
    labels: Vec<u32>,
    /// Places of 32-bit displacements to labels.
    near: Vec<(u32, Label)>,
    /// Places of 8-bit displacements to labels.
    short: Vec<(u32, Label)>,
    /// Places of 32-bit displacements to addresses outside.
    far: Vec<(u32, u64)>,
}

/// One instruction with a ModRM byte (Intel SDM 2A, 2.1.3).
pub(crate) struct Encoding {
    /// 0x66, 0xf2, 0xf3 or none.
    prefix: u8,
    /// REX.W.
    wide: bool,
    /// Escape bytes: 0 none, 1 `0f`, 2 `0f 38`, 3 `0f 3a`.
    map: u8,
    opcode: u8,
    reg: u8,
    rm: Rm,
    /// A byte register that needs a REX prefix for itself (SPL, BPL, SIL, DIL).
    rex: bool,
}

impl Default for Assembler {
    fn default() -> Self {
        Self::new(64 << 10)
    }
}

impl Assembler {
    /// An empty assembler for up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity.max(2 * ROOM)].into(),
            at: 0,
            overflow: false,
            labels: Vec::with_capacity(64),
            near: Vec::with_capacity(64),
            short: Vec::with_capacity(16),
            far: Vec::with_capacity(64),
        }
    }

    /// Starts anew.
    pub fn clear(&mut self) {
        self.at = 0;
        self.overflow = false;
        self.labels.clear();
        self.near.clear();
        self.short.clear();
        self.far.clear();
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.at
    }

    /// Whether there is no code yet.
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// A place that is not known yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() as u32 - 1)
    }

    /// The label is here.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.at as u32;
    }

    /// A new label that is here.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Offset of a bound label.
    pub fn offset_of(&self, label: Label) -> usize {
        self.labels[label.0 as usize] as usize
    }

    /// The code for the address `base`, or `None` when it was longer than the capacity.
    ///
    /// # Panics
    /// When a label that is used was never bound, or out of a short jump's reach, or an outside address out of reach.
    pub fn finish(&mut self, base: u64) -> Option<&[u8]> {
        let split = self.at;
        self.finish_in_two(split, [base, 0]).map(|(code, _)| code)
    }

    /// The code in two parts for two addresses, of which the second begins at the offset `split`.
    ///
    /// # Panics
    /// As [`Assembler::finish`], and when one part is out of the other one's reach.
    pub fn finish_in_two(&mut self, split: usize, bases: [u64; 2]) -> Option<(&[u8], &[u8])> {
        if self.overflow {
            return None;
        }
        let address = |offset: u32| match (offset as usize).checked_sub(split) {
            // The end of the first part, where nothing is, belongs to either.
            Some(behind) if split != self.at => bases[1] + behind as u64,
            _ => bases[0] + u64::from(offset),
        };
        let bound = |label: Label| {
            let target = self.labels[label.0 as usize];
            assert_ne!(target, UNBOUND, "every label is bound");
            address(target)
        };
        let near = self.near.iter().map(|&(at, label)| (at, bound(label)));
        for (at, target) in near.chain(self.far.iter().copied()) {
            let displacement = target.wrapping_sub(address(at) + 4) as i64;
            let displacement = i32::try_from(displacement).expect("invariant: one arena");
            self.bytes[at as usize..][..4].copy_from_slice(&displacement.to_le_bytes());
        }
        for &(at, label) in &self.short {
            let displacement = bound(label).wrapping_sub(address(at) + 1) as i64;
            let displacement = i8::try_from(displacement).expect("a short jump is short");
            self.bytes[at as usize] = displacement as u8;
        }
        Some(self.bytes[..self.at].split_at(split))
    }

    fn put_slice<const N: usize>(&mut self, bytes: [u8; N]) {
        match self.bytes.get_mut(self.at..self.at + N) {
            Some(place) => {
                place.copy_from_slice(&bytes);
                self.at += N;
            }
            None => self.overflow = true,
        }
    }

    /// Writes what is before the displacement, the displacement, and a constant of `imm_bytes` bytes. Each is written
    /// whole, by one store; the next one goes over what was too much.
    #[inline(always)]
    fn put(&mut self, head: Head, disp: (i32, usize), imm: (u32, usize)) {
        let Some(place) = self.bytes.get_mut(self.at..self.at + ROOM) else {
            self.overflow = true;
            return;
        };
        place[..8].copy_from_slice(&head.bytes.to_le_bytes());
        let mut n = (head.bits / 8) as usize & 7;
        place[n..n + 4].copy_from_slice(&disp.0.to_le_bytes());
        n += disp.1;
        place[n & 15..(n & 15) + 4].copy_from_slice(&imm.0.to_le_bytes());
        self.at += n + imm.1;
    }

    /// Writes an instruction and a constant of `imm_bytes` bytes.
    #[inline(always)]
    fn encode(&mut self, e: Encoding, imm: u32, imm_bytes: usize) {
        let mut head = Head::default();
        if e.prefix != 0 {
            head.push(e.prefix);
        }
        let (x, b) = e.rm.high_bits();
        let rex = u8::from(e.wide) << 3 | (e.reg >> 3) << 2 | x << 1 | b;
        if rex != 0 || e.rex {
            head.push(0x40 | rex);
        }
        if e.map != 0 {
            head.push(0x0f);
        }
        match e.map {
            2 => head.push(0x38),
            3 => head.push(0x3a),
            _ => {}
        }
        head.push(e.opcode);
        let disp = head.modrm(e.reg, e.rm);
        self.put(head, disp, (imm, imm_bytes));
    }

    fn displacement_to(&mut self, label: Label) {
        self.near.push((self.at as u32 - 4, label));
    }

    /// Jumps to a label.
    pub fn jmp(&mut self, to: Label) {
        self.put_slice([0xe9, 0, 0, 0, 0]);
        self.displacement_to(to);
    }

    /// Jumps to a label when the condition holds.
    pub fn jcc(&mut self, cc: Cc, to: Label) {
        self.put_slice([0x0f, 0x80 | cc as u8, 0, 0, 0, 0]);
        self.displacement_to(to);
    }

    /// Jumps to a label that is within 127 bytes.
    pub fn jmp_short(&mut self, to: Label) {
        self.put_slice([0xeb, 0]);
        self.short.push((self.at as u32 - 1, to));
    }

    /// Jumps to a label that is within 127 bytes when the condition holds.
    pub fn jcc_short(&mut self, cc: Cc, to: Label) {
        self.put_slice([0x70 | cc as u8, 0]);
        self.short.push((self.at as u32 - 1, to));
    }

    /// Jumps to a label until another displacement is stored in the place given back. The place is aligned, so that one
    /// store replaces it while others run the code.
    pub fn jmp_for_now(&mut self, to: Label) -> u32 {
        self.align_behind(1);
        self.jmp(to);
        self.at as u32 - DISPLACEMENT_BYTES
    }

    /// The same when the condition holds.
    pub fn jcc_for_now(&mut self, cc: Cc, to: Label) -> u32 {
        self.align_behind(2);
        self.jcc(cc, to);
        self.at as u32 - DISPLACEMENT_BYTES
    }

    /// Does nothing in as few instructions as needed for a displacement behind `opcode_bytes` bytes to be aligned
    /// (Intel SDM 2B, NOP).
    fn align_behind(&mut self, opcode_bytes: u32) {
        let over = (self.at as u32 + opcode_bytes) % DISPLACEMENT_BYTES;
        match (DISPLACEMENT_BYTES - over) % DISPLACEMENT_BYTES {
            1 => self.put_slice([0x90]),
            2 => self.put_slice([0x66, 0x90]),
            3 => self.put_slice([0x0f, 0x1f, 0x00]),
            _ => {}
        }
    }

    /// Bytes that are no instructions.
    pub fn data<const N: usize>(&mut self, bytes: [u8; N]) {
        self.put_slice(bytes);
    }

    /// Fills up with bytes that nothing runs until so many more would reach a multiple of four behind `start`.
    pub fn align_unused(&mut self, start: usize, bytes: usize) {
        while !(self.at - start + bytes).is_multiple_of(DISPLACEMENT_BYTES as usize) {
            self.put_slice([0xcc]);
        }
    }

    /// Calls a label.
    pub fn call(&mut self, to: Label) {
        self.put_slice([0xe8, 0, 0, 0, 0]);
        self.displacement_to(to);
    }

    /// Jumps to an address within 2 GiB.
    pub fn jmp_to(&mut self, to: u64) {
        self.put_slice([0xe9, 0, 0, 0, 0]);
        self.far.push((self.at as u32 - 4, to));
    }

    /// Calls an address within 2 GiB.
    pub fn call_to(&mut self, to: u64) {
        self.put_slice([0xe8, 0, 0, 0, 0]);
        self.far.push((self.at as u32 - 4, to));
    }
}

/// An instruction up to its displacement, at most seven bytes.
#[derive(Default)]
struct Head {
    bytes: u64,
    bits: u32,
}

impl Head {
    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.bytes |= u64::from(byte) << (self.bits & 63);
        self.bits += 8;
    }

    /// Adds ModRM and SIB (Intel SDM 2A, 2.1.5); gives the displacement and its length.
    #[inline(always)]
    fn modrm(&mut self, reg: u8, rm: Rm) -> (i32, usize) {
        let reg = (reg & 7) << 3;
        let mem = match rm {
            Rm::Reg(rm) => {
                self.push(0xc0 | reg | rm & 7);
                return (0, 0);
            }
            Rm::Mem(mem) => mem,
        };
        let base = mem.base as u8 & 7;
        let short = i8::try_from(mem.disp).is_ok();
        // Base 5 without displacement means something else.
        let (mode, disp_bytes) = match (mem.disp, short) {
            (0, _) if base != 5 => (0x00, 0),
            (_, true) => (0x40, 1),
            _ => (0x80, 4),
        };
        match mem.index {
            Some((index, scale)) => {
                self.push(mode | reg | 4);
                self.push(scale << 6 | (index as u8 & 7) << 3 | base);
            }
            // Base 4 needs a SIB byte that says there is no index.
            None if base == 4 => {
                self.push(mode | reg | 4);
                self.push(0x24);
            }
            None => self.push(mode | reg | base),
        }
        (mem.disp, disp_bytes)
    }
}

impl Rm {
    /// Bit 3 of the index register and of the base or the register itself.
    #[inline(always)]
    fn high_bits(self) -> (u8, u8) {
        match self {
            Self::Reg(rm) => (0, rm >> 3),
            Self::Mem(mem) => (
                mem.index.map_or(0, |(i, _)| i as u8 >> 3),
                mem.base as u8 >> 3,
            ),
        }
    }
}
