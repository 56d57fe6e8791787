//! Configuration files.

use std::path::{Path, PathBuf};

use vm_core::config::{VmConfig, nearest};

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The host could not read it.
    #[error("cannot read the configuration {}: {reason}; {}", path.display(), advice(.reason))]
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

fn advice(reason: &std::io::Error) -> &'static str {
    match reason.to_string().starts_with("Too many open files") {
        true => "raise the limit of open files (ulimit -n)",
        false => "check the path after --config",
    }
}

/// Reads a configuration file. Relative paths in it start from where the file lies.
///
/// # Errors
/// When it cannot be read, or with line and column of what is wrong.
pub fn read_config(path: &Path) -> Result<VmConfig, ConfigFileError> {
    let bytes = std::fs::read(path).map_err(|reason| ConfigFileError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    let malformed = |text: &str, at: usize, problem| {
        let (line, column) = position(text, at.min(text.len()));
        ConfigFileError::Malformed {
            path: path.to_owned(),
            line,
            column,
            problem,
        }
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let sound = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let problem = "this is not UTF-8, which TOML is written in: save the file anew";
        malformed(&sound, sound.len(), problem.to_owned())
    })?;
    let mut config: VmConfig = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        malformed(text, at, in_our_words(error.message()))
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

/// What the parser calls things, and what they are to who writes the file.
const WORDS: &[(&str, &str)] = &[
    ("invalid type: ", "wrong kind of value: "),
    ("invalid value: ", "wrong value: "),
    ("expected path string", "expected text in quotes"),
    ("expected a string", "expected text in quotes"),
    ("expected a boolean", "expected true or false"),
    (
        "expected a sequence",
        "expected a list, or tables that begin with [[...]]",
    ),
    ("expected u32", "expected a whole number"),
    ("expected u8", "expected a whole number"),
    (": map,", ": a table,"),
    (": sequence,", ": a list,"),
    ("missing field ", "missing key "),
];

/// The parser's message in one line and without the words of the program's inside; with a suggestion where it lists
/// what it knows.
fn in_our_words(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // serde's words: unknown field `a`, expected one of `b`, `c`
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut quoted = rest.split('`').skip(1).step_by(2);
        let key = quoted.next().unwrap_or_default();
        let known: Vec<_> = quoted.collect();
        return match nearest(key, known.iter().copied()) {
            Some(meant) => format!("there is no key `{key}`; did you mean `{meant}`?"),
            None => format!("there is no key `{key}`; there are {}", known.join(", ")),
        };
    }
    WORDS.iter().fold(message, |message, (theirs, ours)| {
        message.replace(theirs, ours)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_core::config::{Bios, ByteSize, OnPanic, SerialConfig, VirtioTransport};

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
escape = "ctrl-]"
on_panic = "stop"
rng = false
virtio = "mmio"
no_reboot = true
accel = "interp"
gdb = "127.0.0.1:1234,wait=off"
dump_signature = "/s"
flash = { code = "/c", readonly = true, vars = "/v" }
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
[[port]]
name = "agent"
to = "unix:/a"
"#,
        )
        .unwrap();
        assert_eq!((config.cpus, config.cpu.as_str()), (4, "max,-zba"));
        assert_eq!(config.memory, Some(ByteSize::mib(1024)));
        assert_eq!(config.kernel.unwrap().to_str(), Some("/k"));
        assert_eq!(config.initrd.unwrap().to_str(), Some("/i"));
        assert_eq!(config.append, "quiet");
        assert_eq!(config.bios, Bios::None);
        assert_eq!(config.serial, Some(SerialConfig::Pty));
        assert_eq!(config.console, Some(SerialConfig::Null));
        assert_eq!(config.escape.to_string(), "ctrl-]");
        assert_eq!(config.on_panic, OnPanic::Stop);
        assert_eq!(config.virtio, VirtioTransport::Mmio);
        assert!(!config.rng && config.no_reboot);
        assert_eq!(config.gdb, Some("127.0.0.1:1234,wait=off".parse().unwrap()));
        assert_eq!(config.flash, "code=/c,readonly,vars=/v".parse().unwrap());
        assert!(config.disks[0].readonly && config.disks[0].snapshot);
        assert_eq!(config.nets[0].hostfwd, ["tcp::2222-:22"]);
        assert_eq!(config.nets[0].hostname, "g");
        assert_eq!(config.ports, ["name=agent,to=unix:/a".parse().unwrap()]);
    }

    #[test]
    fn read_memory_as_a_number_is_in_mib() {
        let memory = |text| read(text).unwrap().memory;
        assert_eq!(memory("memory = 768"), Some(ByteSize::mib(768)));
        assert_eq!(memory("memory = \"768\""), Some(ByteSize::mib(768)));
        assert_eq!(memory(""), None);
    }

    #[test]
    fn read_mistakes_have_line_and_column() {
        for (text, place, words) in [
            ("cpus = 2\nmemory = = 3", "2:10: ", ""),
            ("cpus = \"two\"", "1:8: ", "expected a whole number"),
            ("\n\nmemroy = \"1G\"", "3:1: ", "did you mean `memory`?"),
            ("memory = \"1X\"", "1:10: ", "needs a unit"),
            ("accel = \"kvm\"", "1:9: ", "use auto, jit or interp"),
            (
                "arch = \"riscv\"",
                "1:8: ",
                "unknown architecture 'riscv': use riscv64 or x86_64",
            ),
            (
                "[[disk]]\nfile = \"d\"\nsnapshto = true",
                "3:1: ",
                "did you mean `snapshot`?",
            ),
            ("memory = 1.5", "1:10: ", "a number of MiB"),
            ("cpus = -2", "1:8: ", "expected a whole number"),
            ("rng = \"on\"", "1:7: ", "expected true or false"),
            ("kernel = 3", "1:10: ", "expected text in quotes"),
            ("disk = \"d\"", "1:8: ", "expected a list"),
            (
                "[disk]\nfile = \"d\"",
                "1:1: ",
                "a table, expected a list, or tables that begin with [[",
            ),
            (
                "disk = [\"d\"]",
                "1:9: ",
                "expected a table, begun by [[disk]], with file",
            ),
            ("net = [1]", "1:8: ", "expected a table, begun by [[net]]"),
            (
                "[[net]]\nkind = \"tap\"",
                "2:8: ",
                "unknown network 'tap': use user",
            ),
            (
                "[[disk]]\nfile = \"d\"\nformat = \"vmdk\"",
                "3:10: ",
                "disk format",
            ),
            ("no-reboot = true", "1:1: ", "did you mean `no_reboot`?"),
            ("zzz = true", "1:1: ", "there are arch, cpus"),
            ("port = [1]", "1:9: ", "expected a table, begun by [[port]]"),
            ("[[port]]\nname = \"a\"", "1:1: ", "missing key `to`"),
            ("[[net]]\nmac = \"1\"", "2:7: ", "six bytes"),
            ("[[disk]]\nreadonly = true", "1:1: ", "missing key `file`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.starts_with(place) && error.contains(words),
                "{text:?}: {error}"
            );
            assert_eq!(error.lines().count(), 1, "{error}");
            for inside in ["struct", "u32", "variant", "field", "sequence", " map,"] {
                assert!(!error.contains(inside), "{text:?}: {error}");
            }
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
