//! Operations without a handler of their own: run by their definition.

#![allow(unsafe_code)]

use vm_frontend::Guest;

use crate::frame::FrameHead;
use crate::microop::MicroOp;

/// Runs the operation.
pub(crate) unsafe fn run<G: Guest>(_f: *mut FrameHead, _op: *const MicroOp) {}
