//! `cargo xtask guests`: fetches Debian packages through private package roots and assembles the test
//! guests. Needs neither root nor a change to the host's own apt.

mod apt;
mod cache;
pub mod cpio;
mod disk;
mod error;
mod grub_pc;
pub mod initramfs;
mod mirror;
pub mod modules;
mod parts;
pub(crate) mod process;
mod programs_disk;
mod qemu;
mod rootfs;
mod vmlinux;

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

pub use cache::{CACHE_VARIABLE, Cache};
pub use error::Error;
pub use parts::STANDARD_MODULES;

use apt::{AptRoot, Package};
use cache::BundleStamp;
use parts::{Bundle, PARTS, Part, Root};

/// Command line of `cargo xtask guests`.
#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Only these parts (several names, or the option several times)
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// List the parts and whether they are there
    #[arg(long)]
    list: bool,
    /// Look for newer packages than the ones in the cache
    #[arg(long)]
    refresh: bool,
    /// Debian mirror; without it, the one that the host's package sources name
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Fetches and assembles what is missing; prints what it does.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let cache = Cache::locate();
    if arguments.list {
        list(&cache);
        return Ok(());
    }
    let parts = chosen(&arguments.only)?;
    fs::create_dir_all(cache.dir()).map_err(Error::io(cache.dir()))?;
    let lock_path = cache.file("lock");
    let lock = File::create(&lock_path).map_err(Error::io(&lock_path))?;
    if lock.try_lock().is_err() {
        println!("waiting for another `cargo xtask guests` to finish");
        lock.lock().map_err(Error::io(&lock_path))?;
    }
    let mut fetcher = Fetcher {
        cache: &cache,
        arguments,
        roots: Vec::new(),
        refreshed: Vec::new(),
    };
    for part in parts {
        fetcher.make(part)?;
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Part>, Error> {
    if only.is_empty() {
        return Ok(PARTS.iter().filter(|part| !part.on_request).collect());
    }
    only.iter()
        .map(|name| {
            PARTS
                .iter()
                .find(|part| part.name == name)
                .ok_or_else(|| Error::UnknownPart { name: name.clone() })
        })
        .collect()
}

fn list(cache: &Cache) {
    for part in PARTS {
        let there = packages_of(cache, part).is_some_and(|p| cache.part_is_current(part, &p));
        let state = if there { "ready" } else { "absent" };
        println!("{:20} {state:7} {}", part.name, part.about);
        for output in part.outputs {
            println!("{:28} {}", "", cache.file(output).display());
        }
    }
}

/// The package files of all bundles of a part, if each of them is unpacked.
fn packages_of(cache: &Cache, part: &Part) -> Option<Vec<String>> {
    let stamps: Option<Vec<_>> = part.bundles.iter().map(|b| cache.bundle_stamp(b)).collect();
    Some(
        stamps?
            .into_iter()
            .flat_map(|stamp| stamp.packages)
            .collect(),
    )
}

struct Fetcher<'a> {
    cache: &'a Cache,
    arguments: &'a Arguments,
    roots: Vec<(Root, AptRoot)>,
    /// Bundles that were compared with the mirror in this run.
    refreshed: Vec<&'static str>,
}

impl Fetcher<'_> {
    fn make(&mut self, part: &Part) -> Result<(), Error> {
        let started = Instant::now();
        for bundle in part.bundles {
            let fresh = !self.arguments.refresh || self.refreshed.contains(&bundle.name);
            if !fresh || self.cache.bundle_stamp(bundle).is_none() {
                self.fetch(bundle)?;
                self.refreshed.push(bundle.name);
            }
        }
        let packages = packages_of(self.cache, part).unwrap_or_default();
        if self.cache.part_is_current(part, &packages) {
            println!("{}: ready", part.name);
            return Ok(());
        }
        println!("{}: assembling {}", part.name, part.about);
        (part.assemble)(self.cache)?;
        self.cache.write_part_stamp(part, packages)?;
        self.cache.write_manifest()?;
        println!(
            "{}: done in {:.1} s",
            part.name,
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn fetch(&mut self, bundle: &Bundle) -> Result<(), Error> {
        let progress = |text: &str| println!("{}: {text}", bundle.name);
        let debs = self.cache.file("debs");
        fs::create_dir_all(&debs).map_err(Error::io(&debs))?;
        let root = self.root(bundle.root)?;
        progress(&format!("reading the index of {}", root.name()));
        let packages = if bundle.closure {
            root.closure_of(bundle.packages)?
        } else {
            let real = |name: &&str| match name.strip_prefix("linux-image-") {
                Some(_) => root
                    .kernel_of(name)
                    .map(|kernel| Package::candidate(&kernel)),
                None => Ok(Package::candidate(name)),
            };
            bundle.packages.iter().map(real).collect::<Result<_, _>>()?
        };
        let files = root.download(&packages, &debs, &progress)?;
        let stamp = BundleStamp {
            request: cache::request_of(bundle),
            packages: files,
        };
        if self.cache.bundle_stamp(bundle).as_ref() == Some(&stamp) {
            return Ok(());
        }
        progress(&format!("unpacking {} packages", stamp.packages.len()));
        self.unpack(bundle, &stamp)?;
        self.cache.write_bundle_stamp(bundle.name, &stamp)
    }

    fn unpack(&self, bundle: &Bundle, stamp: &BundleStamp) -> Result<(), Error> {
        let target = self.cache.unpacked(bundle.name);
        let partial = target.with_extension("partial");
        for old in [&partial, &target] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(Error::io(old))?;
            }
        }
        fs::create_dir_all(&partial).map_err(Error::io(&partial))?;
        for name in &stamp.packages {
            let deb = self.cache.file("debs").join(name);
            process::output_of(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&deb)
                    .arg(&partial),
                "dpkg",
            )?;
        }
        fs::rename(&partial, &target).map_err(Error::io(&target))
    }

    fn root(&mut self, kind: Root) -> Result<&AptRoot, Error> {
        if let Some(index) = self.roots.iter().position(|(known, _)| *known == kind) {
            return Ok(&self.roots[index].1);
        }
        let mirror = match &self.arguments.mirror {
            Some(url) => url.clone(),
            None => mirror::find(Path::new("/etc/apt"))?,
        };
        let architecture = match kind {
            Root::Riscv64 => "riscv64",
            Root::Amd64 => "amd64",
            Root::I386 => "i386",
            Root::HostTools | Root::HostBackports => qemu::Host::this()?.debian,
        };
        let parent = std::path::absolute(self.cache.file("apt")).map_err(Error::io("apt"))?;
        let root = AptRoot::create(&parent, architecture, kind.suites(), &mirror)?;
        self.roots.push((kind, root));
        Ok(&self.roots.last().expect("invariant: just pushed").1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_unknown_name_points_to_the_list() {
        let error = chosen(&["riscv64-linus".to_owned()])
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("--list"), "{error}");
    }

    #[test]
    fn chosen_without_names_is_everything_that_tests_need() {
        let names: Vec<_> = chosen(&[]).unwrap().iter().map(|part| part.name).collect();
        assert!(names.contains(&"riscv64-linux"), "{names:?}");
        assert!(!names.contains(&"riscv64-programs"), "{names:?}");
    }
}
