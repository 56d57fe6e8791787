//! From options to a configuration: the file first, then what was given on the command line.

use vm_core::config::VmConfig;

use crate::args::MachineArgs;

/// The machine that the options describe.
pub(crate) fn of(args: &MachineArgs) -> anyhow::Result<VmConfig> {
    let config = match &args.config {
        Some(file) => vm_service::read_config(file)?,
        None => VmConfig::default(),
    };
    Ok(over(config, args))
}

/// Replaces what options say. Disks and networks replace those of the file.
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
    set(&mut config.memory, &args.memory);
    set_some(&mut config.kernel, &args.kernel);
    set_some(&mut config.initrd, &args.initrd);
    set(&mut config.append, &args.append);
    set(&mut config.bios, &args.bios);
    set(&mut config.serial, &args.serial);
    set_some(&mut config.console, &args.console);
    set(&mut config.rng, &args.rng);
    set(&mut config.virtio, &args.virtio);
    set(&mut config.accel, &args.accel);
    set(&mut config.code_cache, &args.code_cache);
    config.stats |= args.stats;
    config.perf_map |= args.perf_map;
    config.verify |= args.verify;
    set_some(&mut config.dump, &args.dump);
    set_some(&mut config.filter, &args.filter);
    set_some(&mut config.gdb, &args.gdb);
    set_some(&mut config.dump_signature, &args.dump_signature);
    set_some(&mut config.trace, &args.trace);
    config.no_reboot |= args.no_reboot;
    if !args.disk.is_empty() {
        config.disks.clone_from(&args.disk);
    }
    if !args.net.is_empty() {
        config.nets.clone_from(&args.net);
    }
    config
}

#[cfg(test)]
mod tests;
