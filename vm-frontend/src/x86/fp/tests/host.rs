//! The host's processor, as the oracle.

use crate::x86::host::{self, Host};

/// Where the instruction stands.
pub(super) const CODE: u64 = 0x2000_1000;
pub(super) const AT: u16 = 0x100;
/// A read-only page, behind it a writable one, behind it nothing.
pub(super) const MEMORY: u64 = 0x1000_0000;
pub(super) const PAGE: u64 = 4096;
/// What XSAVE saves.
pub(super) const AREA_BYTES: usize = 832;

const WIRE_BYTES: usize = 0x1440;

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
    const LEN: usize = 21;
    const CODE: usize = 22 * 8;
    const MEMORY: usize = Self::CODE + 16;
    const AREA: usize = 0x1100;

    pub(super) fn new(code: &[u8]) -> Self {
        let mut wire = Self(vec![0; WIRE_BYTES]);
        wire.0[Self::CODE..Self::CODE + code.len()].copy_from_slice(code);
        wire.set(Self::LEN, code.len() as u64);
        wire
    }

    pub(super) fn word(&self, n: usize) -> u64 {
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

    pub(super) fn flags(&self) -> u64 {
        self.word(Self::FLAGS) & 0x8d5
    }

    pub(super) fn set_flags(&mut self, value: u64) {
        self.set(Self::FLAGS, value & 0x8d5 | 0x202);
    }

    /// The writable page.
    pub(super) fn page(&self) -> &[u8] {
        &self.0[Self::MEMORY..Self::MEMORY + PAGE as usize]
    }

    pub(super) fn page_mut(&mut self) -> &mut [u8] {
        &mut self.0[Self::MEMORY..Self::MEMORY + PAGE as usize]
    }

    /// Word `n` of what XSAVE saves.
    pub(super) fn area(&self, n: usize) -> u64 {
        self.word(Self::AREA / 8 + n)
    }

    pub(super) fn set_area(&mut self, n: usize, value: u64) {
        self.set(Self::AREA / 8 + n, value);
    }

    /// The vector of the exception that ended the instruction.
    pub(super) fn exception(&self) -> Option<u8> {
        (self.word(Self::END) != 0).then(|| self.word(Self::VECTOR) as u8)
    }
}

/// What the read-only page holds.
pub(super) fn pattern() -> Vec<u8> {
    (0..PAGE).map(|n| (n * 7) as u8).collect()
}

/// The program, built; why not, if that cannot be.
pub(super) fn build() -> Result<Host, String> {
    Host::build(include_str!("host.c"))
}
