//! What an operation carries besides its operands.

/// A comparison of two integers, for `cmp`, `select`, `exit_if`, `raise_if` and branches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less, signed.
    LtS,
    /// Greater or equal, signed.
    GeS,
    /// Less, unsigned.
    LtU,
    /// Greater or equal, unsigned.
    GeU,
}

impl Cond {
    /// Every condition, in order.
    pub const ALL: [Self; 6] = [
        Self::Eq,
        Self::Ne,
        Self::LtS,
        Self::GeS,
        Self::LtU,
        Self::GeU,
    ];

    /// The condition that holds exactly when this one does not.
    pub const fn inverse(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::LtS => Self::GeS,
            Self::GeS => Self::LtS,
            Self::LtU => Self::GeU,
            Self::GeU => Self::LtU,
        }
    }

    /// The name used in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::LtS => "lts",
            Self::GeS => "ges",
            Self::LtU => "ltu",
            Self::GeU => "geu",
        }
    }
}

/// A condition on a flag group. With `N` sign, `Z` zero, `C` carry, `V` overflow, `P` parity of the low byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FlagCond {
    /// Z.
    Z,
    /// Not Z.
    NotZ,
    /// C.
    C,
    /// Not C.
    NotC,
    /// N.
    N,
    /// Not N.
    NotN,
    /// V.
    V,
    /// Not V.
    NotV,
    /// P (x86).
    P,
    /// Not P (x86).
    NotP,
    /// C or Z (x86 `be`).
    COrZ,
    /// Neither C nor Z (x86 `a`).
    NotCNotZ,
    /// C and not Z (Arm `hi`).
    CNotZ,
    /// Not C, or Z (Arm `ls`).
    NotCOrZ,
    /// N differs from V (signed less).
    Lt,
    /// N equals V (signed greater or equal).
    Ge,
    /// Z, or N differs from V.
    Le,
    /// Not Z, and N equals V.
    Gt,
}

impl FlagCond {
    /// Every condition, in order.
    pub const ALL: [Self; 18] = [
        Self::Z,
        Self::NotZ,
        Self::C,
        Self::NotC,
        Self::N,
        Self::NotN,
        Self::V,
        Self::NotV,
        Self::P,
        Self::NotP,
        Self::COrZ,
        Self::NotCNotZ,
        Self::CNotZ,
        Self::NotCOrZ,
        Self::Lt,
        Self::Ge,
        Self::Le,
        Self::Gt,
    ];

    /// The condition that holds exactly when this one does not.
    pub const fn inverse(self) -> Self {
        match self {
            Self::Z => Self::NotZ,
            Self::NotZ => Self::Z,
            Self::C => Self::NotC,
            Self::NotC => Self::C,
            Self::N => Self::NotN,
            Self::NotN => Self::N,
            Self::V => Self::NotV,
            Self::NotV => Self::V,
            Self::P => Self::NotP,
            Self::NotP => Self::P,
            Self::COrZ => Self::NotCNotZ,
            Self::NotCNotZ => Self::COrZ,
            Self::CNotZ => Self::NotCOrZ,
            Self::NotCOrZ => Self::CNotZ,
            Self::Lt => Self::Ge,
            Self::Ge => Self::Lt,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
        }
    }

    /// The name used in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Z => "z",
            Self::NotZ => "nz",
            Self::C => "c",
            Self::NotC => "nc",
            Self::N => "n",
            Self::NotN => "nn",
            Self::V => "v",
            Self::NotV => "nv",
            Self::P => "p",
            Self::NotP => "np",
            Self::COrZ => "c_or_z",
            Self::NotCNotZ => "nc_and_nz",
            Self::CNotZ => "c_and_nz",
            Self::NotCOrZ => "nc_or_z",
            Self::Lt => "lt",
            Self::Ge => "ge",
            Self::Le => "le",
            Self::Gt => "gt",
        }
    }
}

