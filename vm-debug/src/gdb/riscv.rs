//! RISC-V registers by the numbers that GDB gives them (GDB manual, G.5.11; numbers as in its `riscv-tdep.h`).

use vm_frontend::riscv::disasm::{F_NAMES, X_NAMES, csr_name};

use super::registers::{Feature, Kind, Register};

/// GDB's name of the architecture.
pub(super) const ARCHITECTURE: &str = "riscv:rv64";

const FIRST_X: usize = 0;
const PC: usize = 32;
const FIRST_F: usize = 33;
const FIRST_CSR: usize = 65;
/// Number of control and status registers that an instruction can name (RISC-V Priv 1.13, 2.1).
const CSRS: u16 = 4096;
const PRIVILEGE: usize = FIRST_CSR + CSRS as usize;

/// `fflags`, `frm` and `fcsr` belong to the floating-point feature.
const FLOAT_CSRS: std::ops::RangeInclusive<u16> = 1..=3;

/// A register that holds a single- or a double-precision number.
const FLOAT_TYPES: &str = "<union id=\"riscv_double\"><field name=\"float\" type=\"ieee_single\"/>\
                           <field name=\"double\" type=\"ieee_double\"/></union>";

/// The features of a hart that has the registers that `has` says.
pub(super) fn features(has: &dyn Fn(&str) -> bool) -> Vec<Feature> {
    vec![
        Feature {
            name: "org.gnu.gdb.riscv.cpu",
            types: "",
            registers: integer(),
        },
        Feature {
            name: "org.gnu.gdb.riscv.fpu",
            types: FLOAT_TYPES,
            registers: float(has),
        },
        Feature {
            name: "org.gnu.gdb.riscv.csr",
            types: "",
            registers: control(has),
        },
        Feature {
            name: "org.gnu.gdb.riscv.virtual",
            types: "",
            registers: vec![Register {
                number: PRIVILEGE,
                name: "priv".to_owned(),
                key: "priv".to_owned(),
                bytes: 8,
                kind: Kind::Int,
                group: Some("general"),
            }],
        },
    ]
}

fn integer() -> Vec<Register> {
    let x = X_NAMES.iter().enumerate().map(|(number, name)| Register {
        number: FIRST_X + number,
        name: (*name).to_owned(),
        key: format!("x{number}"),
        bytes: 8,
        kind: match *name {
            "ra" => Kind::Code,
            "sp" | "gp" | "tp" | "s0" => Kind::Data,
            _ => Kind::Int,
        },
        group: None,
    });
    let pc = Register {
        number: PC,
        name: "pc".to_owned(),
        key: "pc".to_owned(),
        bytes: 8,
        kind: Kind::Code,
        group: None,
    };
    x.chain([pc]).collect()
}

fn float(has: &dyn Fn(&str) -> bool) -> Vec<Register> {
    let f = F_NAMES.iter().enumerate().map(|(number, name)| Register {
        number: FIRST_F + number,
        name: (*name).to_owned(),
        key: format!("f{number}"),
        bytes: 8,
        kind: Kind::Declared("riscv_double"),
        group: Some("float"),
    });
    let control = FLOAT_CSRS.map(|number| Register {
        bytes: 4,
        group: Some("float"),
        ..csr(number)
    });
    f.chain(control)
        .filter(|register| has(&register.key))
        .collect()
}

fn control(has: &dyn Fn(&str) -> bool) -> Vec<Register> {
    (0..CSRS)
        .filter(|number| !FLOAT_CSRS.contains(number))
        .map(csr)
        .filter(|register| has(&register.key))
        .collect()
}

fn csr(number: u16) -> Register {
    let name = csr_name(number);
    Register {
        number: FIRST_CSR + usize::from(number),
        key: name.clone(),
        name,
        bytes: 8,
        kind: Kind::Int,
        group: Some("csr"),
    }
}
