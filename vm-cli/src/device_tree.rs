//! `run --dump-dtb`.

use std::path::Path;

use anyhow::Context as _;
use vm_core::config::{SerialConfig, VmConfig};
use vm_service::Vm;

/// Writes what the guest would be told of the machine. What the tree does not depend on is not opened.
pub(crate) fn write(config: VmConfig, file: &Path) -> anyhow::Result<()> {
    let machine = VmConfig {
        disks: Vec::new(),
        nets: Vec::new(),
        serial: Some(SerialConfig::Null),
        console: None,
        ..config
    };
    let vm = Vm::builder().config(machine).build()?;
    std::fs::write(file, vm.device_tree())
        .with_context(|| format!("cannot write the device tree to {}", file.display()))
}
