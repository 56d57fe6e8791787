//! Initramfs archives of busybox, kernel modules and whatever a test adds.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Error;
use super::cpio::Archive;
use super::modules::ModuleTree;

/// The `/init` that archives have unless they bring their own; its head says what orders it takes.
pub const DEFAULT_INIT: &str = include_str!("init.sh");
pub(crate) const DHCP_SCRIPT: &str = include_str!("udhcpc.sh");

enum Node {
    Directory,
    File {
        permissions: u32,
        contents: Vec<u8>,
    },
    Link {
        target: String,
    },
    Device {
        permissions: u32,
        major: u32,
        minor: u32,
    },
}

/// An archive in the making. Paths have no leading slash; parent directories appear by themselves, and
/// a later entry replaces an earlier one of the same path.
pub struct Initramfs {
    nodes: BTreeMap<String, Node>,
    modules: usize,
}

impl Initramfs {
    /// The standard tree: [`DEFAULT_INIT`] as `/init`, `busybox` with `/bin/sh`, `/dev/console` and the
    /// mount points.
    pub fn new(busybox: Vec<u8>) -> Self {
        let mut archive = Self {
            nodes: BTreeMap::new(),
            modules: 0,
        };
        for directory in ["proc", "sys", "dev", "tmp", "etc", "mnt"] {
            archive.directory(directory);
        }
        archive.insert(
            "dev/console",
            Node::Device {
                permissions: 0o600,
                major: 5,
                minor: 1,
            },
        );
        archive.file("bin/busybox", 0o755, busybox);
        archive.link("bin/sh", "busybox");
        archive.file("etc/udhcpc.sh", 0o755, DHCP_SCRIPT);
        archive.file("init", 0o755, DEFAULT_INIT);
        archive
    }

    /// Adds an empty directory.
    pub fn directory(&mut self, path: &str) -> &mut Self {
        self.insert(path, Node::Directory)
    }

    /// Adds a file, for example a program for `order=/PATH`, or another `init`.
    pub fn file(
        &mut self,
        path: &str,
        permissions: u32,
        contents: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.insert(
            path,
            Node::File {
                permissions,
                contents: contents.into(),
            },
        )
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.insert(
            path,
            Node::Link {
                target: target.to_owned(),
            },
        )
    }

    /// Adds kernel modules and all they depend on as `/modules/NN-name.ko`; the default init loads them
    /// in that order.
    pub fn modules(&mut self, tree: &ModuleTree, names: &[&str]) -> Result<&mut Self, Error> {
        for module in tree.in_load_order(names)? {
            let file = format!("-{}.ko", module.name);
            if self
                .nodes
                .keys()
                .any(|path| path.starts_with("modules/") && path.ends_with(&file))
            {
                continue;
            }
            let path = format!("modules/{:03}{file}", self.modules);
            self.modules += 1;
            self.file(&path, 0o644, module.contents);
        }
        Ok(self)
    }

    /// The archive, uncompressed.
    pub fn cpio(&self) -> Vec<u8> {
        let mut archive = Archive::default();
        for (path, node) in &self.nodes {
            match node {
                Node::Directory => archive.directory(path, 0o755),
                Node::File {
                    permissions,
                    contents,
                } => archive.file(path, *permissions, contents),
                Node::Link { target } => archive.link(path, target),
                Node::Device {
                    permissions,
                    major,
                    minor,
                } => {
                    archive.character_device(path, *permissions, *major, *minor);
                }
            }
        }
        archive.finish()
    }

    /// The archive as the kernel takes it: gzip'd, the same bytes for the same contents.
    pub fn gzip(&self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder
            .write_all(&self.cpio())
            .and_then(|()| encoder.finish())
            .expect("invariant: writing to memory does not fail")
    }

    /// `BTreeMap` order puts a directory before its entries, as the format asks.
    fn insert(&mut self, path: &str, node: Node) -> &mut Self {
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            self.nodes
                .entry(above.to_owned())
                .or_insert(Node::Directory);
            parent = above;
        }
        self.nodes.insert(path.to_owned(), node);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn position(archive: &[u8], name: &str) -> usize {
        let wanted = [name.as_bytes(), b"\0"].concat();
        archive
            .windows(wanted.len())
            .position(|window| window == wanted)
            .expect(name)
    }

    #[test]
    fn cpio_nested_file_comes_after_its_directories() {
        let mut initramfs = Initramfs::new(b"busybox".to_vec());
        initramfs.file("usr/share/test/data", 0o644, *b"x");
        let archive = initramfs.cpio();
        assert!(position(&archive, "usr/share") < position(&archive, "usr/share/test"));
        assert!(position(&archive, "usr/share/test") < position(&archive, "usr/share/test/data"));
    }

    #[test]
    fn gzip_same_contents_gives_same_bytes() {
        let initramfs = Initramfs::new(b"busybox".to_vec());
        let packed = initramfs.gzip();
        assert_eq!(packed, Initramfs::new(b"busybox".to_vec()).gzip());
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(plain, initramfs.cpio());
    }
}
