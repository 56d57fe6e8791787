//! Features: where CPUID tells each, which instructions it stands for, what it needs.

use iced_x86::CpuidFeature as Iced;

/// A register that CPUID answers in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Register {
    /// EAX.
    Eax = 0,
    /// EBX.
    Ebx = 1,
    /// ECX.
    Ecx = 2,
    /// EDX.
    Edx = 3,
}

/// Which models have a feature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// All, and it cannot be taken away: programs for x86-64 or the machine rely on it.
    Base,
    /// All.
    Common,
    /// x86-64-v2 and above.
    V2,
    /// x86-64-v3 and above.
    V3,
    /// `max` alone.
    Max,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct FeatureInfo {
    /// The feature.
    pub feature: Feature,
    /// Its name on the command line, as Linux and QEMU spell it.
    pub name: &'static str,
    /// Leaf and subleaf of CPUID.
    pub leaf: [u32; 2],
    /// The register there.
    pub register: Register,
    /// The bit in it.
    pub bit: u32,
    /// Which models have it.
    pub level: Level,
    /// Features without which it cannot be.
    pub needs: &'static [Feature],
    /// What iced-x86 calls its instructions.
    pub instructions: &'static [Iced],
}

macro_rules! features {
    ($([$leaf:literal, $subleaf:literal] $register:ident {
        $($name:ident $text:literal $bit:literal $level:ident [$($needs:ident)*] [$($iced:ident)*];)*
    })*) => {
        /// A feature that CPUID tells.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Feature { $($($name,)*)* }

        impl Feature {
            /// The table, in the order of the enum.
            pub const TABLE: &'static [FeatureInfo] = &[$($(FeatureInfo {
                feature: Feature::$name,
                name: $text,
                leaf: [$leaf, $subleaf],
                register: Register::$register,
                bit: $bit,
                level: Level::$level,
                needs: &[$(Feature::$needs,)*],
                instructions: &[$(Iced::$iced,)*],
            },)*)*];
        }
    };
}

