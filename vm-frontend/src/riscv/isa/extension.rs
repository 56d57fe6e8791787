//! The extensions a hart may have: one table gives the enum, the names, the order in ISA strings and what implies what.

use std::fmt;

/// Declares [`Extension`] from rows of: variant, name, what it implies, one line of meaning. The order of the rows
/// is the canonical order of ISA strings (RISC-V Unpriv 20240411, chapter "ISA Extension Naming Conventions").
macro_rules! extensions {
    ($($variant:ident $name:literal [$($implied:ident)*] $meaning:literal;)*) => {
        /// An extension of the base instruction set, or of the privileged architecture.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Extension {
            $(#[doc = concat!("`", $name, "`: ", $meaning, ".")] $variant,)*
        }

        impl Extension {
            /// Every extension, in the order of ISA strings.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name as in ISA strings and in the device tree, in lower case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What the extension is for, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// The extensions that cannot be missing when this one is there.
            pub const fn implies(self) -> &'static [Self] {
                match self { $(Self::$variant => &[$(Self::$implied),*]),* }
            }
        }
    };
}

extensions! {
    I "i" [] "base integer instructions";
    M "m" [] "multiply and divide";
    A "a" [] "atomics";
    F "f" [Zicsr] "single-precision floating point";
    D "d" [F] "double-precision floating point";
    C "c" [Zca] "compressed instructions";
    Zicbom "zicbom" [] "cache-block management";
    Zicbop "zicbop" [] "cache-block prefetch hints";
    Zicboz "zicboz" [] "cache-block zero";
    Zicntr "zicntr" [Zicsr] "cycle, time and instret counters";
    Zicond "zicond" [] "integer conditional operations";
    Zicsr "zicsr" [] "control and status register access";
    Zifencei "zifencei" [] "instruction-fetch fence";
    Zihintntl "zihintntl" [] "non-temporal locality hints";
    Zihintpause "zihintpause" [] "pause hint";
    Zihpm "zihpm" [Zicsr] "hardware performance counters";
    Zimop "zimop" [] "may-be-operations";
    Zabha "zabha" [A] "atomics of bytes and half-words";
    Zacas "zacas" [A] "atomic compare-and-swap";
    Zawrs "zawrs" [] "wait on reservation set";
    Zfa "zfa" [F] "additional floating point";
    Zfh "zfh" [Zfhmin] "half-precision floating point";
    Zfhmin "zfhmin" [F] "half-precision loads, stores and conversions";
    Zca "zca" [] "compressed instructions without floating point";
    Zcb "zcb" [Zca] "more compressed instructions";
    Zcmop "zcmop" [Zca] "compressed may-be-operations";
    Zba "zba" [] "address generation";
    Zbb "zbb" [] "basic bit manipulation";
    Zbc "zbc" [] "carry-less multiplication";
    Zbkb "zbkb" [] "bit manipulation for cryptography";
    Zbkc "zbkc" [] "carry-less multiplication for cryptography";
    Zbkx "zbkx" [] "crossbar permutation for cryptography";
    Zbs "zbs" [] "single-bit operations";
    Ssdbltrp "ssdbltrp" [Zicsr] "double traps of the supervisor";
    Ssstateen "ssstateen" [Zicsr] "state enables of the supervisor";
    Sstc "sstc" [Zicsr] "supervisor timer compare";
    Svade "svade" [] "page faults ask software to set A and D bits";
    Svadu "svadu" [] "hardware sets A and D bits";
    Svinval "svinval" [] "fine-grained address-translation invalidation";
    Svnapot "svnapot" [] "naturally aligned power-of-two translations";
    Svpbmt "svpbmt" [] "page-based memory types";
    Smdbltrp "smdbltrp" [Zicsr] "double traps of the machine";
    Smstateen "smstateen" [Ssstateen] "state enables";
}

impl Extension {
    /// The extension with this name (ignoring case).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|ext| ext.name().eq_ignore_ascii_case(name))
    }

    /// Whether the name is one letter, so that it joins the base in an ISA string without an underscore.
    pub const fn is_single_letter(self) -> bool {
        self.name().len() == 1
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Extension`]s, one machine word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Extensions(u64);

const _: () = assert!(Extension::ALL.len() <= 64, "Extensions holds 64 bits");

impl Extensions {
    /// The empty set.
    pub const EMPTY: Self = Self(0);
    /// Every extension this front end knows.
    pub const ALL: Self = Self::of(Extension::ALL);

    /// The set of the extensions listed.
    pub const fn of(list: &[Extension]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < list.len() {
            bits |= 1 << list[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// Whether `ext` is in the set.
    pub const fn has(self, ext: Extension) -> bool {
        self.0 >> ext as u8 & 1 != 0
    }

    /// Whether every member of `other` is in the set.
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The set with `ext` and everything it implies.
    #[must_use]
    pub fn with(self, ext: Extension) -> Self {
        ext.implies()
            .iter()
            .fold(Self(self.0 | 1 << ext as u8), |set, &implied| {
                set.with(implied)
            })
    }

    /// The set without `ext` and without everything that implies it.
    #[must_use]
    pub fn without(self, ext: Extension) -> Self {
        Extension::ALL
            .iter()
            .filter(|other| other.implies().contains(&ext))
            .fold(Self(self.0 & !(1 << ext as u8)), |set, &other| {
                set.without(other)
            })
    }

    /// The members in the order of ISA strings.
    pub fn iter(self) -> impl Iterator<Item = Extension> {
        Extension::ALL
            .iter()
            .copied()
            .filter(move |&ext| self.has(ext))
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_pulls_in_what_is_implied() {
        let set = Extensions::EMPTY.with(Extension::D);
        assert!(set.contains(Extensions::of(&[
            Extension::D,
            Extension::F,
            Extension::Zicsr
        ])));
        assert!(!set.has(Extension::M));
    }

    #[test]
    fn without_drops_what_depends_on_it() {
        let set = Extensions::ALL.without(Extension::F);
        for gone in [
            Extension::F,
            Extension::D,
            Extension::Zfa,
            Extension::Zfhmin,
        ] {
            assert!(!set.has(gone), "{gone} needs f");
        }
        assert!(set.has(Extension::Zicsr) && set.has(Extension::A));
    }

    #[test]
    fn from_name_unknown_is_none() {
        assert_eq!(Extension::from_name("ZBB"), Some(Extension::Zbb));
        assert_eq!(Extension::from_name("zbz"), None);
    }
}
