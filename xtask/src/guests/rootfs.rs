//! A Debian root file system as one tar archive: the contents of packages with their owners and modes,
//! and the few files that their installation scripts would have written. Needs no root, as nothing is
//! unpacked on the host.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tar::{Archive, Builder, EntryType, Header};

use super::Error;

/// A tar archive in the making.
pub(crate) struct Rootfs {
    builder: Builder<Vec<u8>>,
    seen: BTreeSet<PathBuf>,
}

impl Rootfs {
    /// A file system with the links of a merged `/usr`, those of `links` beside the ones that all have.
    pub(crate) fn new(links: &[&str]) -> Result<Self, Error> {
        let mut rootfs = Self {
            builder: Builder::new(Vec::new()),
            seen: BTreeSet::new(),
        };
        rootfs.directory("usr")?;
        for name in ["bin", "sbin", "lib"].iter().chain(links) {
            rootfs.directory(&format!("usr/{name}"))?;
            rootfs.link(name, &format!("usr/{name}"))?;
        }
        Ok(rootfs)
    }

    /// Adds a package's files, except those that an earlier one or [`Self::file`] brought.
    pub(crate) fn package(&mut self, deb: &Path) -> Result<(), Error> {
        let io = || Error::io(deb);
        let mut unpack = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(deb)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Program {
                program: "dpkg-deb".into(),
                package: "dpkg",
                source,
            })?;
        let stream = unpack.stdout.take().expect("invariant: asked for a pipe");
        let mut archive = Archive::new(stream);
        for entry in archive.entries().map_err(io())? {
            let mut entry = entry.map_err(io())?;
            let path = entry.path().map_err(io())?.into_owned();
            let path: PathBuf = path.strip_prefix(".").unwrap_or(&path).to_owned();
            if path.as_os_str().is_empty() || !self.seen.insert(path.clone()) {
                continue;
            }
            let mut header = entry.header().clone();
            match entry.link_name().map_err(io())? {
                Some(target) => {
                    // A hard link's target is a path of the archive, a symbolic link's is text.
                    let hard = header.entry_type() == EntryType::Link;
                    let target = target.into_owned();
                    let target = if hard {
                        target.strip_prefix(".").unwrap_or(&target).to_owned()
                    } else {
                        target
                    };
                    self.builder.append_link(&mut header, &path, target)
                }
                None => self.builder.append_data(&mut header, &path, &mut entry),
            }
            .map_err(io())?;
        }
        let mut rest = Vec::new();
        archive.into_inner().read_to_end(&mut rest).map_err(io())?;
        let status = unpack.wait().map_err(io())?;
        if !status.success() {
            let command = format!("dpkg-deb --fsys-tarfile {}", deb.display());
            return Err(Error::Failed {
                command,
                status,
                output: String::new(),
            });
        }
        Ok(())
    }

    pub(crate) fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.node(path, EntryType::Directory, 0o755, None, &[])
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.node(path, EntryType::Symlink, 0o777, Some(target), &[])
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<(), Error> {
        self.node(path, EntryType::Regular, mode, None, contents)
    }

    /// The archive.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.builder.into_inner().expect(MEMORY)
    }

    fn node(
        &mut self,
        path: &str,
        kind: EntryType,
        mode: u32,
        target: Option<&str>,
        contents: &[u8],
    ) -> Result<(), Error> {
        if !self.seen.insert(path.into()) {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(contents.len() as u64);
        match target {
            Some(target) => self.builder.append_link(&mut header, path, target),
            None => self.builder.append_data(&mut header, path, contents),
        }
        .map_err(Error::io(path))
    }
}

const MEMORY: &str = "invariant: writing to memory does not fail";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finish_first_entry_of_a_path_wins() {
        let mut rootfs = Rootfs::new(&[]).unwrap();
        rootfs.directory("etc").unwrap();
        rootfs.file("etc/hostname", 0o644, b"ours\n").unwrap();
        rootfs.file("etc/hostname", 0o644, b"theirs\n").unwrap();
        let bytes = rootfs.finish();
        let mut archive = Archive::new(bytes.as_slice());
        let mut hostnames = Vec::new();
        let mut links = 0;
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            links += u32::from(entry.header().entry_type() == EntryType::Symlink);
            assert_eq!(entry.header().uid().unwrap(), 0);
            if entry.path().unwrap() == Path::new("etc/hostname") {
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                hostnames.push(text);
            }
        }
        assert_eq!(hostnames, ["ours\n"]);
        assert_eq!(links, 3, "bin, sbin and lib");
    }
}
