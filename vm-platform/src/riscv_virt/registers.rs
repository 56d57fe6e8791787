//! A hart's registers by the names that the manual gives them.

use vm_core::{GuestArch, GuestVirtAddr};
use vm_engine::{Engine, Vcpu};
use vm_frontend::riscv::state::HartState;
use vm_frontend::riscv::sys::{Riscv, csr};

use crate::machine::board::Inspect;

/// Where a register lives.
enum Register {
    Pc,
    Privilege,
    X(usize),
    F(usize),
    Csr(u16),
}

fn find(engine: &Engine<Riscv>, name: &str) -> Option<Register> {
    let numbered = |prefix: char| {
        let number: usize = name.strip_prefix(prefix)?.parse().ok()?;
        (number < 32).then_some(number)
    };
    match name {
        "pc" => return Some(Register::Pc),
        "priv" => return Some(Register::Privilege),
        _ => {}
    }
    if let Some(number) = numbered('x') {
        return Some(Register::X(number));
    }
    if let Some(number) = numbered('f') {
        return Some(Register::F(number));
    }
    csr::registers(engine.config())
        .find(|(_, known)| known == name)
        .map(|(number, _)| Register::Csr(number))
}

impl Inspect for Riscv {
    const ARCH: GuestArch = GuestArch::Riscv64;

    fn general_registers(state: &HartState) -> (GuestVirtAddr, &[u64]) {
        (GuestVirtAddr(state.common.pc), &state.x)
    }

    fn read_register(engine: &Engine<Self>, vcpu: &Vcpu<Self>, name: &str) -> Option<u64> {
        let state = vcpu.state();
        Some(match find(engine, name)? {
            Register::Pc => state.common.pc,
            Register::Privilege => state.privilege,
            Register::X(number) => state.x[number],
            Register::F(number) => state.f[number],
            Register::Csr(number) => {
                let inputs = csr::CsrSnapshot {
                    time: engine.time(),
                    lines: vcpu.shared().lines(),
                    retired: state.common.retired,
                };
                csr::peek(state, engine.config(), &inputs, number)?
            }
        })
    }

    fn write_register(
        engine: &Engine<Self>,
        vcpu: &mut Vcpu<Self>,
        name: &str,
        value: u64,
    ) -> bool {
        let Some(register) = find(engine, name) else {
            return false;
        };
        match register {
            Register::Pc => vcpu.state_mut().common.pc = value & !1,
            Register::X(0) | Register::Privilege => return false,
            Register::X(number) => vcpu.state_mut().x[number] = value,
            Register::F(number) => vcpu.state_mut().f[number] = value,
            Register::Csr(number) => {
                return vcpu
                    .with_env(|state, config, env| csr::poke(state, config, env, number, value));
            }
        }
        true
    }
}
