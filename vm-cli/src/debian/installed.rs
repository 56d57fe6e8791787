//! What comes after the installer: the command that starts the installed system.

use vm_core::config::{ByteSize, NetConfig, SerialConfig, VmConfig};

use crate::args::MachineArgs;

/// RAM of the machine unless the user says otherwise: the installer unpacks itself into RAM.
const MEMORY: ByteSize = ByteSize::mib(1024);
const KERNEL_WORDS: &str = "console=ttyS0";
/// Options that only the installer has use for; each has a value.
const OF_THE_INSTALLER: [&str; 4] = ["--suite", "--mirror", "--keyring", "--append"];

/// Completes the machine for the installer. Gives the options that stand for what was added and that the installed system
/// wants, too.
pub(super) fn complete(config: &mut VmConfig, args: &MachineArgs) -> Vec<String> {
    let mut added = Vec::new();
    if config.memory.is_none() {
        config.memory = Some(MEMORY);
        added.extend(["--memory".to_owned(), MEMORY.to_string()]);
    }
    if config.nets.is_empty() {
        config.nets.push(NetConfig::user());
        added.extend(["--net", "user"].map(str::to_owned));
    }
    config.append = match config.append.is_empty() {
        true => KERNEL_WORDS.to_owned(),
        false => format!("{KERNEL_WORDS} {}", config.append),
    };
    // The kernel would start the installer again: the machine ends instead, unless that is what the user wants.
    if args.no_reboot.is_none() {
        config.no_reboot = true;
    }
    added
}

/// The command line of the installer, `words`, turned into that of the installed system.
pub(super) fn command(words: impl IntoIterator<Item = String>, added: &[String]) -> String {
    let mut command = vec!["vm-cli".to_owned()];
    let mut words = words.into_iter().skip(1);
    let mut guest = Some("debian");
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        if Some(word.as_str()) == guest {
            guest = None;
        } else if !OF_THE_INSTALLER.contains(&name) {
            command.push(word);
        } else if name == word {
            // Its value.
            words.next();
        }
    }
    command.extend(added.iter().cloned());
    let quoted: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    quoted.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./=,:+@%-[]".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Says how the installer is left, before its screen is drawn over it.
pub(super) fn announce(config: &VmConfig) {
    if config.serial == Some(SerialConfig::Stdio) {
        eprintln!(
            "vm-cli: the installer's screen covers what is said here: Ctrl-A x leaves it; its own windows are behind \
             Ctrl-A Ctrl-A and a number"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_adds_what_is_missing_and_ends_at_the_guests_reset() {
        let mut config = VmConfig::default();
        let added = complete(&mut config, &MachineArgs::default());
        assert_eq!(added, ["--memory", "1G", "--net", "user"]);
        assert_eq!(config.memory, Some(MEMORY));
        assert!(config.no_reboot && config.nets.len() == 1);
        assert_eq!(config.append, "console=ttyS0");

        // As a configuration file or options have said it.
        let mut config = VmConfig {
            memory: Some(ByteSize::mib(2048)),
            nets: vec![NetConfig::user()],
            append: "quiet".to_owned(),
            ..VmConfig::default()
        };
        let loops = MachineArgs {
            no_reboot: Some(crate::values::Flag(false)),
            ..MachineArgs::default()
        };
        assert!(complete(&mut config, &loops).is_empty());
        assert_eq!(config.memory, Some(ByteSize::mib(2048)));
        assert_eq!(config.append, "console=ttyS0 quiet");
        assert!(!config.no_reboot);
    }

    #[test]
    fn command_is_the_installers_without_what_is_its_own() {
        for (typed, added, expected) in [
            (
                "vm-cli run debian --disk file=d.img --cpus 2",
                &["--memory", "1G"][..],
                "vm-cli run --disk file=d.img --cpus 2 --memory 1G",
            ),
            (
                "/usr/bin/vm-cli run debian --suite testing --append=quiet --mirror=http://m -m 2G",
                &[],
                "vm-cli run -m 2G",
            ),
        ] {
            let added: Vec<_> = added.iter().map(|word| (*word).to_owned()).collect();
            let words = typed.split(' ').map(str::to_owned);
            assert_eq!(command(words, &added), expected);
        }
        let words = ["vm-cli", "run", "debian", "--disk", "file=my disk's.img"];
        let command = command(words.map(str::to_owned), &[]);
        assert_eq!(command, r"vm-cli run --disk 'file=my disk'\''s.img'");
    }
}
