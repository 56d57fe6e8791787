//! RISC-V, 64-bit: RV64GC with the extensions of [`isa::Extension`] and the privileged architecture.

pub mod decode;
pub mod disasm;
pub mod isa;
pub mod lift;
pub mod state;
pub mod sys;

pub use sys::Riscv;
