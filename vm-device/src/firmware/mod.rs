//! What firmware boots from and is told by.

pub mod flash;
pub mod fw_cfg;
pub mod rom;
