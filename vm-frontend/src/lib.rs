//! Guest instruction sets.
//!
//! What it is: one folder per guest ISA with its decoder, its lifter to IR, its register file and system state
//! (control registers, traps, translation), and its disassembler. [`Guest`] is the border to the engine.
//!
//! What it refuses to do: run code, or know the host.
//!
//! Data flow: the engine asks [`Guest::lift`] for a block of IR at a physical address, runs it over
//! [`Guest::State`], and comes back for what only the ISA knows: [`Guest::translate`], [`Guest::raise`],
//! [`Guest::call`], [`Guest::take_interrupt`].

/// Adds a family's table to the rules of all instructions, at compile time: `add_rules!(rules, Variant, module)` for rows
/// of an instruction's number and a rule, which become `Rule::Variant(rule)`.
macro_rules! add_rules {
    ($rules:ident, $family:ident, $module:ident) => {
        let mut row = 0;
        while row < $module::TABLE.len() {
            let (number, rule) = $module::TABLE[row];
            assert!(
                matches!($rules[number as usize], Rule::Missing),
                "an instruction has two rules"
            );
            $rules[number as usize] = Rule::$family(rule);
            row += 1;
        }
    };
}

#[cfg(test)]
#[macro_use]
mod testing;

mod guest;
mod hint;
pub mod riscv;
pub mod x86;

pub use guest::{
    Access, AddressSpace, BusAbort, CodePage, CommonState, Exception, FlushScope, Guest,
    InstanceSpec, LiftLimits, Mapping, PhysMemory, Raised, Request, SysEnv, View,
};