/// How the flags of a group follow from what `setflags` gets: `a`, `b` and `c`, and the old group. `r` is the result of
/// the operation that sets them.
///
/// C after a subtraction is the borrow, but for [`Self::SubNotBorrow`]. Each kind works in the width of the `setflags` type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FlagKind {
    /// Flags given as bits in `a`: bit 0 C, 2 P, 4 A, 6 Z, 7 N, 11 V.
    Bits,
    /// `r = a + b`.
    Add,
    /// `r = a + b + c`; `c` is 0 or 1.
    AddCarry,
    /// `r = a - b`.
    Sub,
    /// `r = a - b - c`; `c` is 0 or 1.
    SubBorrow,
    /// Logic with result `r`: C, V, A clear.
    Logic,
    /// `r = a + 1`, C kept from the old group.
    Inc,
    /// `r = a - 1`, C kept from the old group.
    Dec,
    /// `r = a << b`, `b` modulo 64 for `i64` and modulo 32 for others; zero keeps the old group whole. The flags are those
    /// of the last step by one place, A is clear.
    Shl,
    /// The same of `r = a >> b`, unsigned.
    Shr,
    /// The same of `r = a >> b`, signed.
    Sar,
    /// `r = 0 - a`.
    Neg,
    /// Multiplication: C and V set when `b` is not zero (the lifter computes `b` as "high part matters").
    Mul,
    /// `r = a - b`; C says that there was no borrow.
    SubNotBorrow,
    /// C is bit 0 of `a`; the other flags are kept from the old group.
    Carry,
    /// C is bit 0 of `a`, V bit 0 of `b`; the other flags are kept from the old group.
    CarryOverflow,
    /// Z says that `a` is zero; the other flags are kept from the old group.
    Zero,
}

impl FlagKind {
    /// Every kind, in order.
    pub const ALL: [Self; 17] = [
        Self::Bits,
        Self::Add,
        Self::AddCarry,
        Self::Sub,
        Self::SubBorrow,
        Self::Logic,
        Self::Inc,
        Self::Dec,
        Self::Shl,
        Self::Shr,
        Self::Sar,
        Self::Neg,
        Self::Mul,
        Self::SubNotBorrow,
        Self::Carry,
        Self::CarryOverflow,
        Self::Zero,
    ];

    /// The name used in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bits => "bits",
            Self::Add => "add",
            Self::AddCarry => "add_carry",
            Self::Sub => "sub",
            Self::SubBorrow => "sub_borrow",
            Self::Logic => "logic",
            Self::Inc => "inc",
            Self::Dec => "dec",
            Self::Shl => "shl",
            Self::Shr => "shr",
            Self::Sar => "sar",
            Self::Neg => "neg",
            Self::Mul => "mul",
            Self::SubNotBorrow => "sub_not_borrow",
            Self::Carry => "carry",
            Self::CarryOverflow => "carry_overflow",
            Self::Zero => "zero",
        }
    }

    /// Whether the new group depends on the old one.
    pub const fn reads_old(self) -> bool {
        matches!(
            self,
            Self::Inc
                | Self::Dec
                | Self::Shl
                | Self::Shr
                | Self::Sar
                | Self::Carry
                | Self::CarryOverflow
                | Self::Zero
        )
    }
}

/// Memory order of one access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum MemOrder {
    /// Single-copy atomic when aligned, no order among accesses.
    #[default]
    Relaxed,
    /// Later accesses stay after it.
    Acquire,
    /// Earlier accesses stay before it.
    Release,
    /// Both.
    AcqRel,
    /// Both, and one total order among all such accesses.
    SeqCst,
}

/// Byte order of one access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Endian {
    /// Least significant byte first.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

/// How an operation reaches memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MemAttr {
    /// Base-2 logarithm of the bytes accessed: 0 to 4.
    pub size_log2: u8,
    /// Whether a narrower value is sign-extended to the operation's type.
    pub signed: bool,
    /// Byte order.
    pub endian: Endian,
    /// Memory order.
    pub order: MemOrder,
    /// Left shift of the index operand: 0 to 3.
    pub index_shift: u8,
    /// Whether a misaligned address faults instead of being split up.
    pub must_align: bool,
}

impl MemAttr {
    /// A plain little-endian access of `1 << size_log2` bytes, zero-extended.
    pub const fn plain(size_log2: u8) -> Self {
        Self {
            size_log2,
            signed: false,
            endian: Endian::Little,
            order: MemOrder::Relaxed,
            index_shift: 0,
            must_align: false,
        }
    }

    /// The same with sign extension.
    pub const fn signed(self) -> Self {
        Self {
            signed: true,
            ..self
        }
    }

    /// The same with another memory order.
    pub const fn ordered(self, order: MemOrder) -> Self {
        Self { order, ..self }
    }

    /// The same, faulting when misaligned.
    pub const fn aligned(self) -> Self {
        Self {
            must_align: true,
            ..self
        }
    }

    /// Bytes accessed.
    pub const fn bytes(self) -> u64 {
        1 << self.size_log2
    }
}

