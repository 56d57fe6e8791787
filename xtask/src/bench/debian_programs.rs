//! Real programs: Debian's compilers, runtimes and servers for the guest on a disk, and what they are given
//! to do. The host has not the same ones, so each machine's output is compared with the other's.

use std::fs;

use super::Error;
use super::program::{Class, Kernel};
use super::target::Target;
use crate::guests::Cache;
use crate::guests::initramfs::Initramfs;

/// RAM for a guest that runs compilers and databases.
pub(super) const MEMORY_MIB: u32 = 2048;

/// From the start of the emulator through firmware and boot loader, where the target has them, and services to a login
/// prompt: a machine of its own instead of a program.
pub(super) const BOOT_TO_LOGIN: &str = "boot_to_login";

/// A row of the table.
struct Work {
    name: &'static str,
    /// Script in `bench/programs`, whose time is taken.
    run: &'static str,
    /// Script that prepares the work beforehand.
    prepare: Option<&'static str>,
}

const fn work(name: &'static str, run: &'static str) -> Work {
    Work {
        name,
        run,
        prepare: None,
    }
}

const fn prepared(name: &'static str, run: &'static str, prepare: &'static str) -> Work {
    Work {
        name,
        run,
        prepare: Some(prepare),
    }
}

/// In the order in which they run: the first gcc finds nothing translated.
const WORKS: &[Work] = &[
    work("gcc_first", "gcc.sh"),
    work("gcc_again", "gcc.sh"),
    work("gcc_two_at_once", "gcc_two.sh"),
    work("gcc_link_and_run", "gcc_run.sh"),
    work("fork_exec_programs", "fork_exec.sh"),
    work("gzip", "gzip.sh"),
    work("xz", "xz.sh"),
    work("sort", "sort.sh"),
    work("sqlite3", "sqlite3.sh"),
    work("python3", "python3.sh"),
    prepared("git", "git.sh", "git_prepare.sh"),
    prepared("javac", "javac.sh", "java_prepare.sh"),
    work("java", "java.sh"),
    work("rustc", "rustc.sh"),
    work("go_build", "go.sh"),
    work("node", "node.sh"),
    work("erlang", "erlang.sh"),
    prepared("postgres", "postgres.sh", "postgres_prepare.sh"),
    prepared("redis", "redis.sh", "redis_prepare.sh"),
    prepared("apt_install", "apt.sh", "apt_prepare.sh"),
];

/// Bytes of the kernel image that are compressed.
const DATA_BYTES: usize = 4 << 20;

/// Sources of the benchmark program that the guest's gcc compiles.
const SOURCES: &[&str] = &[
    "bench.h",
    "kernels.h",
    "control.c",
    "floating.c",
    "integer.c",
    "memory.c",
    "system.c",
];

/// The programs as rows of the report.
pub(super) fn rows() -> Vec<Kernel> {
    WORKS
        .iter()
        .map(|work| work.name)
        .chain([BOOT_TO_LOGIN])
        .map(|name| Kernel {
            name: name.to_owned(),
            class: Class::Program,
            repeats: 1,
        })
        .collect()
}

/// What the guest is told for the chosen rows.
pub(super) fn orders(guest_program: &str, rows: &[Kernel]) -> Vec<String> {
    let mut orders = Vec::new();
    for work in WORKS {
        if !rows.iter().any(|row| row.name == work.name) {
            continue;
        }
        if let Some(script) = work.prepare {
            orders.push(format!("prepare /bin/sh /bench/{script}"));
        }
        let (name, script) = (work.name, work.run);
        orders.push(format!(
            "run {guest_program} program {name} /bin/sh /bench/{script}"
        ));
    }
    orders
}

/// Adds modules, the scripts and what they work on.
pub(super) fn add(target: &Target, cache: &Cache, initramfs: &mut Initramfs) -> Result<(), Error> {
    initramfs.modules(&cache.modules(target.arch)?, target.programs.modules)?;
    let bench = crate::repository().join("bench");
    for name in SOURCES {
        let path = bench.join(name);
        let contents = fs::read(&path).map_err(Error::io(&path))?;
        initramfs.file(&format!("bench/{name}"), 0o644, contents);
    }
    let programs = bench.join("programs");
    for entry in fs::read_dir(&programs).map_err(Error::io(&programs))? {
        let path = entry.map_err(Error::io(&programs))?.path();
        let contents = fs::read(&path).map_err(Error::io(&path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        initramfs.file(&format!("bench/{name}"), 0o644, contents);
    }
    for path in cache.repository(target.arch)? {
        let contents = fs::read(&path).map_err(Error::io(&path))?;
        // apt takes a version's `:` from the name as `%3a`, which it would encode once more.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.replace("%3a", "_");
        initramfs.file(&format!("bench/repository/{name}"), 0o644, contents);
    }
    let image = cache.require(target.programs.data)?;
    let mut data = fs::read(&image).map_err(Error::io(&image))?;
    data.truncate(DATA_BYTES);
    initramfs.file("bench/data", 0o644, data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_every_script_is_there_and_every_script_is_used() {
        let programs = crate::repository().join("bench/programs");
        let mut scripts: Vec<String> = fs::read_dir(&programs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sh"))
            .collect();
        scripts.sort();
        let mut used: Vec<&str> = WORKS
            .iter()
            .flat_map(|work| [Some(work.run), work.prepare])
            .flatten()
            .collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(scripts, used);
    }

    #[test]
    fn orders_prepare_comes_before_its_row() {
        let chosen: Vec<Kernel> = rows()
            .into_iter()
            .filter(|row| row.name == "git" || row.name == BOOT_TO_LOGIN)
            .collect();
        assert_eq!(
            orders("/bench/bench", &chosen),
            [
                "prepare /bin/sh /bench/git_prepare.sh",
                "run /bench/bench program git /bin/sh /bench/git.sh"
            ]
        );
    }
}
