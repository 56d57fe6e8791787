//! Which RISC-V a hart is: extensions, translation modes, CPU models, and their command-line and device-tree forms.

mod config;
mod extension;
mod model;
mod parse;
#[cfg(test)]
mod tests;

pub use config::{AdUpdate, IsaConfig, SatpMode};
pub use extension::{Extension, Extensions};
pub use model::CpuModel;
pub use parse::CpuError;
