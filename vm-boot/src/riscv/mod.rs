//! Starting RISC-V machines: placement in RAM, the reset vector, and what firmware is told.

mod dynamic_info;
mod plan;
mod reset_vector;
mod stages;

pub use dynamic_info::{DYNAMIC_INFO_BYTES, DynamicInfo, NextMode};
pub use plan::{
    BootPlan, BootRequest, DEVICE_TREE_ROOM_BYTES, Firmware, HartStart, Privilege, StartingHarts,
};
pub use reset_vector::{RESET_VECTOR_BYTES, reset_vector};
