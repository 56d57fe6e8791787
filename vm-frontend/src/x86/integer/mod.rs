//! Helpers of the integer instruction set: what no operation of the IR expresses.
//!
//! | instructions | file |
//! |---|---|
//! | repeated string instructions, `ins`, `outs` | [`string`] |
//! | `enter` with nested frames | `frame` |

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
        name: "enter",
        effects: STATE.and(MEMORY).and(Effects::MAY_FAULT),
        handler: frame::enter,
    },
];