// Bits by Intel SDM 2A, "CPUID", tables 3-8 and 3-10 to 3-11.
features! {
    [1, 0] Edx {
        Fpu "fpu" 0 Base [] [FPU FPU287 FPU387];
        De "de" 2 Base [] [];
        Pse "pse" 3 Base [] [];
        Tsc "tsc" 4 Base [] [TSC];
        Msr "msr" 5 Base [] [MSR];
        Pae "pae" 6 Base [] [];
        Mce "mce" 7 Base [] [];
        Cx8 "cx8" 8 Base [] [CX8];
        Apic "apic" 9 Base [] [];
        Sep "sep" 11 Base [] [SEP];
        Mtrr "mtrr" 12 Base [] [];
        Pge "pge" 13 Base [] [];
        Mca "mca" 14 Base [] [];
        Cmov "cmov" 15 Base [] [CMOV];
        Pat "pat" 16 Base [] [];
        Pse36 "pse36" 17 Base [] [];
        Clflush "clflush" 19 Base [] [CLFSH];
        Mmx "mmx" 23 Base [] [MMX];
        Fxsr "fxsr" 24 Base [] [FXSR];
        Sse "sse" 25 Base [] [SSE];
        Sse2 "sse2" 26 Base [] [SSE2];
    }
    [1, 0] Ecx {
        Sse3 "sse3" 0 V2 [] [SSE3];
        Pclmulqdq "pclmulqdq" 1 Max [] [PCLMULQDQ];
        Ssse3 "ssse3" 9 V2 [] [SSSE3];
        Fma "fma" 12 V3 [Avx] [FMA];
        Cx16 "cx16" 13 Common [] [CMPXCHG16B];
        Pcid "pcid" 17 Common [] [];
        Sse41 "sse4.1" 19 V2 [] [SSE4_1];
        Sse42 "sse4.2" 20 V2 [Sse41] [SSE4_2];
        X2apic "x2apic" 21 Common [] [];
        Movbe "movbe" 22 V3 [] [MOVBE];
        Popcnt "popcnt" 23 V2 [] [POPCNT];
        TscDeadline "tsc-deadline" 24 Common [] [];
        Aes "aes" 25 Max [] [AES];
        Xsave "xsave" 26 V3 [] [XSAVE];
        Avx "avx" 28 V3 [Xsave] [AVX];
        F16c "f16c" 29 V3 [Avx] [F16C];
        Rdrand "rdrand" 30 Common [] [RDRAND];
        Hypervisor "hypervisor" 31 Common [] [];
    }
    [6, 0] Eax {
        Arat "arat" 2 Base [] [];
    }
    [7, 0] Ebx {
        Fsgsbase "fsgsbase" 0 Common [] [FSGSBASE];
        TscAdjust "tsc_adjust" 1 Common [] [];
        Bmi1 "bmi1" 3 V3 [] [BMI1];
        Avx2 "avx2" 5 V3 [Avx] [AVX2];
        Smep "smep" 7 Common [] [];
        Bmi2 "bmi2" 8 V3 [] [BMI2];
        Erms "erms" 9 Common [] [];
        Invpcid "invpcid" 10 Common [] [INVPCID];
        Rdseed "rdseed" 18 Common [] [RDSEED];
        Adx "adx" 19 Max [] [ADX];
        Smap "smap" 20 Max [] [SMAP];
        Clflushopt "clflushopt" 23 Max [] [CLFLUSHOPT];
        Clwb "clwb" 24 Max [] [CLWB];
        Sha "sha" 29 Max [] [SHA];
    }
    [7, 0] Ecx {
        Umip "umip" 2 Common [] [];
        Vaes "vaes" 9 Max [Avx Aes] [VAES];
        Vpclmulqdq "vpclmulqdq" 10 Max [Avx Pclmulqdq] [VPCLMULQDQ];
        La57 "la57" 16 Max [] [];
        Rdpid "rdpid" 22 Max [] [RDPID];
    }
    [7, 0] Edx {
        Fsrm "fsrm" 4 Common [] [];
        Serialize "serialize" 14 Common [] [SERIALIZE];
        ArchCapabilities "arch-capabilities" 29 Common [] [];
    }
    [0xd, 1] Eax {
        Xsaveopt "xsaveopt" 0 V3 [Xsave] [XSAVEOPT];
        Xsavec "xsavec" 1 V3 [Xsave] [XSAVEC];
        Xgetbv1 "xgetbv1" 2 V3 [Xsave] [];
    }
    [0x8000_0001, 0] Ecx {
        Lahf "lahf_lm" 0 Common [] [];
        Lzcnt "lzcnt" 5 V3 [] [LZCNT];
        Prefetchw "prefetchw" 8 Common [] [PREFETCHW];
    }
    [0x8000_0001, 0] Edx {
        Syscall "syscall" 11 Base [] [SYSCALL];
        Nx "nx" 20 Base [] [];
        Pdpe1gb "pdpe1gb" 26 Common [] [];
        Rdtscp "rdtscp" 27 Common [] [RDTSCP];
        Lm "lm" 29 Base [] [X64];
    }
    [0x8000_0007, 0] Edx {
        InvariantTsc "invtsc" 8 Base [] [];
    }
}

impl Feature {
    /// The row of the table.
    pub const fn info(self) -> &'static FeatureInfo {
        &Self::TABLE[self as usize]
    }

    /// The feature of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let row = Self::TABLE.iter().find(|row| row.name == name);
        row.map(|row| row.feature)
    }

    /// The feature that instructions of a kind need.
    pub fn of_instructions(kind: Iced) -> Option<Self> {
        let row = Self::TABLE
            .iter()
            .find(|row| row.instructions.contains(&kind));
        row.map(|row| row.feature)
    }
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features(u128);

impl Features {
    const fn bit(feature: Feature) -> u128 {
        1 << feature as u8
    }

    /// All features of models up to a level.
    pub fn up_to(level: Level) -> Self {
        let rows = Feature::TABLE.iter().filter(|row| row.level <= level);
        rows.fold(Self::default(), |all, row| all.with(row.feature))
    }

    /// Whether a feature is in it.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & Self::bit(feature) != 0
    }

    /// The set with a feature, and with what that needs.
    #[must_use]
    pub fn with(self, feature: Feature) -> Self {
        let needs = feature.info().needs.iter();
        needs.fold(Self(self.0 | Self::bit(feature)), |all, &need| {
            all.with(need)
        })
    }

    /// The set without a feature, and without what needs that.
    #[must_use]
    pub fn without(self, feature: Feature) -> Self {
        let rest = Self(self.0 & !Self::bit(feature));
        let rows = Feature::TABLE
            .iter()
            .filter(|row| row.needs.contains(&feature));
        rows.fold(rest, |rest, row| {
            if rest.has(row.feature) {
                rest.without(row.feature)
            } else {
                rest
            }
        })
    }

    /// Its features, in the table's order.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::TABLE
            .iter()
            .map(|row| row.feature)
            .filter(move |&feature| self.has(feature))
    }
}
