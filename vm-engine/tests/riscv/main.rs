//! The engine with RISC-V code: random programs against an independent emulator, code that changes under the virtual
//! CPUs that run it, and what several of them see of each other's memory.

mod asm;
mod borders;
mod code;
mod differential;
mod emulator;
mod generate;
mod machine;
mod program;
mod smp;
