//! Interrupt controllers and the timers that belong to them.

pub mod clint;
pub mod i8259;
pub mod ioapic;
pub mod isa;
pub mod lapic;
pub mod plic;
mod wires;

pub use wires::OrGate;

/// Takes message-signalled interrupts: memory writes of a device that mean an interrupt (PCI Local Bus 3.0, 6.8).
pub trait MsiTarget: Send + Sync {
    /// Takes the message that a function writes: `data` to `address`. One that means nothing is dropped.
    fn write(&self, address: u64, data: u32);
}

/// A controller outside the local APICs whose interrupt a virtual CPU takes by asking it for the vector: the pair of
/// 8259s of a PC (Intel SDM 3A, 11.5.1, delivery mode ExtINT).
pub trait ExternalController: Send + Sync {
    /// An interrupt acknowledge cycle: the vector of the most urgent interrupt, which is in service from now on.
    fn acknowledge(&self) -> u8;
}
