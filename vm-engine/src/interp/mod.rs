//! Tier 0: handlers of micro-operations, one file per family.
//!
//! Handlers do no bounds checks: predecoding made every offset from the guest's layout. They hold nothing that
//! needs dropping, so that their last call is a jump.

#![allow(unsafe_code)]

pub(crate) mod atomic;
pub(crate) mod control;
pub(crate) mod define;
pub(crate) mod flags;
pub(crate) mod float;
pub(crate) mod int;
pub(crate) mod lanes;
pub(crate) mod memory;
pub(crate) mod native;
pub(crate) mod ternary;
pub(crate) mod vector;

/// Goes on with the next micro-operation.
macro_rules! next {
    ($frame:expr, $op:expr) => {{
        let next = $op.add(1);
        ((*next).handler)($frame, next)
    }};
}
pub(crate) use next;
