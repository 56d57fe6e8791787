//! Keyboards and pointing devices.

pub mod i8042;
