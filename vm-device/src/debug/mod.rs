//! Ports by which guests talk to whoever debugs or tests them.

pub mod debugcon;
pub mod exit;
pub mod pvpanic;
pub mod testdev;
