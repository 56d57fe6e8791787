//! Interrupt controllers and the timers that belong to them.

pub mod clint;
pub mod plic;
