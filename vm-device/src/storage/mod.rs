//! Disk controllers of a PC.

pub mod ahci;
pub mod nvme;
mod registers;
mod thread;
