//! Descriptor files of firmware.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vm_core::GuestArch;

use super::{Firmware, Interface};

/// Folders with descriptors below the root, the least important first.
const FOLDERS: [&str; 2] = ["usr/share/qemu/firmware", "etc/qemu/firmware"];
/// The folder below the user's configuration directory, which comes last.
const USER_FOLDER: &str = "qemu/firmware";
/// Longest descriptor that is read.
const MAX_BYTES: u64 = 1 << 20;
/// A feature without which such firmware does not start.
const REQUIRES_SMM: &str = "requires-smm";
/// The only format of images that flash and memory take.
const RAW: &str = "raw";
/// Code and variables in files of their own, which is also what no mode means.
const SPLIT: &str = "split";

/// A descriptor, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "device", rename_all = "kebab-case")]
enum Mapping {
    #[serde(rename_all = "kebab-case")]
    Flash {
        mode: Option<String>,
        executable: File,
        nvram_template: Option<File>,
    },
    Memory {
        filename: PathBuf,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct File {
    filename: PathBuf,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// All descriptors that can be read, in the order in which they are to be tried: by file name; one of a more important
/// folder hides one of the same name, and an empty one hides it without taking its place.
pub(super) fn all(root: &Path, user_config: Option<&Path>) -> Vec<Descriptor> {
    let folders = FOLDERS.iter().map(|folder| root.join(folder));
    let folders = folders.chain(user_config.map(|config| config.join(USER_FOLDER)));
    let mut files = BTreeMap::new();
    for entry in folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
    {
        if entry.path().extension().is_some_and(|end| end == "json") {
            files.insert(entry.file_name(), entry.path());
        }
    }
    files.values().filter_map(|path| read(path)).collect()
}

/// A descriptor; `None` when it is empty or unsound, as it is of no use then.
fn read(path: &Path) -> Option<Descriptor> {
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

impl Descriptor {
    /// Whether the firmware starts on that machine and offers that interface.
    pub(super) fn suits(&self, arch: GuestArch, machine: &str, interface: Interface) -> bool {
        let wanted = match interface {
            Interface::Bios => "bios",
            Interface::Uefi => "uefi",
        };
        let offers = self.interface_types.iter().any(|offered| offered == wanted);
        let target = self.targets.iter().any(|target| {
            target.architecture == arch.name()
                && target
                    .machines
                    .iter()
                    .any(|pattern| matches(pattern, machine))
        });
        let needs_smm = self.features.iter().any(|feature| feature == REQUIRES_SMM);
        offers && target && !needs_smm
    }

    /// Its files; `None` when they are mapped in a way that no machine here has.
    pub(super) fn firmware(&self, root: &Path) -> Option<Firmware> {
        // Paths are absolute, and joining them as such would leave the root out.
        let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        match &self.mapping {
            Mapping::Flash {
                mode,
                executable,
                nvram_template: Some(variables),
            } => {
                let split = mode.as_deref().is_none_or(|mode| mode == SPLIT);
                let raw = executable.format == RAW && variables.format == RAW;
                (split && raw).then(|| Firmware::Flash {
                    code: below(&executable.filename),
                    variables: below(&variables.filename),
                })
            }
            Mapping::Memory { filename } => Some(Firmware::Image(below(filename))),
            Mapping::Flash { .. } | Mapping::Other => None,
        }
    }
}

/// Whether a name matches a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_machines_as_globs_do() {
        for (pattern, name, expected) in [
            ("pc-q35-*", "pc-q35-10.0", true),
            ("pc-q35-*", "pc-i440fx-10.0", false),
            ("virt", "virt", true),
            ("virt", "virt-10.0", false),
            ("*", "anything", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
