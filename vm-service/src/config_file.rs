//! Configuration files.

use std::path::{Path, PathBuf};

use vm_core::config::{VmConfig, nearest};

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The host could not read it.
    #[error("cannot read the configuration {}: {reason}; check the path after --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the host said.
        reason: std::io::Error,
    },
    /// It is not TOML, or says something that there is not.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
}

/// Reads a configuration file. Relative paths in it start from where the file lies.
///
/// # Errors
/// When it cannot be read, or with line and column of what is wrong.
pub fn read_config(path: &Path) -> Result<VmConfig, ConfigFileError> {
    let text = std::fs::read_to_string(path).map_err(|reason| ConfigFileError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    let mut config: VmConfig = toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let (line, column) = position(&text, at);
        ConfigFileError::Malformed {
            path: path.to_owned(),
            line,
            column,
            problem: one_line(error.message()),
        }
    })?;
    config.resolve_paths(path.parent().unwrap_or(Path::new("")));
    Ok(config)
}

/// Line and column, both from 1, of a byte.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// The parser's message without line breaks, and with a suggestion where it lists what it knows.
fn one_line(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // serde's words: unknown field `a`, expected one of `b`, `c`
    let mut quoted = message.split('`').skip(1).step_by(2);
    let suggestion = match quoted.next() {
        Some(word) if message.starts_with("unknown") => nearest(word, quoted).map(str::to_owned),
        _ => None,
    };
    match suggestion {
        Some(known) => format!("{message}; did you mean `{known}`?"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_core::config::{Bios, ByteSize, SerialConfig, VirtioTransport};

    fn read(text: &str) -> Result<VmConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm.toml");
        std::fs::write(&path, text).unwrap();
        let shown = format!("{}:", path.display());
        read_config(&path).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[test]
    fn read_every_key_arrives() {
        let config = read(
            r#"
arch = "riscv64"
cpus = 4
cpu = "max,-zba"
memory = "1G"
kernel = "/k"
initrd = "/i"
append = "quiet"
bios = "none"
serial = "pty"
console = "null"
rng = false
virtio = "mmio"
no_reboot = true
accel = "interp"
gdb = "127.0.0.1:1234"
dump_signature = "/s"
[[disk]]
file = "/d"
format = "raw"
readonly = true
snapshot = true
serial = "S"
[[net]]
kind = "user"
hostfwd = ["tcp::2222-:22"]
pcap = "/p"
mac = "52:54:00:00:00:09"
hostname = "g"
"#,
        )
        .unwrap();
        assert_eq!((config.cpus, config.cpu.as_str()), (4, "max,-zba"));
        assert_eq!(config.memory, ByteSize::mib(1024));
        assert_eq!(config.kernel.unwrap().to_str(), Some("/k"));
        assert_eq!(config.initrd.unwrap().to_str(), Some("/i"));
        assert_eq!(config.append, "quiet");
        assert_eq!(config.bios, Bios::None);
        assert_eq!(config.serial, SerialConfig::Pty);
        assert_eq!(config.console, Some(SerialConfig::Null));
        assert_eq!(config.virtio, VirtioTransport::Mmio);
        assert!(!config.rng && config.no_reboot);
        assert_eq!(config.gdb.as_deref(), Some("127.0.0.1:1234"));
        assert!(config.disks[0].readonly && config.disks[0].snapshot);
        assert_eq!(config.nets[0].hostfwd, ["tcp::2222-:22"]);
        assert_eq!(config.nets[0].hostname, "g");
    }

    #[test]
    fn read_mistakes_have_line_and_column() {
        for (text, place, words) in [
            ("cpus = 2\nmemory = = 3", "2:10: ", ""),
            ("cpus = \"two\"", "1:8: ", "invalid type"),
            ("\n\nmemroy = \"1G\"", "3:1: ", "did you mean `memory`?"),
            ("memory = \"1X\"", "1:10: ", "needs a unit"),
            ("accel = \"kvm\"", "1:9: ", "use auto, jit or interp"),
            ("arch = \"riscv\"", "1:8: ", "did you mean `riscv64`?"),
            (
                "[[disk]]\nfile = \"d\"\nsnapshto = true",
                "3:1: ",
                "did you mean `snapshot`?",
            ),
            ("[[net]]\nmac = \"1\"", "2:7: ", "six bytes"),
            ("[[disk]]\nreadonly = true", "1:1: ", "missing field `file`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.starts_with(place) && error.contains(words),
                "{text:?}: {error}"
            );
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn read_relative_paths_start_at_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm.toml");
        std::fs::write(&path, "kernel = \"Image\"").unwrap();
        let kernel = read_config(&path).unwrap().kernel.unwrap();
        assert_eq!(kernel, dir.path().join("Image"));
    }

    #[test]
    fn read_missing_file_names_the_option() {
        let error = read_config(Path::new("/nonexistent.toml")).unwrap_err();
        assert!(error.to_string().ends_with("check the path after --config"));
    }
}
