//! Translation of guest code to host code.
//!
//! What it is: [`Template`], the first compiling tier: one pass over a block of IR, made when the block is first run,
//! with the guest's most used registers in host registers across blocks ([`vm_engine::tier`] is its border to the
//! engine); and [`asm`], the assembler it writes with. Hosts: x86-64 with BMI1, BMI2, LZCNT and POPCNT.
//!
//! What it refuses to do: know a guest ISA, decide when blocks are thrown away, or do slow paths of its own: whatever
//! is not a few instructions runs as a step of the interpreter.
//!
//! Data flow: IR block -> [`template`](Template) -> assembler -> arena (written at one address, executed at another)
//! -> entered through the block's head.

mod arena;
pub mod asm;
mod listing;
mod perf_map;
mod template;

pub use listing::Listing;
pub use template::{Template, TemplateError};
