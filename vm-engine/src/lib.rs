//! The software CPU.
//!
//! What it is: [`Engine`], what all virtual CPUs of a machine share (block cache, memory, bus), and [`Vcpu`], one
//! virtual CPU with its run loop. Code is lifted to IR by the guest's front end, predecoded to micro-operations and
//! run by the interpreter.
//!
//! What it refuses to do: know any ISA (that is [`vm_frontend::Guest`]), wire machines, or generate host code.
//!
//! Data flow: [`Vcpu::run`] -> jump cache -> block cache -> lift, predecode -> micro-ops -> slow paths for misses,
//! devices and helpers -> [`vm_core::VmExit`].

mod cache;
mod code;
mod engine;
mod frame;
mod hostfp;
mod interp;
mod jump;
mod microop;
mod page_map;
mod predecode;
mod retired;
mod shared;
mod slow;
mod sync;
pub mod tier;
mod timers;
mod vcpu;

pub use cache::CacheStats;
pub use engine::{Engine, EngineParts};
pub use frame::Counters;
pub use page_map::{PageHasher, PageMap};
pub use shared::{Remote, VcpuShared};
pub use vcpu::verify::Report;
pub use vcpu::{Vcpu, VcpuStats};
