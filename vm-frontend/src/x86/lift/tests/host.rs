//! The host's processor, as the oracle.

use crate::x86::host::{self, Host};

use vm_ir::eval::flags;

/// Where the instruction stands.
pub(super) const CODE: u64 = 0x2000_1000;
pub(super) const AT: u16 = 0x100;
/// Where branches of tests lead.
pub(super) const TARGET: u64 = CODE + 0x180;
/// A read-only page, behind it a writable one, behind it nothing.
pub(super) const MEMORY: u64 = 0x1000_0000;
pub(super) const PAGE: u64 = 4096;
/// The base of GS.
pub(super) const GS_BASE: u64 = 0x1230;

const WIRE_BYTES: usize = 0x1d8;
/// DF in RFLAGS.
pub(super) const DIRECTION: u64 = 1 << 10;

/// A state, on its way to the program or back.
#[derive(Clone)]
pub(super) struct Wire(Vec<u8>);

impl host::Wire for Wire {
    const BYTES: usize = WIRE_BYTES;

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    fn code(&self) -> &[u8] {
        &self.0[Self::CODE..Self::CODE + self.word(Self::LEN) as usize]
    }
}

impl Wire {
    const FLAGS: usize = 16;
    const END: usize = 18;
    const VECTOR: usize = 19;
    const ADDRESS: usize = 20;
    const HASH: usize = 21;
    const LEN: usize = 22;
    const BITS: usize = 23;
    const CODE: usize = 24 * 8;
    const MEMORY: usize = Self::CODE + 24;

    /// For code of so many bits: 32 or 64.
    pub(super) fn new(code: &[u8], bits: u32) -> Self {
        let mut wire = Self(vec![0; WIRE_BYTES]);
        wire.0[Self::CODE..Self::CODE + code.len()].copy_from_slice(code);
        wire.set(Self::LEN, code.len() as u64);
        wire.set(Self::BITS, bits.into());
        wire
    }

    fn word(&self, n: usize) -> u64 {
        u64::from_le_bytes(self.0[8 * n..8 * n + 8].try_into().expect("eight bytes"))
    }

    fn set(&mut self, n: usize, value: u64) {
        self.0[8 * n..8 * n + 8].copy_from_slice(&value.to_le_bytes());
    }

    pub(super) fn gpr(&self, n: usize) -> u64 {
        self.word(n)
    }

    pub(super) fn set_gpr(&mut self, n: usize, value: u64) {
        self.set(n, value);
    }

    /// Leaves what 32-bit code has of the registers.
    pub(super) fn narrow(&mut self) {
        for n in 0..16 {
            let low = self.gpr(n) & 0xffff_ffff;
            self.set_gpr(n, if n < 8 { low } else { 0 });
        }
    }

    /// Arithmetic flags, and DF.
    pub(super) fn flags(&self) -> u64 {
        self.word(Self::FLAGS) & (flags::ALL | DIRECTION)
    }

    pub(super) fn set_flags(&mut self, value: u64) {
        self.set(Self::FLAGS, value & (flags::ALL | DIRECTION) | 0x202);
    }

    /// The ends of the writable page.
    pub(super) fn memory(&mut self) -> &mut [u8] {
        &mut self.0[Self::MEMORY..]
    }

    /// The whole writable page before the instruction.
    pub(super) fn page(&self) -> Vec<u8> {
        let mut page = pattern();
        page[..128].copy_from_slice(&self.0[Self::MEMORY..Self::MEMORY + 128]);
        page[PAGE as usize - 128..].copy_from_slice(&self.0[Self::MEMORY + 128..]);
        page
    }

    /// How the program says that the instruction ended.
    pub(super) fn end(&self) -> End {
        match self.word(Self::END) {
            0 => End::Behind,
            1 => End::Target,
            _ => End::Exception {
                vector: self.word(Self::VECTOR) as u8,
                address: (self.word(Self::VECTOR) == 14).then(|| self.word(Self::ADDRESS)),
            },
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.word(Self::HASH)
    }
}

/// How an instruction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// By what is behind it.
    Behind,
    /// By a branch to the target.
    Target,
    /// By an exception, of page faults with the address.
    Exception { vector: u8, address: Option<u64> },
}

/// What pages hold at first.
pub(super) fn pattern() -> Vec<u8> {
    (0..PAGE).map(|n| (n * 7) as u8).collect()
}

/// As the program sums the writable page up.
pub(super) fn hash(page: &[u8]) -> u64 {
    page.chunks_exact(8).fold(0, |sum: u64, word| {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        (sum ^ word).wrapping_mul(0x100_0000_01b3)
    })
}

/// The program, built; why not, if that cannot be.
pub(super) fn build() -> Result<Host, String> {
    Host::build(include_str!("host.c"))
}
