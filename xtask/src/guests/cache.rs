//! The cache directory and what makes an entry of it current.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;
use super::parts::{Bundle, PARTS, Part, replace};

/// Names another cache directory than `.cache/guests` of the repository.
pub const CACHE_VARIABLE: &str = "VM_GUESTS_DIR";

/// The directory with fetched packages and assembled guests.
///
/// `debs/` holds the packages, `apt/` the private package roots, `unpacked/<bundle>/` their contents,
/// `stamps/` what everything was made of; `riscv64/` and its like hold the files that tests use.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// What a bundle was unpacked from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BundleStamp {
    /// Suites and packages as asked for.
    pub(crate) request: String,
    /// File names, versions included.
    pub(crate) packages: Vec<String>,
}

/// What a part's files were made of; also the manifest that a person can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartStamp {
    pub(crate) recipe: String,
    pub(crate) packages: Vec<String>,
    pub(crate) file: Vec<FileStamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileStamp {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Cache {
    /// The cache of this repository, or the one that [`CACHE_VARIABLE`] names.
    pub fn locate() -> Self {
        match std::env::var_os(CACHE_VARIABLE) {
            Some(dir) if !dir.is_empty() => Self { dir: dir.into() },
            _ => Self {
                dir: crate::repository().join(".cache/guests"),
            },
        }
    }

    /// A cache in `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of a file of the cache, there or not; `name` as in `riscv64/Image`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The path of an assembled file, or an error that says which part to fetch.
    pub fn require(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.file(name);
        if path.exists() {
            return Ok(path);
        }
        let part = PARTS.iter().find(|part| part.outputs.contains(&name));
        Err(Error::Missing {
            path,
            part: part.map_or("NAME", |part| part.name),
        })
    }

    /// The contents of an unpacked bundle of packages.
    pub fn unpacked(&self, bundle: &str) -> PathBuf {
        self.dir.join("unpacked").join(bundle)
    }

    pub(crate) fn bundle_stamp(&self, bundle: &Bundle) -> Option<BundleStamp> {
        let text = fs::read_to_string(self.stamp_file(bundle.name, "bundle")).ok()?;
        let stamp: BundleStamp = toml::from_str(&text).ok()?;
        let current = stamp.request == request_of(bundle) && self.unpacked(bundle.name).is_dir();
        current.then_some(stamp)
    }

    pub(crate) fn write_bundle_stamp(&self, name: &str, stamp: &BundleStamp) -> Result<(), Error> {
        self.write_stamp(&self.stamp_file(name, "bundle"), stamp)
    }

    /// Whether the part's files are there and made of `packages` by today's recipe.
    pub(crate) fn part_is_current(&self, part: &Part, packages: &[String]) -> bool {
        let Ok(text) = fs::read_to_string(self.stamp_file(part.name, "part")) else {
            return false;
        };
        let Ok(stamp) = toml::from_str::<PartStamp>(&text) else {
            return false;
        };
        let paths = stamp.file.iter().map(|file| file.path.as_str());
        stamp.recipe == recipe_of(part)
            && stamp.packages == packages
            && paths.eq(part.outputs.iter().copied())
            && stamp.file.iter().all(|file| {
                fs::metadata(self.file(&file.path)).is_ok_and(|data| data.len() == file.bytes)
            })
    }

    pub(crate) fn write_part_stamp(&self, part: &Part, packages: Vec<String>) -> Result<(), Error> {
        let mut file = Vec::new();
        for path in part.outputs {
            let (bytes, sha256) =
                digest_of(&self.file(path)).map_err(Error::io(self.file(path)))?;
            file.push(FileStamp {
                path: (*path).to_owned(),
                bytes,
                sha256,
            });
        }
        let stamp = PartStamp {
            recipe: recipe_of(part),
            packages,
            file,
        };
        self.write_stamp(&self.stamp_file(part.name, "part"), &stamp)
    }

    /// Gathers the parts' stamps in `manifest.toml`.
    pub(crate) fn write_manifest(&self) -> Result<(), Error> {
        let mut manifest =
            String::from("# What `cargo xtask guests` made, and of which packages.\n");
        for part in PARTS {
            let Ok(text) = fs::read_to_string(self.stamp_file(part.name, "part")) else {
                continue;
            };
            let Ok(stamp) = toml::from_str::<toml::Table>(&text) else {
                continue;
            };
            let table = toml::Table::from_iter([(part.name.to_owned(), toml::Value::Table(stamp))]);
            manifest += &format!("\n{table}");
        }
        replace(&self.file("manifest.toml"), manifest.as_bytes())
    }

    fn stamp_file(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join("stamps").join(format!("{name}.{kind}.toml"))
    }

    fn write_stamp(&self, path: &Path, stamp: &impl Serialize) -> Result<(), Error> {
        let text = toml::to_string(stamp).expect("invariant: stamps are plain tables");
        replace(path, text.as_bytes())
    }
}

pub(crate) fn request_of(bundle: &Bundle) -> String {
    format!(
        "{:?} {} {}{}",
        bundle.root,
        bundle.root.suites().join("+"),
        bundle.packages.join(" "),
        if bundle.closure {
            " with dependencies"
        } else {
            ""
        }
    )
}

fn recipe_of(part: &Part) -> String {
    let mut hash = Sha256::new();
    for text in part.recipe.iter().copied().flatten() {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())
}

/// Length and SHA-256 of a file, which may be larger than memory.
fn digest_of(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = fs::File::open(path)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        bytes += count as u64;
        hash.update(&buffer[..count]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::parts::Root;

    const BUNDLE: Bundle = Bundle {
        name: "b",
        root: Root::Riscv64,
        packages: &["p"],
        closure: false,
    };

    fn part(recipe: &'static [&'static [&'static str]]) -> Part {
        Part {
            name: "t",
            about: "",
            bundles: &[],
            on_request: false,
            recipe,
            outputs: &["x/out"],
            assemble: |_| Ok(()),
        }
    }

    #[test]
    fn part_is_current_changed_input_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let packages = vec!["a_1.deb".to_owned()];
        replace(&cache.file("x/out"), b"contents").unwrap();
        cache
            .write_part_stamp(&part(&[&["1"]]), packages.clone())
            .unwrap();
        assert!(cache.part_is_current(&part(&[&["1"]]), &packages));
        assert!(
            !cache.part_is_current(&part(&[&["2"]]), &packages),
            "recipe"
        );
        assert!(
            !cache.part_is_current(&part(&[&["1"]]), &["a_2.deb".to_owned()]),
            "version"
        );
        let more = Part {
            outputs: &["x/out", "x/new"],
            ..part(&[&["1"]])
        };
        assert!(!cache.part_is_current(&more, &packages), "new output");
        fs::write(cache.file("x/out"), b"short").unwrap();
        assert!(
            !cache.part_is_current(&part(&[&["1"]]), &packages),
            "truncated output"
        );
    }

    #[test]
    fn bundle_stamp_changed_request_is_not_current() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let stamp = BundleStamp {
            request: request_of(&BUNDLE),
            packages: vec!["p_1.deb".into()],
        };
        cache.write_bundle_stamp("b", &stamp).unwrap();
        assert_eq!(cache.bundle_stamp(&BUNDLE), None, "nothing unpacked");
        fs::create_dir_all(cache.unpacked("b")).unwrap();
        assert_eq!(cache.bundle_stamp(&BUNDLE), Some(stamp));
        let larger = Bundle {
            packages: &["p", "q"],
            ..BUNDLE
        };
        assert_eq!(cache.bundle_stamp(&larger), None);
    }

    #[test]
    fn require_missing_file_names_its_part() {
        let dir = tempfile::tempdir().unwrap();
        let error = Cache::at(dir.path())
            .require("riscv64/Image")
            .unwrap_err()
            .to_string();
        assert!(error.contains("--only riscv64-linux"), "{error}");
    }
}
