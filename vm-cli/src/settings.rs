//! From options to a configuration: the file first, then what was given on the command line.

use std::path::PathBuf;

use vm_core::config::{ConfigError, DiskConfig, SerialConfig, VmConfig, nearest};

use crate::args::MachineArgs;

/// The options with the kernel that was given without its option.
///
/// # Errors
/// When it is no file and probably was to be a guest that `run` knows by name.
pub(crate) fn with_image(
    machine: MachineArgs,
    image: Option<PathBuf>,
) -> Result<MachineArgs, ConfigError> {
    let Some(image) = image else {
        return Ok(machine);
    };
    let word = image.to_str().unwrap_or_default();
    if !image.exists() && nearest(word, ["debian"]).is_some() {
        return Err(ConfigError::NotBuilt(format!(
            "there is no kernel '{word}': for Debian's installer, write vm-cli run debian, and the options behind it"
        )));
    }
    Ok(MachineArgs {
        kernel: Some(image),
        ..machine
    })
}

/// The machine that the options describe.
pub(crate) fn of(args: &MachineArgs) -> anyhow::Result<VmConfig> {
    let config = match &args.config {
        Some(file) => vm_service::read_config(file)?,
        None => VmConfig::default(),
    };
    let mut config = over(config, args);
    config.serial.get_or_insert(SerialConfig::Stdio);
    Ok(config)
}

/// Replaces what options say. Disks, networks, ports and the words of the kernel's command line replace those of the file.
fn over(mut config: VmConfig, args: &MachineArgs) -> VmConfig {
    fn set<T: Clone>(field: &mut T, option: &Option<T>) {
        if let Some(value) = option {
            field.clone_from(value);
        }
    }
    fn set_some<T: Clone>(field: &mut Option<T>, option: &Option<T>) {
        if option.is_some() {
            field.clone_from(option);
        }
    }
    set(&mut config.arch, &args.arch);
    set(&mut config.cpus, &args.cpus);
    set(&mut config.cpu, &args.cpu);
    set_some(&mut config.memory, &args.memory);
    set_some(&mut config.kernel, &args.kernel);
    set_some(&mut config.initrd, &args.initrd);
    set(&mut config.bios, &args.bios);
    args.flash
        .iter()
        .for_each(|flash| config.flash.merge(flash));
    set_some(&mut config.serial, &args.serial);
    set_some(&mut config.console, &args.console);
    set_some(&mut config.debugcon, &args.debugcon);
    set(&mut config.display, &args.display);
    set_some(&mut config.screenshot, &args.screenshot);
    set(&mut config.escape, &args.escape);
    set(&mut config.on_panic, &args.on_panic);
    set(&mut config.rng, &args.rng.map(bool::from));
    set_some(&mut config.balloon, &args.balloon.map(bool::from));
    set(&mut config.watchdog, &args.watchdog.map(bool::from));
    set(&mut config.debug_exit, &args.debug_exit.map(bool::from));
    set(&mut config.test_device, &args.test_device.map(bool::from));
    set_some(&mut config.dtb, &args.dtb);
    set(&mut config.rtc, &args.rtc);
    set(&mut config.virtio, &args.virtio);
    set(&mut config.accel, &args.accel);
    set(&mut config.code_cache, &args.code_cache);
    set(&mut config.stats, &args.stats.map(bool::from));
    set(&mut config.perf_map, &args.perf_map.map(bool::from));
    set(&mut config.verify, &args.verify.map(bool::from));
    set_some(&mut config.dump, &args.dump);
    set_some(&mut config.filter, &args.filter);
    set_some(&mut config.gdb, &args.gdb);
    set_some(&mut config.dump_signature, &args.dump_signature);
    set_some(&mut config.trace, &args.trace);
    set(&mut config.no_reboot, &args.no_reboot.map(bool::from));
    if !args.append.is_empty() {
        config.append = args.append.join(" ");
    }
    if !args.disk.is_empty() {
        config.disks.clone_from(&args.disk);
    }
    let discs = args.cdrom.iter().map(DiskConfig::cdrom);
    config.disks.extend(discs);
    if !args.net.is_empty() {
        config.nets.clone_from(&args.net);
    }
    if !args.port.is_empty() {
        config.ports.clone_from(&args.port);
    }
    config
}

#[cfg(test)]
mod tests;
