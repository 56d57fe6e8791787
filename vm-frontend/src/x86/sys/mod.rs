//! The system architecture: privilege, segments, paging, exceptions, interrupts, control and model-specific registers.
//!
//! Blocks reach it through the helpers of [`HELPERS`]; the engine through [`crate::Guest`].

use vm_ir::Effects;

use super::helpers::{Cpu, Row};
use crate::guest::{Exception, Request};

/// This family's helpers.
pub(super) const HELPERS: &[Row] = &[Row {
    name: "pause",
    effects: Effects::NONE.and(Effects::MAY_EXIT),
    handler: pause,
}];

/// PAUSE: a loop that waits for another processor (Intel SDM 2B, "PAUSE").
fn pause(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    cpu.env.request(Request::Yield);
    Ok(0)
}
