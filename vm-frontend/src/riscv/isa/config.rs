//! What one hart offers, and how firmware, kernel and device tree are told about it.

use std::fmt;

use super::{Extension, Extensions};

/// The largest page-table format that `satp` accepts (RISC-V Priv 1.13, 12.1.11). Smaller ones are accepted too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SatpMode {
    /// No translation.
    Bare,
    /// Three levels, 39-bit virtual addresses.
    Sv39,
    /// Four levels, 48-bit virtual addresses.
    Sv48,
    /// Five levels, 57-bit virtual addresses.
    Sv57,
}

impl SatpMode {
    /// Every mode, smallest first.
    pub const ALL: &'static [Self] = &[Self::Bare, Self::Sv39, Self::Sv48, Self::Sv57];

    /// The name as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Sv39 => "sv39",
            Self::Sv48 => "sv48",
            Self::Sv57 => "sv57",
        }
    }

    /// The value of the `satp.MODE` field (RISC-V Priv 1.13, table 12.2).
    pub const fn field(self) -> u64 {
        match self {
            Self::Bare => 0,
            Self::Sv39 => 8,
            Self::Sv48 => 9,
            Self::Sv57 => 10,
        }
    }

    /// The value of a hart's `mmu-type` property in the device tree.
    pub const fn mmu_type(self) -> &'static str {
        match self {
            Self::Bare => "riscv,none",
            Self::Sv39 => "riscv,sv39",
            Self::Sv48 => "riscv,sv48",
            Self::Sv57 => "riscv,sv57",
        }
    }
}

impl fmt::Display for SatpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who sets a page-table entry's A and D bits (RISC-V Priv 1.13, 12.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AdUpdate {
    /// Svade: the access faults and software sets them.
    Software,
    /// Svadu: hardware sets them when `menvcfg.ADUE` allows it.
    Hardware,
}

/// Everything about a hart that a user can choose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsaConfig {
    /// The extensions, closed under implication; exactly one of Svade and Svadu.
    pub extensions: Extensions,
    /// The largest translation mode.
    pub satp: SatpMode,
    /// Physical memory protection entries: 0, 16 or 64 (RISC-V Priv 1.13, 3.7.1).
    pub pmp_entries: u8,
}

impl IsaConfig {
    /// Bytes in a cache block, for Zicbom, Zicbop and Zicboz.
    pub const CACHE_BLOCK_BYTES: u32 = 64;

    /// Whether the hart has `ext`.
    pub const fn has(&self, ext: Extension) -> bool {
        self.extensions.has(ext)
    }

    /// Who sets A and D bits.
    pub const fn ad_update(&self) -> AdUpdate {
        if self.has(Extension::Svadu) {
            AdUpdate::Hardware
        } else {
            AdUpdate::Software
        }
    }

    /// Chooses who sets A and D bits.
    pub fn set_ad_update(&mut self, who: AdUpdate) {
        let (on, off) = match who {
            AdUpdate::Software => (Extension::Svade, Extension::Svadu),
            AdUpdate::Hardware => (Extension::Svadu, Extension::Svade),
        };
        self.extensions = self.extensions.without(off).with(on);
    }

    /// The `riscv,isa` property: `rv64imafdc_zicbom_...`.
    pub fn isa_string(&self) -> String {
        let mut text = String::from("rv64");
        for ext in self.extensions.iter() {
            if !ext.is_single_letter() {
                text.push('_');
            }
            text.push_str(ext.name());
        }
        text
    }

    /// The `riscv,isa-base` property, which goes with [`Self::isa_extensions`].
    pub const fn isa_base(&self) -> &'static str {
        "rv64i"
    }

    /// The `riscv,isa-extensions` property, one string an extension.
    pub fn isa_extensions(&self) -> Vec<&'static str> {
        self.extensions.iter().map(Extension::name).collect()
    }

    /// The value of `misa` (RISC-V Priv 1.13, 3.1.1): MXL 64, the single letters, S and U; B when Zba, Zbb and Zbs
    /// are all there.
    pub fn misa(&self) -> u64 {
        const MXL_64: u64 = 2 << 62;
        let letter = |name: u8| 1u64 << (name - b'a');
        let singles = self.extensions.iter().filter(|ext| ext.is_single_letter());
        let mut misa = MXL_64 | letter(b's') | letter(b'u');
        for ext in singles {
            misa |= letter(ext.name().as_bytes()[0]);
        }
        let b = Extensions::of(&[Extension::Zba, Extension::Zbb, Extension::Zbs]);
        if self.extensions.contains(b) {
            misa |= letter(b'b');
        }
        misa
    }
}
