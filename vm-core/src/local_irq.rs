//! The part of an interrupt controller that belongs to one virtual CPU.

use crate::AccessWidth;

/// What [`LocalIrq::register_read`] and [`LocalIrq::register_write`] take for the class of interrupts that are held back, as
/// CR8 has it, whether the controller has a window, MSRs or is off (Intel SDM 3A, 11.8.6). It is no number of an MSR.
pub const TASK_PRIORITY: u32 = u32::MAX;

/// What one virtual CPU and its own interrupt controller say to each other: an x86 local APIC, an Arm GIC CPU
/// interface, a RISC-V IMSIC. That an interrupt waits to be taken is said by an interrupt line of the virtual CPU;
/// everything else goes this way. Called from the virtual CPU's own thread only, but for what a device does to it.
pub trait LocalIrq: Send + Sync {
    /// Takes the most urgent interrupt that may be taken now and notes it as in service; gives its number (x86: the
    /// vector, from an external controller if that is where it came from). `None` when it has gone away.
    fn acknowledge(&self) -> Option<u32>;

    /// Where this virtual CPU was told to start, in the ISA's terms, if it was told since it was last asked (x86: the
    /// vector of a start-up interrupt; Intel SDM 3A, 9.4).
    fn take_startup(&self) -> Option<u32>;

    /// Puts it into the state that an INIT of the virtual CPU leaves (Intel SDM 3A, 11.4.7.3).
    fn init(&self);

    /// The guest-physical range (first address, bytes) at which this virtual CPU alone reaches it, if there is one now.
    fn window(&self) -> Option<(u64, u64)>;

    /// Reads `width` bytes at `offset` of the window.
    fn read(&self, offset: u64, width: AccessWidth) -> u64;

    /// Writes the low `width` bytes of `value` at `offset` of the window.
    fn write(&self, offset: u64, width: AccessWidth, value: u64);

    /// Reads it as a system register with the ISA's number (x86: MSR 0x1b, 0x6e0, 0x800 to 0x8ff, [`TASK_PRIORITY`]). `None` when there is
    /// no such register now or it cannot be read.
    fn register_read(&self, register: u32) -> Option<u64>;

    /// Writes it as a system register. False when there is no such register now or it refuses the value.
    #[must_use]
    fn register_write(&self, register: u32, value: u64) -> bool;
}
