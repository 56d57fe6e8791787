//! Fields of the control and status registers, and the numbers of privileges, exceptions and interrupts.

/// A field of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    shift: u32,
    bits: u32,
}

impl Field {
    /// The field of `bits` bits from bit `shift` up.
    pub const fn new(shift: u32, bits: u32) -> Self {
        Self { shift, bits }
    }

    /// The bits of the register that the field takes.
    pub const fn mask(self) -> u64 {
        (u64::MAX >> (64 - self.bits)) << self.shift
    }

    /// The field's value in `register`.
    pub const fn get(self, register: u64) -> u64 {
        (register & self.mask()) >> self.shift
    }

    /// `register` with the field set to `value`.
    #[must_use]
    pub const fn with(self, register: u64, value: u64) -> u64 {
        register & !self.mask() | value << self.shift & self.mask()
    }

    /// Whether any bit of the field is set.
    pub const fn is_set(self, register: u64) -> bool {
        register & self.mask() != 0
    }
}

/// Privilege levels (RISC-V Priv 1.13, 1.2).
pub mod privilege {
    /// User.
    pub const U: u64 = 0;
    /// Supervisor.
    pub const S: u64 = 1;
    /// Machine.
    pub const M: u64 = 3;
}

/// Fields of `mstatus` and `sstatus` (RISC-V Priv 1.13, 3.1.6).
pub mod mstatus {
    use super::Field;

    /// Interrupts are on in S-mode.
    pub const SIE: Field = Field::new(1, 1);
    /// Interrupts are on in M-mode.
    pub const MIE: Field = Field::new(3, 1);
    /// SIE before the trap.
    pub const SPIE: Field = Field::new(5, 1);
    /// MIE before the trap.
    pub const MPIE: Field = Field::new(7, 1);
    /// Privilege before the trap into S-mode.
    pub const SPP: Field = Field::new(8, 1);
    /// Privilege before the trap into M-mode.
    pub const MPP: Field = Field::new(11, 2);
    /// Floating-point state: 0 off, 1 initial, 2 clean, 3 dirty.
    pub const FS: Field = Field::new(13, 2);
    /// Loads and stores use the privilege in MPP.
    pub const MPRV: Field = Field::new(17, 1);
    /// S-mode may access pages of U-mode.
    pub const SUM: Field = Field::new(18, 1);
    /// Executable pages are readable.
    pub const MXR: Field = Field::new(19, 1);
    /// Traps S-mode's use of `satp` and `sfence.vma`.
    pub const TVM: Field = Field::new(20, 1);
    /// Traps `wfi` below M-mode.
    pub const TW: Field = Field::new(21, 1);
    /// Traps `sret` in S-mode.
    pub const TSR: Field = Field::new(22, 1);
    /// S-mode can take no trap (Ssdbltrp).
    pub const SDT: Field = Field::new(24, 1);
    /// Register width in U-mode; always 64.
    pub const UXL: Field = Field::new(32, 2);
    /// Register width in S-mode; always 64.
    pub const SXL: Field = Field::new(34, 2);
    /// M-mode can take no trap (Smdbltrp).
    pub const MDT: Field = Field::new(42, 1);
    /// FS is dirty.
    pub const SD: Field = Field::new(63, 1);
}

/// Fields of `satp` (RISC-V Priv 1.13, 12.1.11).
pub mod satp {
    use super::Field;

    /// Page number of the root table.
    pub const PPN: Field = Field::new(0, 44);
    /// Address-space identifier.
    pub const ASID: Field = Field::new(44, 16);
    /// Translation mode.
    pub const MODE: Field = Field::new(60, 4);
}

/// Fields of `menvcfg` and `senvcfg` (RISC-V Priv 1.13, 3.1.18 and 12.1.10).
pub mod envcfg {
    use super::Field;

    /// Fences of I/O order memory too.
    pub const FIOM: Field = Field::new(0, 1);
    /// `cbo.inval`: 0 traps, 1 flushes, 3 invalidates.
    pub const CBIE: Field = Field::new(4, 2);
    /// `cbo.clean` and `cbo.flush` are legal.
    pub const CBCFE: Field = Field::new(6, 1);
    /// `cbo.zero` is legal.
    pub const CBZE: Field = Field::new(7, 1);
    /// `sstatus.SDT` is on (`menvcfg`).
    pub const DTE: Field = Field::new(59, 1);
    /// Hardware sets A and D bits (`menvcfg`).
    pub const ADUE: Field = Field::new(61, 1);
    /// Page-based memory types are on (`menvcfg`).
    pub const PBMTE: Field = Field::new(62, 1);
    /// `stimecmp` is on (`menvcfg`).
    pub const STCE: Field = Field::new(63, 1);
}

/// Fields of `mstateen0` to `mstateen3` (RISC-V Priv 1.13, chapter "Smstateen").
pub mod stateen {
    use super::Field;

    /// Lower privileges may use `senvcfg` (`mstateen0`).
    pub const ENVCFG: Field = Field::new(62, 1);
    /// Lower privileges may use the `sstateen` of the same number.
    pub const SE: Field = Field::new(63, 1);
}

/// Exception numbers (RISC-V Priv 1.13, table 3.6).
pub mod cause {
    /// Instruction address misaligned.
    pub const FETCH_MISALIGNED: u32 = 0;
    /// Instruction access fault.
    pub const FETCH_ACCESS: u32 = 1;
    /// Illegal instruction.
    pub const ILLEGAL: u32 = 2;
    /// Breakpoint.
    pub const BREAKPOINT: u32 = 3;
    /// Load address misaligned.
    pub const LOAD_MISALIGNED: u32 = 4;
    /// Load access fault.
    pub const LOAD_ACCESS: u32 = 5;
    /// Store or AMO address misaligned.
    pub const STORE_MISALIGNED: u32 = 6;
    /// Store or AMO access fault.
    pub const STORE_ACCESS: u32 = 7;
    /// `ecall` from U-mode; that from S and M follow at 9 and 11.
    pub const ECALL_FROM_U: u32 = 8;
    /// `ecall` from S-mode.
    pub const ECALL_FROM_S: u32 = 9;
    /// `ecall` from M-mode.
    pub const ECALL_FROM_M: u32 = 11;
    /// Instruction page fault.
    pub const FETCH_PAGE: u32 = 12;
    /// Load page fault.
    pub const LOAD_PAGE: u32 = 13;
    /// Store or AMO page fault.
    pub const STORE_PAGE: u32 = 15;
    /// Double trap: S-mode could not take a trap.
    pub const DOUBLE_TRAP: u32 = 16;
    /// Set in `mcause` and `scause` for interrupts.
    pub const INTERRUPT: u64 = 1 << 63;
}

/// Interrupt lines, numbered as in `mip` (RISC-V Priv 1.13, 3.1.9).
pub mod irq {
    /// Supervisor software interrupt.
    pub const SSI: u32 = 1;
    /// Machine software interrupt.
    pub const MSI: u32 = 3;
    /// Supervisor timer interrupt.
    pub const STI: u32 = 5;
    /// Machine timer interrupt.
    pub const MTI: u32 = 7;
    /// Supervisor external interrupt.
    pub const SEI: u32 = 9;
    /// Machine external interrupt.
    pub const MEI: u32 = 11;

    /// The bit of a line.
    pub const fn bit(line: u32) -> u64 {
        1 << line
    }

    /// The lines of S-mode.
    pub const SUPERVISOR: u64 = bit(SSI) | bit(STI) | bit(SEI);
    /// Every line.
    pub const ALL: u64 = SUPERVISOR | bit(MSI) | bit(MTI) | bit(MEI);
}
