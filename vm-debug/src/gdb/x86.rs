//! x86-64 registers as GDB describes them (GDB manual, G.5.6, "i386 Features"; order as in its
//! `features/i386/64bit-core.xml`).

use super::registers::{Feature, Kind, Register};

/// GDB's name of the architecture.
pub(super) const ARCHITECTURE: &str = "i386:x86-64";

/// The flags register by bits.
const FLAGS_TYPE: &str = "<flags id=\"i386_eflags\" size=\"4\">\
    <field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/>\
    <field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/>\
    <field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>\
    <field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>\
    <field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/>\
    <field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>\
    <field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"ID\" start=\"21\" end=\"21\"/></flags>";

/// The parts of a vector register.
const VECTOR_TYPES: &str = "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\
    <vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/><vector id=\"v16i8\" type=\"int8\" count=\"16\"/>\
    <vector id=\"v8i16\" type=\"int16\" count=\"8\"/><vector id=\"v4i32\" type=\"int32\" count=\"4\"/>\
    <vector id=\"v2i64\" type=\"int64\" count=\"2\"/><union id=\"vec128\">\
    <field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>\
    <field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>\
    <field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>\
    <field name=\"uint128\" type=\"uint128\"/></union>";

const GENERAL: [&str; 16] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const SELECTORS: [&str; 6] = ["cs", "ss", "ds", "es", "fs", "gs"];
const X87_CONTROL: [&str; 8] = [
    "fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop",
];
const BASES: [&str; 3] = ["fs_base", "gs_base", "k_gs_base"];
const SYSTEM: [&str; 5] = ["cr0", "cr2", "cr3", "cr4", "efer"];

/// Names, bytes and kinds of registers, in the order of their numbers.
#[derive(Default)]
struct Numbered {
    next: usize,
}

impl Numbered {
    fn take(&mut self, name: &str, bytes: usize, kind: Kind) -> Register {
        let number = self.next;
        self.next += 1;
        Register {
            number,
            name: name.to_owned(),
            // Breakpoints and memory go by linear addresses, so that is what GDB's program counter is.
            key: if name == "rip" { "pc" } else { name }.to_owned(),
            bytes,
            kind,
            group: None,
        }
    }

    fn all(&mut self, names: &[&str], bytes: usize, kind: Kind) -> Vec<Register> {
        names
            .iter()
            .map(|name| self.take(name, bytes, kind))
            .collect()
    }
}

/// The features of every processor.
pub(super) fn features() -> Vec<Feature> {
    let mut numbers = Numbered::default();
    let mut core = numbers.all(&GENERAL[..6], 8, Kind::Int);
    core.extend(numbers.all(&GENERAL[6..8], 8, Kind::Data));
    core.extend(numbers.all(&GENERAL[8..], 8, Kind::Int));
    core.push(numbers.take("rip", 8, Kind::Code));
    core.push(numbers.take("eflags", 4, Kind::Declared("i386_eflags")));
    core.extend(numbers.all(&SELECTORS, 4, Kind::Int));
    let stack = (0..8).map(|n| numbers.take(&format!("st{n}"), 10, Kind::X87));
    core.extend(stack.collect::<Vec<_>>());
    core.extend(numbers.all(&X87_CONTROL, 4, Kind::Int));
    let vectors = (0..16).map(|n| numbers.take(&format!("xmm{n}"), 16, Kind::Declared("vec128")));
    let mut sse: Vec<_> = vectors.collect();
    sse.push(numbers.take("mxcsr", 4, Kind::Int));
    let bases = numbers.all(&BASES[..2], 8, Kind::Int);
    let mut system = numbers.all(&BASES[2..], 8, Kind::Int);
    system.extend(numbers.all(&SYSTEM, 8, Kind::Int));
    let feature = |name, types, registers| Feature {
        name,
        types,
        registers,
    };
    vec![
        feature("org.gnu.gdb.i386.core", FLAGS_TYPE, core),
        feature("org.gnu.gdb.i386.sse", VECTOR_TYPES, sse),
        feature("org.gnu.gdb.i386.segments", "", bases),
        feature("vm.x86.system", "", system),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_gdbs_own_description() {
        let features = features();
        let number = |name: &str| {
            let all = features.iter().flat_map(|feature| &feature.registers);
            all.filter(|register| register.name == name)
                .map(|register| register.number)
                .collect::<Vec<_>>()
        };
        for (name, expected) in [
            ("rax", 0),
            ("rsp", 7),
            ("rip", 16),
            ("eflags", 17),
            ("gs", 23),
            ("st0", 24),
            ("fop", 39),
            ("xmm0", 40),
            ("mxcsr", 56),
            ("fs_base", 57),
        ] {
            assert_eq!(number(name), [expected], "{name}");
        }
    }
}
