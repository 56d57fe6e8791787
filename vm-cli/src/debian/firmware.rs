//! OpenSBI and U-Boot from Debian's packages, for hosts that have neither.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::release::Release;
use super::{Request, cache, deb, download, index, mirror};

/// A file, and the package that holds it.
struct Wanted {
    package: &'static str,
    /// Its path's end in the package.
    path: &'static str,
    /// Its name in the cache.
    name: &'static str,
}

const WANTED: [Wanted; 2] = [
    Wanted {
        package: "opensbi",
        path: "riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin",
        name: "fw_dynamic.bin",
    },
    Wanted {
        package: "u-boot-qemu",
        path: "u-boot/qemu-riscv64_smode/u-boot.bin",
        name: "u-boot.bin",
    },
];
const SUITE: &str = "stable";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const STAMP: &str = "verified.toml";

/// SHA-256 of each wanted file, as it came out of a package that the signed chain vouches for.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Stamp {
    sha256: Vec<String>,
}

/// The folder that firmware is kept in.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    Ok(cache::base()?.join("firmware/riscv64"))
}

/// The files of an earlier fetch, if they still are what was verified then.
pub(crate) fn kept(folder: &Path) -> Option<[PathBuf; 2]> {
    let text = std::fs::read_to_string(folder.join(STAMP)).ok()?;
    let stamp: Stamp = toml::from_str(&text).ok()?;
    let files = WANTED.map(|wanted| folder.join(wanted.name));
    let hashes = files.iter().map(|file| download::sha256_of(file).ok());
    let sound = hashes.eq(stamp.sha256.into_iter().map(Some));
    sound.then_some(files)
}

/// Fetches the packages from the mirror of this host's apt (or `VM_CLI_MIRROR`), follows the signed chain to them, and
/// unpacks the files to `folder`.
pub(crate) fn fetch(folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let mirror = match std::env::var("VM_CLI_MIRROR") {
        Ok(mirror) if !mirror.is_empty() => mirror,
        _ => mirror::of_host()?,
    };
    let request = Request {
        mirror: mirror::plain(&mirror)?,
        suite: SUITE.to_owned(),
        arch: vm_core::GuestArch::Riscv64,
        keyring: KEYRING.into(),
    };
    let release = Release::fetch(&request)?;
    let listed = release.find(&[
        "main/binary-all/Packages.xz".to_owned(),
        "main/binary-riscv64/Packages.xz".to_owned(),
    ])?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    let base = format!("{}/dists/{SUITE}", request.mirror);
    let packed = download::listed(&base, &listed, folder)?;
    let packages = WANTED.map(|wanted| wanted.package);
    let unpacked = BufReader::new(xz2::read::XzDecoder::new(File::open(packed.path())?));
    let found = index::named(unpacked, &packages)?;
    let mut sha256 = Vec::new();
    for (wanted, package) in WANTED.iter().zip(found) {
        let fetched = download::listed(&request.mirror, &package, folder)?;
        sha256.push(unpack(fetched.path(), wanted, folder)?);
    }
    let stamp = NamedTempFile::new_in(folder)?;
    std::fs::write(stamp.path(), toml::to_string(&Stamp { sha256 })?)?;
    stamp.persist(folder.join(STAMP))?;
    Ok(WANTED.map(|wanted| folder.join(wanted.name)))
}

/// Takes the wanted file out of its package; returns its hash.
fn unpack(package: &Path, wanted: &Wanted, folder: &Path) -> anyhow::Result<String> {
    let mut archive = deb::files(File::open(package)?)?;
    for entry in archive.entries()? {
        let mut entry = entry.with_context(|| format!("{} is damaged", wanted.package))?;
        if entry.path()?.ends_with(wanted.path) {
            let mut file = NamedTempFile::new_in(folder)?;
            std::io::copy(&mut entry, &mut file)
                .with_context(|| format!("cannot unpack {}", wanted.package))?;
            let hash = download::sha256_of(file.path())?;
            file.persist(folder.join(wanted.name))?;
            return Ok(hash);
        }
    }
    bail!("Debian's {} holds no {}", wanted.package, wanted.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_files_count_only_as_they_were_verified() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let files = WANTED.map(|wanted| folder.join(wanted.name));
        for file in &files {
            std::fs::write(file, "firmware").unwrap();
        }
        assert_eq!(kept(folder), None, "nothing vouches for them");
        let sha256 = files.iter().map(|file| download::sha256_of(file).unwrap());
        let stamp = Stamp {
            sha256: sha256.collect(),
        };
        std::fs::write(folder.join(STAMP), toml::to_string(&stamp).unwrap()).unwrap();
        assert_eq!(kept(folder), Some(files.clone()));
        std::fs::write(&files[1], "other").unwrap();
        assert_eq!(kept(folder), None, "changed since");
    }
}
