//! Floating point.

#![allow(unsafe_code)]

use vm_ir::Inst;

use crate::microop::Handler;

/// Handler of a floating-point operation with its variant, where one exists; the rest run by definition.
pub(crate) fn handler(_inst: &Inst) -> Option<(Handler, i32)> {
    None
}