/// Rounding of a floating-point operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Rounding {
    /// To nearest, ties to even.
    NearestEven,
    /// Towards zero.
    Zero,
    /// Towards minus infinity.
    Down,
    /// Towards plus infinity.
    Up,
    /// To nearest, ties away from zero.
    NearestAway,
    /// As the guest's floating-point control register says when the operation runs.
    Dynamic,
}

impl Rounding {
    /// Every rounding, in order.
    pub const ALL: [Self; 6] = [
        Self::NearestEven,
        Self::Zero,
        Self::Down,
        Self::Up,
        Self::NearestAway,
        Self::Dynamic,
    ];

    /// The name used in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NearestEven => "rne",
            Self::Zero => "rtz",
            Self::Down => "rdn",
            Self::Up => "rup",
            Self::NearestAway => "rmm",
            Self::Dynamic => "dyn",
        }
    }
}

/// How minimum and maximum treat NaNs and zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum MinMaxRule {
    /// IEEE 754-2019 minimumNumber: a number beats a NaN, -0 is below +0 (RISC-V `fmin`, Arm `fminnm` of quiet
    /// NaNs).
    Number,
    /// IEEE 754-2019 minimum: a NaN wins, -0 is below +0 (RISC-V `fminm`, Arm `fmin`).
    Propagate,
    /// The second operand whenever either is a NaN or both are zero (x86 `minss`).
    Second,
}

/// What a conversion to integer gives when the value does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FpToIntRule {
    /// The nearest bound; NaN gives the largest (RISC-V).
    SaturateNanMax,
    /// The nearest bound; NaN gives zero (Arm).
    SaturateNanZero,
    /// The most negative number (x86 "integer indefinite").
    Indefinite,
    /// The value modulo 2^32 (RISC-V `fcvtmod.w.d`); NaN and infinities give zero.
    Modulo,
}

/// Number of a helper in the ISA's [`crate::StateLayout::helpers`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HelperId(pub u16);

/// Number of an operation in the ISA's [`crate::StateLayout::vectors`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VectorId(pub u16);

/// Which accesses a fence keeps in order: predecessors before it, successors after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FenceSet {
    /// Earlier loads.
    pub before_loads: bool,
    /// Earlier stores.
    pub before_stores: bool,
    /// Later loads.
    pub after_loads: bool,
    /// Later stores.
    pub after_stores: bool,
}

impl FenceSet {
    /// Every access before stays before every access after.
    pub const FULL: Self = Self {
        before_loads: true,
        before_stores: true,
        after_loads: true,
        after_stores: true,
    };
}

/// The attribute of an operation; its class is fixed by the operation table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Attr {
    /// Nothing.
    None,
    /// Memory access.
    Mem(MemAttr),
    /// Rounding of arithmetic.
    Fp(Rounding),
    /// Conversion between number types: the source's type, the rounding, and for results that are integers
    /// what to do when they do not fit. `signed` is of the integer side.
    Convert {
        /// Type converted from.
        from: Type,
        /// Rounding.
        rounding: Rounding,
        /// Whether the integer side is signed.
        signed: bool,
        /// Out-of-range results.
        rule: FpToIntRule,
    },
    /// Rounding to an integral value; `exact` raises Inexact when the value changes.
    Integral {
        /// Rounding.
        rounding: Rounding,
        /// Whether Inexact is raised.
        exact: bool,
    },
    /// Minimum and maximum.
    MinMax(MinMaxRule),
    /// Integer comparison.
    Cond(Cond),
    /// Condition on a flag group.
    FlagCond(FlagCond),
    /// Kind of a flag group.
    FlagKind(FlagKind),
    /// Helper called.
    Helper(HelperId),
    /// Vector operation of the guest's own.
    Vector {
        /// Which.
        row: VectorId,
        /// The constant that its function gets.
        imm: u8,
    },
    /// Vector lanes: the lane's type, and a lane number or shift count where the operation has one.
    Lane {
        /// Type of a lane.
        ty: Type,
        /// Lane number, shift count or zero.
        index: u8,
    },
    /// A field of an integer.
    Field {
        /// Lowest bit.
        pos: u8,
        /// Length in bits.
        len: u8,
        /// Whether an extracted field is sign-extended.
        signed: bool,
    },
    /// Fence.
    Fence(FenceSet),
    /// Start of a guest instruction, or (length zero) a restart point inside one: should an operation behind it fault,
    /// what stands before it has been done and the instruction, started again, goes on from there (x86 `rep`,
    /// RISC-V `vstart`).
    Insn {
        /// Bytes from the start of the block's page.
        offset: u16,
        /// Length in bytes; zero for a restart point.
        len: u8,
    },
}

use crate::slot::Type;
