//! The operation table: the one list of everything a block can do.
//!
//! It lists operations by family. [`Op`] numbers them, for the text form and for generic passes; [`Family`] sorts them,
//! for the three that give them meaning: the definition in [`crate::eval`], the interpreter and the translators.

/// What an operand or result may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// No result.
    None,
    /// An integer up to 64 bits: a slot at least as wide as the type, or a constant.
    Int,
    /// A floating-point value: a slot of type `f32`, `f64` or `v128` (low lane).
    Fp,
    /// A 128-bit vector slot.
    Vec,
    /// A 128-bit integer slot.
    Wide,
    /// A flag group slot.
    Flags,
    /// A slot of any type, or a constant; flag groups can only be moved.
    Any,
    /// An integer or nothing.
    OptInt,
    /// A 128-bit vector or nothing.
    OptVec,
    /// A flag group or nothing.
    OptFlags,
    /// A constant.
    Imm,
}

/// Which [`crate::Attr`] an operation carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrClass {
    /// None.
    None,
    /// `Mem`.
    Mem,
    /// `Fp`.
    Fp,
    /// `Convert`.
    Convert,
    /// `Integral`.
    Integral,
    /// `MinMax`.
    MinMax,
    /// `Cond`.
    Cond,
    /// `FlagCond`.
    FlagCond,
    /// `FlagKind`.
    FlagKind,
    /// `Helper`.
    Helper,
    /// `Vector`.
    Vector,
    /// `Lane`.
    Lane,
    /// `Field`.
    Field,
    /// `Fence`.
    Fence,
    /// `Insn`.
    Insn,
}

/// What an operation does besides computing its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effects(u8);

impl Effects {
    /// Nothing: it may be dropped when its result is not used.
    pub const NONE: Self = Self(0);
    /// It reads guest memory.
    pub const READS_MEMORY: Self = Self(1);
    /// It writes guest memory or orders accesses.
    pub const WRITES_MEMORY: Self = Self(2);
    /// It may raise a guest fault, leaving the guest instruction undone.
    pub const MAY_FAULT: Self = Self(4);
    /// It accrues floating-point exception flags, and rounds as the control register says when dynamic.
    pub const ACCRUES: Self = Self(8);
    /// It reads guest-state slots other than its operands.
    pub const READS_STATE: Self = Self(16);
    /// It writes guest-state slots other than its result.
    pub const WRITES_STATE: Self = Self(32);
    /// It may leave the block.
    pub const MAY_EXIT: Self = Self(64);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has all effects of `other`.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    /// The operation.
    pub op: Op,
    /// Name in the text form.
    pub name: &'static str,
    /// What the result is.
    pub result: Class,
    /// What the operands are.
    pub args: &'static [Class],
    /// What it carries.
    pub attr: AttrClass,
    /// What else it does. A helper call's effects are those of its declaration on top.
    pub effects: Effects,
}

