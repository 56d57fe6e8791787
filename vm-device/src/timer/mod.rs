//! Clocks and timers.

pub mod goldfish;
