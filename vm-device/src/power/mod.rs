//! Devices that turn the machine off or restart it.

pub mod sifive_test;
