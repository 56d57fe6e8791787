//! Clocks and timers.

pub mod goldfish;
pub mod hpet;
pub mod i8254;
pub mod mc146818;

/// Timers that go off again and again do so no faster than this, so that a guest cannot keep the host's timer thread busy;
/// what is missed counts once.
const SHORTEST_PERIOD_NS: u64 = 20_000;
