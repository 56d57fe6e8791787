//! What the built-in SBI needs of its machine.

use vm_core::{Asid, GuestPhysAddr, GuestVirtAddr, VcpuId};
use vm_mem::GuestMemory;

use super::HartSet;

/// A counter that is a register of each hart (RISC-V Privileged, 3.1.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HardwareCounter {
    /// `mcycle`.
    Cycle,
    /// `minstret`.
    Instret,
}

/// Values of the machine's identification registers (RISC-V Privileged, 3.1.2 to 3.1.4).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MachineIds {
    /// `mvendorid`.
    pub mvendorid: u64,
    /// `marchid`.
    pub marchid: u64,
    /// `mimpid`.
    pub mimpid: u64,
}

/// Virtual addresses that a fence covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FenceRange {
    /// All of them.
    All,
    /// `bytes` bytes from `start`; the sum does not pass the end of the space.
    Bytes {
        /// First address.
        start: GuestVirtAddr,
        /// Length in bytes.
        bytes: u64,
    },
}

/// A fence that other harts are to execute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoteFence {
    /// `fence.i`.
    Instructions,
    /// `sfence.vma`.
    Translation {
        /// Addresses covered.
        range: FenceRange,
        /// The one address space covered; all if `None`.
        asid: Option<Asid>,
    },
}

/// A machine, as the built-in SBI acts on it. Calls come from the threads of the harts, several at a time.
pub trait SbiHost: Send + Sync {
    /// The machine's RAM.
    fn memory(&self) -> &GuestMemory;

    /// Identification registers.
    fn machine_ids(&self) -> MachineIds;

    /// Clears the hart's pending supervisor timer interrupt and raises it when the time counter reaches
    /// `deadline_ticks` (at once if it has).
    fn set_timer(&self, hart: VcpuId, deadline_ticks: u64);

    /// Gives a counter of the calling hart a value, or leaves it, and lets it count or not from then on.
    fn set_counter(&self, counter: HardwareCounter, value: Option<u64>, runs: bool);

    /// Makes the supervisor software interrupt pending on each of `harts`.
    fn send_ipi(&self, harts: HartSet);

    /// Clears the hart's pending supervisor software interrupt; says whether there was one.
    fn clear_ipi(&self, hart: VcpuId) -> bool;

    /// Has each of `harts`, which may include `caller`, execute the fence, and returns when they have. Whoever
    /// waits in here must serve fences that others ask of `caller`.
    fn remote_fence(&self, caller: VcpuId, fence: RemoteFence, harts: HartSet);

    /// Wakes the thread of a hart that waits for [`HartStates::take_start`](super::HartStates::take_start).
    fn wake_stopped(&self, hart: VcpuId);

    /// Whether S-mode may execute at the address.
    fn is_executable(&self, addr: GuestPhysAddr) -> bool {
        self.memory().find(addr).is_some()
    }

    /// Reads a doubleword as the hart's current S-mode would, or `None` where that would fault.
    fn read_virtual(&self, hart: VcpuId, addr: GuestVirtAddr) -> Option<u64>;

    /// Shows bytes on the console. Returns how many were taken without waiting.
    fn console_write(&self, bytes: &[u8]) -> usize;

    /// Takes bytes that were typed on the console, without waiting. Returns how many.
    fn console_read(&self, into: &mut [u8]) -> usize;
}
