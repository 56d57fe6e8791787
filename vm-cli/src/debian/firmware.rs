//! Firmware from Debian's packages, for hosts that have none.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use vm_core::GuestArch;

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

/// A kind of firmware, which is two files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// OpenSBI, and U-Boot for supervisor mode.
    OpenSbi,
    /// SeaBIOS, and the option ROM of the display.
    Seabios,
    /// OVMF, and its empty variables.
    Ovmf,
}

#[rustfmt::skip]
const OPENSBI: [Wanted; 2] = [
    Wanted { package: "opensbi", path: "riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin", name: "fw_dynamic.bin" },
    Wanted { package: "u-boot-qemu", path: "u-boot/qemu-riscv64_smode/u-boot.bin", name: "u-boot.bin" },
];
#[rustfmt::skip]
const SEABIOS: [Wanted; 2] = [
    Wanted { package: "seabios", path: "share/seabios/bios-256k.bin", name: "bios-256k.bin" },
    Wanted { package: "seabios", path: "share/seabios/vgabios-stdvga.bin", name: "vgabios-stdvga.bin" },
];
#[rustfmt::skip]
const OVMF: [Wanted; 2] = [
    Wanted { package: "ovmf", path: "share/OVMF/OVMF_CODE_4M.fd", name: "OVMF_CODE_4M.fd" },
    Wanted { package: "ovmf", path: "share/OVMF/OVMF_VARS_4M.fd", name: "OVMF_VARS_4M.fd" },
];

impl Kind {
    fn wanted(self) -> &'static [Wanted; 2] {
        match self {
            Self::OpenSbi => &OPENSBI,
            Self::Seabios => &SEABIOS,
            Self::Ovmf => &OVMF,
        }
    }

    fn arch(self) -> GuestArch {
        match self {
            Self::OpenSbi => GuestArch::Riscv64,
            Self::Seabios | Self::Ovmf => GuestArch::X86_64,
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OpenSbi => "OpenSBI and U-Boot",
            Self::Seabios => "SeaBIOS",
            Self::Ovmf => "OVMF",
        }
    }

    /// The packages that have it, as advice.
    pub(crate) fn packages(self) -> &'static str {
        match self {
            Self::OpenSbi => "the packages opensbi and u-boot-qemu",
            Self::Seabios => "the package seabios",
            Self::Ovmf => "the package ovmf",
        }
    }

    /// Names of the files in a folder that has only them.
    pub(crate) fn names(self) -> [&'static str; 2] {
        self.wanted().each_ref().map(|wanted| wanted.name)
    }

    fn files(self, folder: &Path) -> [PathBuf; 2] {
        self.names().map(|name| folder.join(name))
    }
}

const SUITE: &str = "stable";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const STAMP: &str = "verified.toml";

/// SHA-256 of each wanted file, as it came out of a package that the signed chain vouches for.
#[derive(PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Stamp {
    sha256: Vec<String>,
}

/// The folder that firmware of a kind is kept in.
pub(crate) fn folder(kind: Kind) -> anyhow::Result<PathBuf> {
    let name = match kind {
        Kind::OpenSbi => "riscv64",
        Kind::Seabios => "seabios",
        Kind::Ovmf => "ovmf",
    };
    Ok(cache::base()?.join("firmware").join(name))
}

/// The files of an earlier fetch, if they still are what was verified then.
pub(crate) fn kept(kind: Kind, folder: &Path) -> Option<[PathBuf; 2]> {
    let text = std::fs::read_to_string(folder.join(STAMP)).ok()?;
    let stamp: Stamp = toml::from_str(&text).ok()?;
    let files = kind.files(folder);
    let hashes = files.iter().map(|file| download::sha256_of(file).ok());
    let sound = hashes.eq(stamp.sha256.into_iter().map(Some));
    sound.then_some(files)
}

/// Fetches the packages from the mirror of this host's apt (or `VM_CLI_MIRROR`), follows the signed chain to them, and
/// unpacks the files to `folder`.
pub(crate) fn fetch(kind: Kind, folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
    let mirror = match std::env::var("VM_CLI_MIRROR") {
        Ok(mirror) if !mirror.is_empty() => mirror,
        _ => mirror::of_host()?,
    };
    let request = Request {
        mirror: mirror::plain(&mirror)?,
        suite: SUITE.to_owned(),
        arch: kind.arch(),
        keyring: KEYRING.into(),
    };
    let release = Release::fetch(&request)?;
    let listed = release.find(&[
        "main/binary-all/Packages.xz".to_owned(),
        format!(
            "main/binary-{}/Packages.xz",
            cache::debian_name(kind.arch())
        ),
    ])?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    let base = format!("{}/dists/{SUITE}", request.mirror);
    let packed = download::listed(&base, &listed, folder)?;
    let packages = kind.wanted().each_ref().map(|wanted| wanted.package);
    let unpacked = BufReader::new(xz2::read::XzDecoder::new(File::open(packed.path())?));
    let found = index::named(unpacked, &packages)?;
    let mut sha256 = Vec::new();
    let mut last: Option<(&str, NamedTempFile)> = None;
    for (wanted, package) in kind.wanted().iter().zip(found) {
        // Of one package once.
        let fetched = match last.take_if(|(name, _)| *name == wanted.package) {
            Some((_, fetched)) => fetched,
            None => download::listed(&request.mirror, &package, folder)?,
        };
        sha256.push(unpack(fetched.path(), wanted, folder)?);
        last = Some((wanted.package, fetched));
    }
    let stamp = NamedTempFile::new_in(folder)?;
    std::fs::write(stamp.path(), toml::to_string(&Stamp { sha256 })?)?;
    stamp.persist(folder.join(STAMP))?;
    Ok(kind.files(folder))
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
        let kind = Kind::Ovmf;
        let files = kind.files(folder);
        for file in &files {
            std::fs::write(file, "firmware").unwrap();
        }
        assert_eq!(kept(kind, folder), None, "nothing vouches for them");
        let sha256 = files.iter().map(|file| download::sha256_of(file).unwrap());
        let stamp = Stamp {
            sha256: sha256.collect(),
        };
        std::fs::write(folder.join(STAMP), toml::to_string(&stamp).unwrap()).unwrap();
        assert_eq!(kept(kind, folder), Some(files.clone()));
        std::fs::write(&files[1], "other").unwrap();
        assert_eq!(kept(kind, folder), None, "changed since");
    }
}
