//! What has been fetched and verified, kept for the next time.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use vm_core::GuestArch;

use super::release::Release;
use super::{Request, deb, download, index};

/// The installer's files, verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Installer {
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
}

/// What was verified when: the signed chain's hashes, and those of what it led to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Stamp {
    index_sha256: String,
    package: String,
    package_sha256: String,
    kernel_sha256: String,
    initrd_sha256: String,
}

/// The folder of one suite and architecture.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

const KERNEL: &str = "linux";
const INITRD: &str = "initrd.gz";
const STAMP: &str = "verified.toml";

/// This program's folder below the user's cache folder (XDG Base Directory Specification).
pub(super) fn base() -> anyhow::Result<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = folder("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(folder("HOME")?).join(".cache")))
        .context("there is no folder for the download: set HOME or XDG_CACHE_HOME")?;
    Ok(base.join("vm-cli"))
}

impl Cache {
    /// The folder of a suite and an architecture.
    pub(super) fn locate(suite: &str, arch: GuestArch) -> anyhow::Result<Self> {
        Ok(Self {
            folder: base()?.join("debian").join(suite).join(arch.name()),
        })
    }

    fn installer(&self) -> Installer {
        Installer {
            kernel: self.folder.join(KERNEL),
            initrd: self.folder.join(INITRD),
        }
    }

    /// The stamp, if the files still are what it says.
    fn sound_stamp(&self) -> Option<Stamp> {
        let text = std::fs::read_to_string(self.folder.join(STAMP)).ok()?;
        let stamp: Stamp = toml::from_str(&text).ok()?;
        let files = self.installer();
        let is = |path: &Path, hash: &str| download::sha256_of(path).is_ok_and(|h| h == hash);
        let sound =
            is(&files.kernel, &stamp.kernel_sha256) && is(&files.initrd, &stamp.initrd_sha256);
        sound.then_some(stamp)
    }

    /// What an earlier run has verified, without asking a mirror.
    pub(super) fn kept(&self) -> Option<Installer> {
        self.sound_stamp().map(|_| self.installer())
    }

    /// Follows the signed chain and fetches what has changed.
    pub(super) fn bring_up_to_date(&self, request: &Request) -> anyhow::Result<Installer> {
        let release = Release::fetch(request)?;
        let arch = debian_name(request.arch);
        // The package is the same for all architectures; older suites list it under each only.
        let listed = release.find(&[
            "main/binary-all/Packages.xz".to_owned(),
            format!("main/binary-{arch}/Packages.xz"),
        ])?;
        let stamp = self.sound_stamp();
        if stamp
            .as_ref()
            .is_some_and(|stamp| stamp.index_sha256 == listed.sha256)
        {
            eprintln!("vm-cli: Debian's installer from the cache; the mirror has no newer one");
            return Ok(self.installer());
        }
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make the cache folder {}", self.folder.display()))?;
        let base = format!("{}/dists/{}", request.mirror, request.suite);
        let packed = download::listed(&base, &listed, &self.folder)?;
        let unpacked = BufReader::new(xz2::read::XzDecoder::new(File::open(packed.path())?));
        let package = index::installer(unpacked, arch)?;
        let stamp = match stamp {
            Some(stamp) if stamp.package_sha256 == package.sha256 => Stamp {
                index_sha256: listed.sha256,
                ..stamp
            },
            _ => {
                let fetched = download::listed(&request.mirror, &package, &self.folder)?;
                let (kernel_sha256, initrd_sha256) = self.unpack(fetched.path(), arch)?;
                Stamp {
                    index_sha256: listed.sha256,
                    package: package.path,
                    package_sha256: package.sha256,
                    kernel_sha256,
                    initrd_sha256,
                }
            }
        };
        self.write_stamp(&stamp)?;
        eprintln!("vm-cli: {} verified", stamp.package);
        Ok(self.installer())
    }

    /// Unpacks kernel and RAM disk; returns their hashes.
    fn unpack(&self, package: &Path, arch: &str) -> anyhow::Result<(String, String)> {
        let mut archive = deb::files(File::open(package)?)?;
        let mut hashes = [None, None];
        for entry in archive.entries()? {
            let mut entry = entry.context("the installer's package is damaged")?;
            let path = entry.path()?.into_owned();
            for (name, hash) in [KERNEL, INITRD].into_iter().zip(&mut hashes) {
                if path.ends_with(format!("text/debian-installer/{arch}/{name}")) {
                    let mut file = NamedTempFile::new_in(&self.folder)?;
                    std::io::copy(&mut entry, &mut file).context("cannot unpack the installer")?;
                    *hash = Some(download::sha256_of(file.path())?);
                    file.persist(self.folder.join(name))?;
                }
            }
        }
        match hashes {
            [Some(kernel), Some(initrd)] => Ok((kernel, initrd)),
            _ => bail!("the installer's package holds no kernel and RAM disk where they should be"),
        }
    }

    fn write_stamp(&self, stamp: &Stamp) -> anyhow::Result<()> {
        let file = NamedTempFile::new_in(&self.folder)?;
        std::fs::write(file.path(), toml::to_string(stamp)?)?;
        file.persist(self.folder.join(STAMP))?;
        Ok(())
    }
}

/// Debian's name of an architecture.
pub(super) fn debian_name(arch: GuestArch) -> &'static str {
    match arch {
        GuestArch::X86_64 => "amd64",
        GuestArch::Aarch64 => "arm64",
        GuestArch::Riscv64 => "riscv64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_files_count_only_as_they_were_verified() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache {
            folder: dir.path().to_owned(),
        };
        assert_eq!(cache.kept(), None);
        let files = cache.installer();
        std::fs::write(&files.kernel, "k").unwrap();
        std::fs::write(&files.initrd, "i").unwrap();
        assert_eq!(cache.kept(), None, "nothing vouches for them");
        let stamp = Stamp {
            index_sha256: "x".into(),
            package: "p".into(),
            package_sha256: "y".into(),
            kernel_sha256: download::sha256_of(&files.kernel).unwrap(),
            initrd_sha256: download::sha256_of(&files.initrd).unwrap(),
        };
        cache.write_stamp(&stamp).unwrap();
        assert_eq!(cache.sound_stamp(), Some(stamp));
        assert_eq!(cache.kept(), Some(files.clone()));
        std::fs::write(&files.initrd, "j").unwrap();
        assert_eq!(cache.kept(), None, "changed since");
    }
}
