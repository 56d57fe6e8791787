//! Helpers of the integer instruction set: what no operation of the IR expresses.
//!
//! | instructions | file |
//! |---|---|
//! | repeated string instructions, `ins`, `outs` | [`string`] |
//! | 64-bit division | `divide` |
//! | `pdep`, `pext`, `crc32` | `bits` |
//! | `enter` with nested frames | `frame` |

pub(in crate::x86) mod bits;
mod divide;
mod frame;
pub mod string;

use vm_ir::Effects;

use super::helpers::Row;

const STATE: Effects = Effects::READS_STATE.and(Effects::WRITES_STATE);
const MEMORY: Effects = Effects::READS_MEMORY.and(Effects::WRITES_MEMORY);

/// This family's helpers.
pub(super) const HELPERS: &[Row] = &[
    Row {
        name: "string",
        effects: STATE.and(MEMORY).and(Effects::MAY_FAULT),
        handler: string::memory,
    },
    Row {
        name: "port_string",
        effects: STATE.and(MEMORY).and(Effects::MAY_FAULT),
        handler: string::ports,
    },
    Row {
        name: "divide",
        effects: STATE.and(Effects::MAY_FAULT),
        handler: divide::unsigned,
    },
    Row {
        name: "divide_signed",
        effects: STATE.and(Effects::MAY_FAULT),
        handler: divide::signed,
    },
    Row {
        name: "deposit_bits",
        effects: Effects::NONE,
        handler: bits::deposit,
    },
    Row {
        name: "extract_bits",
        effects: Effects::NONE,
        handler: bits::extract,
    },
    Row {
        name: "crc32",
        effects: Effects::NONE,
        handler: bits::crc32,
    },
    Row {
        name: "enter",
        effects: STATE.and(MEMORY).and(Effects::MAY_FAULT),
        handler: frame::enter,
    },
];
