//! `run debian`: Debian's own installer, fetched from a package mirror and verified.
//!
//! The chain: the host's keyring vouches for `InRelease` ([`release`]), that for the package index ([`index`]), that
//! for the installer's package, whose content is unpacked ([`deb`]) and whose hashes are kept beside it ([`cache`]).
//! So it does not matter who the mirror is, or that it is asked without encryption.

mod cache;
mod deb;
mod download;
pub(crate) mod firmware;
mod index;
mod installed;
mod mirror;
mod release;

use std::path::PathBuf;

use vm_core::GuestArch;
use vm_core::config::{ArchChoice, VmConfig};

use crate::args::DebianArgs;
use cache::Cache;

/// The machine that runs the installer, and what comes behind it.
pub(crate) struct Installation {
    pub(crate) config: VmConfig,
    /// The command that starts the installed system; `None` when nothing can be installed.
    pub(crate) afterwards: Option<String>,
}

/// What the fetching needs to know.
#[derive(Debug)]
pub(crate) struct Request {
    /// Address of the archive, without a slash at its end.
    mirror: String,
    suite: String,
    arch: GuestArch,
    keyring: PathBuf,
}

/// The installer's architecture: the one that was chosen, or else this host's, or RISC-V 64 on a host whose like no machine
/// is.
fn arch_of(choice: ArchChoice) -> anyhow::Result<GuestArch> {
    let hosts = || std::env::consts::ARCH.parse().ok();
    match choice {
        ArchChoice::Is(arch) if arch.has_machine() => Ok(arch),
        ArchChoice::Is(arch) => Err(vm_service::VmError::NoMachine(arch).into()),
        ArchChoice::Auto => Ok(hosts()
            .filter(|arch: &GuestArch| arch.has_machine())
            .unwrap_or(GuestArch::Riscv64)),
    }
}

/// Fetches the installer, or finds it in the cache, and describes the machine that runs it.
pub(crate) fn machine(args: &DebianArgs) -> anyhow::Result<Installation> {
    let mut config = crate::settings::of(&args.machine)?;
    let chosen = config.arch;
    let arch = arch_of(chosen)?;
    config.arch = arch.into();
    if config.kernel.is_some() || config.initrd.is_some() {
        return Err(vm_core::config::ConfigError::Missing(
            "run debian brings its own kernel and initrd: leave out --kernel and --initrd",
        )
        .into());
    }
    release::check_suite(&args.suite)?;
    let mirror = match &args.mirror {
        Some(mirror) => Ok(mirror.clone()),
        None => mirror::of_host(),
    };
    let cache = Cache::locate(&args.suite, arch)?;
    let installer = match mirror.and_then(|mirror| {
        let request = Request {
            mirror: mirror::plain(&mirror)?,
            suite: args.suite.clone(),
            arch,
            keyring: args.keyring.clone(),
        };
        cache.bring_up_to_date(&request)
    }) {
        Ok(installer) => installer,
        Err(error) => match cache.kept() {
            Some(kept) => {
                let reason = format!("{error:#}");
                eprintln!(
                    "vm-cli: Debian's installer from the cache, as verified earlier ({reason})"
                );
                kept
            }
            None => return Err(error.context("cannot fetch Debian's installer")),
        },
    };
    let mut added = installed::complete(&mut config, &args.machine);
    if chosen == ArchChoice::Auto {
        added.extend(["--arch", arch.name()].map(str::to_owned));
    }
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let afterwards = (!config.disks.is_empty()).then(|| installed::command(words, &added));
    installed::announce(&config);
    if config.disks.is_empty() {
        eprintln!(
            "vm-cli: no --disk: the installer will find nothing to install to \
             (vm-cli disk create debian.img 10G; then --disk file=debian.img)"
        );
    }
    config.kernel = Some(installer.kernel);
    config.initrd = Some(installer.initrd);
    Ok(Installation { config, afterwards })
}