macro_rules! ops {
    ($($(#[$about:meta])* $family:ident {
        $($(#[$doc:meta])* $name:ident $text:literal $result:ident [$($arg:ident)*] $attr:ident $($effect:ident)+;)*
    })*) => {
        /// An operation. The first column of the operation table.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Op { $($($(#[$doc])* $name,)*)* }

        /// The operations of each family, an enum a family.
        pub mod family {
            $($(#[$about])*
            #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
            #[repr(u8)]
            pub enum $family { $($(#[$doc])* $name,)* })*
        }

        /// An operation as a member of its family. Whoever evaluates, predecodes or translates operations takes each
        /// family apart without a catch-all, so that an operation without an answer there does not compile.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Family { $($(#[$about])* $family(family::$family),)* }

        impl Op {
            /// The table, in the order of the enum.
            pub const TABLE: &'static [OpInfo] = &[$($(OpInfo {
                op: Op::$name,
                name: $text,
                result: Class::$result,
                args: &[$(Class::$arg),*],
                attr: AttrClass::$attr,
                effects: Effects::NONE$(.and(Effects::$effect))+,
            },)*)*];

            /// The family, and which of its members this is.
            #[inline]
            pub const fn family(self) -> Family {
                match self { $($(Op::$name => Family::$family(family::$family::$name),)*)* }
            }
        }
    };
}

impl Op {
    /// The row of this operation.
    pub const fn info(self) -> &'static OpInfo {
        &Self::TABLE[self as usize]
    }

    /// Whether the index of its lane attribute means something: a lane number or a shift count.
    pub const fn uses_lane_index(self) -> bool {
        matches!(
            self,
            Self::VecShl | Self::VecShr | Self::VecSar | Self::VecExtract | Self::VecInsert
        )
    }

    /// The operation of this name in the text form.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.op)
    }
}

ops! {
    /// Marks, orders accesses, leaves the block, or calls; computes nothing by itself.
    Control {
        /// A guest instruction starts here; everything up to the next marker is that instruction. With length zero, a
        /// restart point inside it.
        Insn "insn" None [] Insn NONE;
        /// Keeps accesses in order.
        Fence "fence" None [] Fence WRITES_MEMORY;
        /// Leaves the block for page base + constant when the comparison holds: `exit_if.COND a, b, offset`.
        /// Ends its guest instruction.
        ExitIf "exit_if" None [Int Int Imm] Cond MAY_EXIT;
        /// Raises exception number `code` (third) with the value (fourth) when the comparison holds.
        RaiseIf "raise_if" None [Int Int Imm Int] Cond MAY_FAULT;
        /// Calls a helper with up to three integers; effects as declared.
        Call "call" Int [OptInt OptInt OptInt] Helper NONE;
    }
    /// Makes a value of its operand as it stands, or of where the block is.
    Move {
        /// The operand. Between types of equal size it moves the bits; from a wider slot, the low bits.
        Mov "mov" Any [Any] None NONE;
        /// Virtual address of the block's page plus the constant.
        PcRel "pc_rel" Int [Imm] None NONE;
    }
    /// Compares two integers, and gives the outcome or one of two others.
    Choose {
        /// 1 when the comparison holds, else 0.
        Cmp "cmp" Int [Int Int] Cond NONE;
        /// First operand when the comparison of the last two holds, else the second: `select.COND r, x, y, a, b`.
        Select "select" Int [Int Int Int Int] Cond NONE;
    }
    /// Computes an integer from one.
    Unary {
        /// Bitwise not.
        Not "not" Int [Int] None NONE;
        /// Two's complement.
        Neg "neg" Int [Int] None NONE;
        /// Leading zeros; of zero the type's bits.
        Clz "clz" Int [Int] None NONE;
        /// Trailing zeros; of zero the type's bits.
        Ctz "ctz" Int [Int] None NONE;
        /// Bits set.
        Popcnt "popcnt" Int [Int] None NONE;
        /// Bytes in reverse order.
        ByteSwap "bswap" Int [Int] None NONE;
        /// Each byte 0xff when it is not zero.
        OrCombine "orcb" Int [Int] None NONE;
        /// Bits of each byte in reverse order.
        ReverseBits "brevb" Int [Int] None NONE;
    }
    /// Computes an integer from two.
    Binary {
        /// Sum.
        Add "add" Int [Int Int] None NONE;
        /// Difference.
        Sub "sub" Int [Int Int] None NONE;
        /// Bitwise and.
        And "and" Int [Int Int] None NONE;
        /// Bitwise or.
        Or "or" Int [Int Int] None NONE;
        /// Bitwise exclusive or.
        Xor "xor" Int [Int Int] None NONE;
        /// First and not second.
        AndNot "andn" Int [Int Int] None NONE;
        /// First or not second.
        OrNot "orn" Int [Int Int] None NONE;
        /// Not (first exclusive-or second).
        Xnor "xnor" Int [Int Int] None NONE;
        /// Left shift; the count is taken modulo the type's bits.
        Shl "shl" Int [Int Int] None NONE;
        /// Unsigned right shift; count modulo the type's bits.
        Shr "shr" Int [Int Int] None NONE;
        /// Signed right shift; count modulo the type's bits.
        Sar "sar" Int [Int Int] None NONE;
        /// Left rotation; count modulo the type's bits.
        Rol "rol" Int [Int Int] None NONE;
        /// Right rotation; count modulo the type's bits.
        Ror "ror" Int [Int Int] None NONE;
        /// Low part of the product.
        Mul "mul" Int [Int Int] None NONE;
        /// High part of the signed product.
        MulHS "mulhs" Int [Int Int] None NONE;
        /// High part of the unsigned product.
        MulHU "mulhu" Int [Int Int] None NONE;
        /// High part of signed first times unsigned second.
        MulHSU "mulhsu" Int [Int Int] None NONE;
        /// Signed quotient; by zero all ones, most negative by -1 most negative.
        DivS "divs" Int [Int Int] None NONE;
        /// Unsigned quotient; by zero all ones.
        DivU "divu" Int [Int Int] None NONE;
        /// Signed remainder; by zero the first operand, most negative by -1 zero.
        RemS "rems" Int [Int Int] None NONE;
        /// Unsigned remainder; by zero the first operand.
        RemU "remu" Int [Int Int] None NONE;
        /// Signed minimum.
        MinS "mins" Int [Int Int] None NONE;
        /// Unsigned minimum.
        MinU "minu" Int [Int Int] None NONE;
        /// Signed maximum.
        MaxS "maxs" Int [Int Int] None NONE;
        /// Unsigned maximum.
        MaxU "maxu" Int [Int Int] None NONE;
        /// Carry-less product, low part.
        ClMul "clmul" Int [Int Int] None NONE;
        /// Carry-less product, high part.
        ClMulH "clmulh" Int [Int Int] None NONE;
        /// Carry-less product, bits 2n-2 to n-1 (reversed).
        ClMulR "clmulr" Int [Int Int] None NONE;
        /// First with bit (second modulo bits) set.
        BitSet "bset" Int [Int Int] None NONE;
        /// First with bit (second modulo bits) clear.
        BitClear "bclr" Int [Int Int] None NONE;
        /// First with bit (second modulo bits) inverted.
        BitInvert "binv" Int [Int Int] None NONE;
        /// Bit (second modulo bits) of the first.
        BitExtract "bext" Int [Int Int] None NONE;
        /// Byte i is the first's byte number (second's byte i), or zero beyond the type.
        PermuteBytes "permb" Int [Int Int] None NONE;
        /// Half-byte i is the first's half-byte number (second's half-byte i), or zero beyond the type.
        PermuteNibbles "permn" Int [Int Int] None NONE;
        /// The low bits of the first, in order, where the second has ones; zeros elsewhere (x86 `pdep`).
        ScatterBits "pdep" Int [Int Int] None NONE;
        /// The bits of the first where the second has ones, in order, at the bottom (x86 `pext`).
        GatherBits "pext" Int [Int Int] None NONE;
    }
    /// Computes an integer from three.
    Ternary {
        /// `(first << constant) + second`.
        AddShl "addshl" Int [Int Int Imm] None NONE;
        /// `(zero-extended low 32 bits of first << constant) + second`.
        AddShlU32 "addshl_u32" Int [Int Int Imm] None NONE;
        /// Sum of the first two and of the third's lowest bit.
        AddCarry "addc" Int [Int Int Int] None NONE;
        /// First minus second minus the third's lowest bit.
        SubBorrow "subb" Int [Int Int Int] None NONE;
        /// `second:first` shifted right by the third (modulo bits), low part (Arm `extr`, x86 `shrd`).
        FunnelShr "funnel_shr" Int [Int Int Int] None NONE;
        /// First rotated left with the carry (third, 0 or 1) above its top bit; the count (second) is taken modulo the
        /// type's bits and one (x86 `rcl`).
        RolCarry "rolc" Int [Int Int Int] None NONE;
        /// The same to the right (x86 `rcr`).
        RorCarry "rorc" Int [Int Int Int] None NONE;
        /// Unsigned quotient of `second:first` by the third, low part; by zero all ones. Where the second is below the
        /// third, all of it.
        DivUWide "divu_wide" Int [Int Int Int] None NONE;
        /// Remainder of that; by zero the first operand.
        RemUWide "remu_wide" Int [Int Int Int] None NONE;
        /// Signed quotient of `second:first` by the third, low part; by zero all ones.
        DivSWide "divs_wide" Int [Int Int Int] None NONE;
        /// Remainder of that; by zero the first operand.
        RemSWide "rems_wide" Int [Int Int Int] None NONE;
        /// 1 when that quotient is no number of the type or the third is zero, else 0.
        DivSOverflows "divs_overflows" Int [Int Int Int] None NONE;
        /// CRC-32C of as many low bytes of the second as the constant says, 1 to 8, from the low 32 bits of the first on
        /// (x86 `crc32`: reflected, polynomial 0x1edc6f41, nothing inverted).
        Crc32c "crc32c" Int [Int Int Imm] None NONE;
    }
    /// Takes a field out of an integer, or puts one in.
    Field {
        /// A field of the operand, zero- or sign-extended.
        Extract "extract" Int [Int] Field NONE;
        /// First with the field replaced by the low bits of the second.
        Deposit "deposit" Int [Int Int] Field NONE;
    }
    /// Goes between 128-bit integers and their halves.
    Wide {
        /// Low and high half to a 128-bit integer; the type is the result's.
        Pair "pair" Wide [Int Int] None NONE;
        /// Low half.
        Low "low" Int [Wide] None NONE;
        /// High half.
        High "high" Int [Wide] None NONE;
    }
    /// Sets or reads a flag group, whose flags are worked out when they are read.
    Flags {
        /// Sets a flag group from `a`, `b`, `c` and, for kinds that keep some, the old group.
        SetFlags "setflags" Flags [Int Int Int OptFlags] FlagKind NONE;
        /// 1 when the condition holds on the group, else 0.
        GetFlag "getflag" Int [Flags] FlagCond NONE;
        /// All flags of the group as bits, places of [`crate::FlagKind::Bits`].
        FlagBits "flagbits" Int [Flags] None NONE;
    }
    /// Accesses memory at base + (index << shift) + constant.
    Access {
        /// Load: `load r, base, index, displacement`.
        Load "load" Any [Int OptInt Imm] Mem READS_MEMORY MAY_FAULT;
        /// Store: `store base, index, displacement, value`.
        Store "store" None [Int OptInt Imm Any] Mem WRITES_MEMORY MAY_FAULT;
        /// Faults as the store of this size at this address would, and does nothing else.
        ProbeWrite "probe_write" None [Int OptInt Imm] Mem MAY_FAULT;
    }
    /// Accesses memory by reservation.
    Reserve {
        /// Load that starts a reservation: `load_reserved r, address`.
        LoadReserved "load_reserved" Any [Int] Mem READS_MEMORY MAY_FAULT WRITES_STATE;
        /// Store that succeeds (0) only under the reservation, else gives 1: `store_conditional r, address, value`.
        StoreConditional "store_conditional" Int [Int Any] Mem WRITES_MEMORY MAY_FAULT WRITES_STATE;
    }
    /// Reads and writes memory at once.
    Modify {
        /// Stores the third where memory equals the second; gives what memory held: `cas r, address, expected, new`.
        Cas "cas" Any [Int Any Any] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Exchange; gives what memory held.
        AtomicSwap "atomic_swap" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic addition; gives what memory held.
        AtomicAdd "atomic_add" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic and; gives what memory held.
        AtomicAnd "atomic_and" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic or; gives what memory held.
        AtomicOr "atomic_or" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic exclusive or; gives what memory held.
        AtomicXor "atomic_xor" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic signed minimum; gives what memory held.
        AtomicMinS "atomic_mins" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic signed maximum; gives what memory held.
        AtomicMaxS "atomic_maxs" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic unsigned minimum; gives what memory held.
        AtomicMinU "atomic_minu" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
        /// Atomic unsigned maximum; gives what memory held.
        AtomicMaxU "atomic_maxu" Int [Int Int] Mem READS_MEMORY WRITES_MEMORY MAY_FAULT;
    }
    /// Computes a floating-point number and rounds it. The type is the format, here and below.
    FpArith {
        /// Sum.
        FpAdd "fp_add" Fp [Fp Fp] Fp ACCRUES;
        /// Difference.
        FpSub "fp_sub" Fp [Fp Fp] Fp ACCRUES;
        /// Product.
        FpMul "fp_mul" Fp [Fp Fp] Fp ACCRUES;
        /// Quotient.
        FpDiv "fp_div" Fp [Fp Fp] Fp ACCRUES;
        /// Square root.
        FpSqrt "fp_sqrt" Fp [Fp] Fp ACCRUES;
        /// `a * b + c` with one rounding.
        FpMulAdd "fp_madd" Fp [Fp Fp Fp] Fp ACCRUES;
        /// `a * b - c` with one rounding.
        FpMulSub "fp_msub" Fp [Fp Fp Fp] Fp ACCRUES;
        /// `-(a * b) - c` with one rounding.
        FpNegMulAdd "fp_nmadd" Fp [Fp Fp Fp] Fp ACCRUES;
        /// `-(a * b) + c` with one rounding.
        FpNegMulSub "fp_nmsub" Fp [Fp Fp Fp] Fp ACCRUES;
    }
    /// Chooses one of two floating-point numbers.
    FpExtremum {
        /// Minimum.
        FpMin "fp_min" Fp [Fp Fp] MinMax ACCRUES;
        /// Maximum.
        FpMax "fp_max" Fp [Fp Fp] MinMax ACCRUES;
    }
    /// Gives a floating-point number another sign.
    FpSign {
        /// First with the sign of the second.
        FpSign "fp_sign" Fp [Fp Fp] None NONE;
        /// First with the inverse sign of the second.
        FpSignNot "fp_signn" Fp [Fp Fp] None NONE;
        /// First with the exclusive or of both signs.
        FpSignXor "fp_signx" Fp [Fp Fp] None NONE;
    }
    /// Compares two floating-point numbers.
    FpCompare {
        /// 1 when equal; Invalid for signalling NaNs only.
        FpEq "fp_eq" Int [Fp Fp] None ACCRUES;
        /// 1 when less; Invalid for every NaN.
        FpLt "fp_lt" Int [Fp Fp] None ACCRUES;
        /// 1 when less or equal; Invalid for every NaN.
        FpLe "fp_le" Int [Fp Fp] None ACCRUES;
        /// 1 when less; Invalid for signalling NaNs only.
        FpLtQuiet "fp_ltq" Int [Fp Fp] None ACCRUES;
        /// 1 when less or equal; Invalid for signalling NaNs only.
        FpLeQuiet "fp_leq" Int [Fp Fp] None ACCRUES;
    }
    /// Converts between formats and integers.
    FpConvert {
        /// To another format; the type is the result's.
        FpToFp "fp_to_fp" Fp [Fp] Convert ACCRUES;
        /// To an integer; the type is the result's.
        FpToInt "fp_to_int" Int [Fp] Convert ACCRUES;
        /// From an integer; the type is the result's.
        IntToFp "int_to_fp" Fp [Int] Convert ACCRUES;
    }
    /// Floating point of other kinds.
    FpOther {
        /// The operand when it is a NaN-boxed value of the type, else the canonical NaN (RISC-V F 13.2).
        FpUnbox "fp_unbox" Fp [Fp] None NONE;
        /// Comparison to a flag group of kind [`crate::FlagKind::Bits`] as x86 `ucomisd` sets it: equal Z, less C,
        /// unordered Z, P and C; Invalid for signalling NaNs only.
        FpCmpFlags "fp_cmpflags" Flags [Fp Fp] None ACCRUES;
        /// Class of the operand, one of ten bits (RISC-V F 13.9).
        FpClass "fp_class" Int [Fp] None NONE;
        /// To an integral value in the same format.
        FpRound "fp_round" Fp [Fp] Integral ACCRUES;
    }
    /// Treats a 128-bit vector as bits or bytes.
    VecBits {
        /// Bitwise and.
        VecAnd "v_and" Vec [Vec Vec] None NONE;
        /// Bitwise or.
        VecOr "v_or" Vec [Vec Vec] None NONE;
        /// Bitwise exclusive or.
        VecXor "v_xor" Vec [Vec Vec] None NONE;
        /// First and not second.
        VecAndNot "v_andn" Vec [Vec Vec] None NONE;
        /// Byte i is the first's byte number (second's byte i, low 4 bits), or zero when its top bit is set.
        VecShuffle "v_shuffle" Vec [Vec Vec] None NONE;
        /// Byte i is the first's byte number (second's byte i), or zero from 16 up.
        VecTable "v_table" Vec [Vec Vec] None NONE;
    }
    /// Computes integers lane by lane.
    VecLanes {
        /// Lane-wise sum.
        VecAdd "v_add" Vec [Vec Vec] Lane NONE;
        /// Lane-wise difference.
        VecSub "v_sub" Vec [Vec Vec] Lane NONE;
        /// Lane-wise low product.
        VecMul "v_mul" Vec [Vec Vec] Lane NONE;
        /// Lane-wise all ones where equal.
        VecCmpEq "v_cmpeq" Vec [Vec Vec] Lane NONE;
        /// Lane-wise all ones where greater, signed.
        VecCmpGtS "v_cmpgts" Vec [Vec Vec] Lane NONE;
        /// Lane-wise signed minimum.
        VecMinS "v_mins" Vec [Vec Vec] Lane NONE;
        /// Lane-wise unsigned minimum.
        VecMinU "v_minu" Vec [Vec Vec] Lane NONE;
        /// Lane-wise signed maximum.
        VecMaxS "v_maxs" Vec [Vec Vec] Lane NONE;
        /// Lane-wise unsigned maximum.
        VecMaxU "v_maxu" Vec [Vec Vec] Lane NONE;
    }
    /// Shifts each lane by a constant.
    VecShift {
        /// Lane-wise left shift by the attribute's index; counts beyond the lane give zero.
        VecShl "v_shl" Vec [Vec] Lane NONE;
        /// Lane-wise unsigned right shift by the attribute's index; counts beyond the lane give zero.
        VecShr "v_shr" Vec [Vec] Lane NONE;
        /// Lane-wise signed right shift by the attribute's index; counts beyond the lane give the sign.
        VecSar "v_sar" Vec [Vec] Lane NONE;
    }
    /// Moves lanes.
    VecMove {
        /// Every lane the operand's low bits.
        VecSplat "v_splat" Vec [Int] Lane NONE;
        /// Lane number `index`, zero-extended.
        VecExtract "v_extract" Int [Vec] Lane NONE;
        /// First with lane number `index` replaced.
        VecInsert "v_insert" Vec [Vec Int] Lane NONE;
        /// Low lanes of both, interleaved.
        VecZipLow "v_ziplo" Vec [Vec Vec] Lane NONE;
        /// High lanes of both, interleaved.
        VecZipHigh "v_ziphi" Vec [Vec Vec] Lane NONE;
    }
    /// Computes floating-point numbers lane by lane.
    VecFp {
        /// Lane-wise floating-point sum, rounded dynamically.
        VecFpAdd "v_fp_add" Vec [Vec Vec] Lane ACCRUES;
        /// Lane-wise floating-point difference, rounded dynamically.
        VecFpSub "v_fp_sub" Vec [Vec Vec] Lane ACCRUES;
        /// Lane-wise floating-point product, rounded dynamically.
        VecFpMul "v_fp_mul" Vec [Vec Vec] Lane ACCRUES;
    }
    /// Computes a vector as a row of the guest's table says.
    VecRow {
        /// The row's function of up to three vectors and a constant; effects as the row says.
        VecCall "v_call" Vec [OptVec OptVec OptVec] Vector NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_rows_stand_at_their_number_with_unique_names() {
        let mut names = std::collections::HashSet::new();
        for (number, row) in Op::TABLE.iter().enumerate() {
            assert_eq!(row.op as usize, number);
            assert!(names.insert(row.name), "{} twice", row.name);
            assert_eq!(Op::from_name(row.name), Some(row.op));
            assert!(row.args.len() <= 4);
        }
    }
}
