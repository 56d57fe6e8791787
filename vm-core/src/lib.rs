//! Types that every crate of the virtual machine shares.
//!
//! What it is: typed addresses and identifiers, the guest architecture names, the virtual machine's
//! configuration, the reasons a virtual CPU stops, and the small traits through which crates that must
//! not see each other talk ([`IrqLine`], [`Clock`], [`Alarms`]).
//!
//! What it refuses to do: run anything, call the operating system, or contain `unsafe` code.
//!
//! Data flow: `vm-cli` fills a configuration, `vm-service` turns it into a machine, devices raise
//! [`IrqLine`]s towards virtual CPUs, a virtual CPU returns a [`VmExit`] to its owner.

mod addr;
mod arch;
mod clock;
pub mod config;
mod debug;
mod exit;
mod irq;
mod local_irq;
mod notices;
mod time_base;
mod width;

pub use addr::{
    Asid, GuestPhysAddr, GuestVirtAddr, HostVirtAddr, Iova, PAGE_BYTES, PAGE_SHIFT, VcpuId,
};
pub use arch::{GuestArch, UnknownArch};
pub use clock::{Alarm, Alarms, Clock};
pub use debug::{
    DebugTarget, ExecTrace, Figure, NoRam, NoRegister, Resume, Statistic, StopCause, Unmapped,
    WatchKind, Watchpoint,
};
pub use exit::{ResetKind, Shutdown, Undelivered, VmExit};
pub use irq::{IrqLine, NoIrq};
pub use local_irq::{LocalIrq, TASK_PRIORITY};
pub use notices::Notices;
pub use time_base::TimeBase;
pub use width::AccessWidth;
