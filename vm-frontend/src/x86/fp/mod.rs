//! x87, MMX, SSE and AVX (Intel SDM 1, 8 to 14).
//!
//! What it is: a table of vector operations by row ([`mod@rows`]), the rules that lift instructions to those and to IR
//! operations, and helpers for what works on the state as a whole (x87, saving and restoring).
//!
//! - XMM registers are slots; the high halves of YMM registers are slots of their own. A VEX-encoded instruction clears the
//!   high half where it works on 128 bits.
//! - MXCSR's flags accrue in [`crate::CommonState::fp_flags`] and its rounding stands in `fp_rounding`; see [`mxcsr`].
//! - MMX registers are the significands of the physical x87 registers.

pub(super) mod lift;
mod memory;
pub mod mxcsr;
pub mod rows;
mod save;
mod x87;

pub(super) use lift::lift;
pub use mxcsr::{env, mode_bits};
pub use rows::DECLARATIONS as VECTORS;

use vm_ir::{Effects, HelperId};

use super::helpers::{Row, family, first};
use x87::{arith, environment, moves, special, transcendental};

const STATE: Effects = Effects::READS_STATE.and(Effects::WRITES_STATE);
const FAULTS: Effects = STATE.and(Effects::MAY_FAULT);

const READS: Effects = FAULTS.and(Effects::READS_MEMORY);
const WRITES: Effects = FAULTS.and(Effects::WRITES_MEMORY);

/// Rows by name, effects and routine.
macro_rules! helpers {
    ($($name:literal $effects:ident $handler:path;)*) => {
        &[$(Row { name: $name, effects: $effects, handler: $handler },)*]
    };
}

const READS_STATE: Effects = Effects::READS_STATE;

/// This family's helpers.
pub(super) const HELPERS: &[Row] = helpers! {
    "read_mxcsr" READS_STATE mxcsr::read_helper;
    "write_mxcsr" FAULTS mxcsr::write_helper;
    "simd_begin" STATE mxcsr::begin;
    "simd_end" FAULTS mxcsr::end;
    "mask_load" READS memory::load;
    "mask_store" WRITES memory::store;
    "gather" READS memory::gather;
    "x87_registers" STATE arith::registers;
    "x87_with_memory" STATE arith::with_memory;
    "x87_compare_registers" STATE arith::compare_registers;
    "x87_compare_memory" STATE arith::compare_memory;
    "x87_compare_flags" STATE arith::compare_flags;
    "x87_load" STATE moves::load;
    "x87_load_long" STATE moves::load_long;
    "x87_load_register" STATE moves::load_register;
    "x87_constant" STATE moves::load_constant;
    "x87_store" WRITES moves::store;
    "x87_store_register" STATE moves::store_register;
    "x87_exchange" STATE moves::exchange;
    "x87_move_if" STATE moves::move_if;
    "x87_free" STATE moves::free;
    "x87_rotate" STATE moves::rotate;
    "x87_sign" STATE special::sign;
    "x87_examine" STATE special::examine;
    "x87_root" STATE special::root;
    "x87_round" STATE special::round;
    "x87_test" STATE special::test;
    "x87_scale" STATE special::scale_by;
    "x87_extract" STATE special::extract;
    "x87_remainder" STATE special::remainder_by;
    "x87_trigonometric" STATE transcendental::trigonometric;
    "x87_power" STATE transcendental::power;
    "x87_of_two" STATE transcendental::of_two;
    "x87_init" STATE environment::init;
    "x87_clear" STATE environment::clear;
    "x87_load_control" STATE environment::load_control;
    "x87_wait" FAULTS environment::wait;
    "x87_store_environment" WRITES environment::store;
    "x87_load_environment" READS environment::load;
    "fxsave" WRITES save::fxsave;
    "fxrstor" READS save::fxrstor;
    "xsave" WRITES save::xsave;
    "xrstor" READS save::xrstor;
};

/// The helper of this name.
const fn helper(name: &str) -> HelperId {
    let mut n = 0;
    while n < HELPERS.len() {
        if rows::same(HELPERS[n].name.as_bytes(), name.as_bytes()) {
            return HelperId(first(family::FLOAT) + n as u16);
        }
        n += 1;
    }
    panic!("no helper has this name")
}

#[cfg(test)]
mod tests;
