//! Real programs: Debian's packages for riscv64, unpacked into the initramfs, and what they are given to
//! do. The host has none of them, so each machine's output is compared with the other's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Error;
use super::program::{Class, Kernel};
use crate::guests::Cache;
use crate::guests::initramfs::Initramfs;

/// RAM for a guest whose file system is in RAM, packages included.
pub(super) const MEMORY_MIB: u32 = 1024;

/// Names and command lines.
const PROGRAMS: &[(&str, &str)] = &[
    ("gzip", "/usr/bin/gzip -9 -n -c /bench/data"),
    ("xz", "/usr/bin/xz -6 -T1 -c /bench/data"),
    (
        "sqlite3",
        "/usr/bin/sqlite3 -init /bench/work.sql -batch :memory: .quit",
    ),
    ("python3", "/usr/bin/python3 -S /bench/work.py"),
    ("gcc", "/usr/bin/gcc -O2 -S -o - /bench/integer.c"),
];

/// Bytes of the kernel image that are compressed.
const DATA_BYTES: usize = 4 << 20;

/// What no run needs, by a part of its path.
const LEFT_OUT: &[&str] = &[
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/zoneinfo",
    "libasan",
    "libtsan",
    "liblsan",
    "libubsan",
    "lto1",
    "lto-dump",
    "g++-mapper-server",
    "gprofng",
    "libgprofng",
    "__pycache__",
];

/// The programs as rows of the report.
pub(super) fn rows() -> Vec<Kernel> {
    PROGRAMS
        .iter()
        .map(|(name, _)| Kernel {
            name: (*name).to_owned(),
            class: Class::Program,
            repeats: 1,
        })
        .collect()
}

/// The command line of a program.
pub(super) fn command(name: &str) -> Option<&'static str> {
    PROGRAMS
        .iter()
        .find_map(|(known, command)| (*known == name).then_some(*command))
}

/// Adds the packages, the work and the data.
pub(super) fn add(cache: &Cache, initramfs: &mut Initramfs) -> Result<(), Error> {
    let root = cache.riscv64_programs()?;
    initramfs.link("lib", "usr/lib");
    add_tree(initramfs, &root, "usr")?;
    if root.join("lib").is_dir() && !root.join("lib").is_symlink() {
        add_tree(initramfs, &root, "lib")?;
    }
    let bench = crate::repository().join("bench");
    for name in [
        "programs/work.sql",
        "programs/work.py",
        "bench.h",
        "kernels.h",
        "integer.c",
    ] {
        let path = bench.join(name);
        let contents = fs::read(&path).map_err(Error::io(&path))?;
        let file = name.rsplit('/').next().unwrap_or(name);
        initramfs.file(&format!("bench/{file}"), 0o644, contents);
    }
    let image = cache.require("riscv64/Image")?;
    let mut data = fs::read(&image).map_err(Error::io(&image))?;
    data.truncate(DATA_BYTES);
    initramfs.file("bench/data", 0o644, data);
    Ok(())
}

fn add_tree(initramfs: &mut Initramfs, root: &Path, path: &str) -> Result<(), Error> {
    let directory = root.join(path);
    for entry in fs::read_dir(&directory).map_err(Error::io(&directory))? {
        let entry = entry.map_err(Error::io(&directory))?;
        let at = entry.path();
        let inside = format!("{path}/{}", entry.file_name().to_string_lossy());
        if LEFT_OUT.iter().any(|part| inside.contains(part)) || inside.ends_with(".a") {
            continue;
        }
        let kind = entry.file_type().map_err(Error::io(&at))?;
        if kind.is_dir() {
            initramfs.directory(&inside);
            add_tree(initramfs, root, &inside)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&at).map_err(Error::io(&at))?;
            initramfs.link(&inside, &target.to_string_lossy());
        } else if kind.is_file() {
            let mode = entry
                .metadata()
                .map_err(Error::io(&at))?
                .permissions()
                .mode();
            let contents = fs::read(&at).map_err(Error::io(&at))?;
            initramfs.file(&inside, mode & 0o777, contents);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_every_row_has_one_with_a_full_path() {
        for row in rows() {
            let command = command(&row.name).unwrap();
            // Busybox's shell would take its own program of that name otherwise.
            assert!(command.starts_with("/usr/bin/"), "{command}");
        }
        assert_eq!(command("vi"), None);
    }

    #[test]
    fn add_tree_keeps_links_and_modes_and_leaves_documents_out() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("usr/bin");
        let doc = root.path().join("usr/share/doc/x");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&doc).unwrap();
        fs::write(doc.join("copyright"), "text").unwrap();
        fs::write(bin.join("program-1"), "code").unwrap();
        std::os::unix::fs::symlink("program-1", bin.join("program")).unwrap();
        let mut initramfs = Initramfs::new(Vec::new());
        add_tree(&mut initramfs, root.path(), "usr").unwrap();
        let archive = String::from_utf8_lossy(&initramfs.cpio()).into_owned();
        assert!(archive.contains("usr/bin/program-1\0"));
        assert!(archive.contains("usr/bin/program\0"));
        assert!(!archive.contains("copyright"));
    }
}
