//! A private package root: apt with its own state, lists and configuration for one architecture and a
//! list of suites, beside the host's apt and without its privileges (apt.conf(5), apt-get(8)).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Error;
use super::process::{output_of, text_of};

/// Pauses before the attempts that follow a failed one: mirrors that are updating themselves serve
/// indexes and files that do not match for a while.
const RETRY_PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One package as the index names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// `None`: the index's candidate.
    pub(crate) version: Option<String>,
}

impl Package {
    pub(crate) fn candidate(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: None,
        }
    }

    fn request(&self) -> String {
        match &self.version {
            Some(version) => format!("{}={version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A private package root in `dir`.
pub(crate) struct AptRoot {
    dir: PathBuf,
    name: String,
    default_release: String,
    updated: std::cell::Cell<bool>,
}

impl AptRoot {
    /// Writes the root's configuration below `parent` (existing lists stay). `suites`' last entry is the
    /// one that packages are preferred from.
    pub(crate) fn create(
        parent: &Path,
        architecture: &str,
        suites: &[&str],
        mirror: &str,
    ) -> Result<Self, Error> {
        let default_release = suites.last().copied().unwrap_or_default().to_owned();
        let name = format!("{architecture}-{default_release}");
        let dir = parent.join(&name);
        for sub in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
        ] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).map_err(Error::io(path))?;
        }
        let sources: String = suites
            .iter()
            .map(|suite| {
                format!("deb [arch={architecture} signed-by={KEYRING}] {mirror} {suite} main\n")
            })
            .collect();
        write(&dir.join("status"), "")?;
        write(&dir.join("etc/sources.list"), &sources)?;
        write(
            &dir.join("apt.conf"),
            &configuration(&dir, architecture, &host_network_settings()?),
        )?;
        Ok(Self {
            dir,
            name,
            default_release,
            updated: std::cell::Cell::new(false),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8");
        command.arg("-q");
        command
    }

    /// Fetches the indexes, once a process.
    pub(crate) fn update(&self) -> Result<(), Error> {
        if self.updated.get() {
            return Ok(());
        }
        retrying(|_| {
            let mut command = self.command("apt-get");
            // Without it a failed index is a warning and the old one stays in use.
            command.args(["-o", "APT::Update::Error-Mode=any", "update"]);
            output_of(&mut command, "apt").map(drop)
        })?;
        self.updated.set(true);
        Ok(())
    }

    /// The real kernel package behind a meta-package such as `linux-image-riscv64`.
    pub(crate) fn kernel_of(&self, meta: &str) -> Result<String, Error> {
        self.update()?;
        let mut command = self.command("apt-cache");
        command.args(["depends", meta]);
        text_of(&mut command, "apt")?
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with("linux-image-"))
            .map(str::to_owned)
            .ok_or_else(|| Error::NoPackage {
                root: self.name.clone(),
                package: meta.to_owned(),
            })
    }

    /// `packages` and everything they depend on, starting from an empty system.
    pub(crate) fn closure_of(&self, packages: &[&str]) -> Result<Vec<Package>, Error> {
        self.update()?;
        let mut command = self.command("apt-get");
        command
            .args(["-s", "-t", &self.default_release, "install"])
            .args(packages);
        Ok(parse_simulation(&text_of(&mut command, "apt")?))
    }

    /// Downloads `packages` into `folder` unless they are there, and returns the file names with their
    /// versions, sorted.
    pub(crate) fn download(
        &self,
        packages: &[Package],
        folder: &Path,
        progress: &dyn Fn(&str),
    ) -> Result<Vec<String>, Error> {
        self.update()?;
        let requests: Vec<String> = packages.iter().map(Package::request).collect();
        retrying(|attempt| {
            if attempt > 0 {
                self.updated.set(false);
                self.update()?;
            }
            let mut list = self.command("apt-get");
            // In a folder without packages: apt leaves out those that it finds in the current one.
            list.args(["download", "--print-uris"])
                .args(&requests)
                .current_dir(&self.dir);
            let files = parse_uris(&text_of(&mut list, "apt")?);
            let absent: Vec<_> = files
                .iter()
                .filter(|f| !folder.join(&f.name).exists())
                .collect();
            if !absent.is_empty() {
                let bytes: u64 = absent.iter().map(|file| file.bytes).sum();
                progress(&format!(
                    "downloading {} packages, {} MB",
                    absent.len(),
                    bytes / 1_000_000
                ));
                let mut fetch = self.command("apt-get");
                fetch.arg("download").args(&requests).current_dir(folder);
                output_of(&mut fetch, "apt")?;
            }
            let mut names: Vec<String> = files.into_iter().map(|file| file.name).collect();
            names.sort();
            Ok(names)
        })
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(path))
}

/// The host's proxy and transport settings; nothing else of its configuration (hooks above all) may
/// act on the private root.
fn host_network_settings() -> Result<String, Error> {
    let dump = text_of(Command::new("apt-config").arg("dump"), "apt")?;
    let wanted = [
        "Acquire::http",
        "Acquire::https",
        "Acquire::ForceIPv4",
        "Acquire::ForceIPv6",
    ];
    Ok(dump
        .lines()
        .filter(|line| wanted.iter().any(|prefix| line.starts_with(prefix)))
        .fold(String::new(), |text, line| text + line + "\n"))
}

fn configuration(dir: &Path, architecture: &str, network: &str) -> String {
    let dir = dir.display();
    format!(
        "APT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         Dir::State \"{dir}/state\";\n\
         Dir::State::status \"{dir}/status\";\n\
         Dir::Cache \"{dir}/cache\";\n\
         Dir::Etc \"{dir}/etc\";\n\
         Dir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"{dir}/etc/apt.conf.d\";\n\
         Dir::Etc::sourcelist \"{dir}/etc/sources.list\";\n\
         Dir::Etc::sourceparts \"{dir}/etc/sources.list.d\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         {network}"
    )
}

/// Runs `attempt` until it succeeds or the pauses are used up; a missing program is not retried.
fn retrying<T>(mut attempt: impl FnMut(usize) -> Result<T, Error>) -> Result<T, Error> {
    let mut last = String::new();
    for (number, pause) in RETRY_PAUSES.iter().enumerate() {
        std::thread::sleep(*pause);
        match attempt(number) {
            Err(error @ (Error::Failed { .. } | Error::Mirror { .. })) => last = error.to_string(),
            other => return other,
        }
    }
    Err(Error::Mirror {
        attempts: RETRY_PAUSES.len() as u32,
        last,
    })
}

/// `Inst NAME (VERSION ...)` lines of `apt-get -s install`.
fn parse_simulation(text: &str) -> Vec<Package> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("Inst ")?.split_whitespace();
            let name = words.next()?.to_owned();
            let version = words.find_map(|word| word.strip_prefix('('))?.to_owned();
            Some(Package {
                name,
                version: Some(version),
            })
        })
        .collect()
}

struct Download {
    name: String,
    bytes: u64,
}

/// `'URI' FILE BYTES HASH` lines of `apt-get download --print-uris`.
fn parse_uris(text: &str) -> Vec<Download> {
    text.lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some(Download {
                name: words.next()?.to_owned(),
                bytes: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_simulation_inst_lines_give_names_and_versions() {
        let text = "Reading package lists...\nInst libc6 (2.36-9 Debian:12/oldstable [amd64])\n\
                    Inst qemu [1:1] (1:10.0.2+ds Debian Backports [amd64]) []\nConf libc6 (2.36-9 x)\n";
        let version = |v: &str| Some(v.to_owned());
        assert_eq!(
            parse_simulation(text),
            [
                Package {
                    name: "libc6".into(),
                    version: version("2.36-9")
                },
                Package {
                    name: "qemu".into(),
                    version: version("1:10.0.2+ds")
                },
            ]
        );
    }

    #[test]
    fn parse_uris_lines_give_files_and_sizes() {
        let text =
            "'http://m.invalid/pool/b_1_riscv64.deb' b_1%3a1_riscv64.deb 941532 SHA256:4a\nW: x\n";
        let files = parse_uris(text);
        assert_eq!(files.len(), 1);
        assert_eq!(
            (files[0].name.as_str(), files[0].bytes),
            ("b_1%3a1_riscv64.deb", 941_532)
        );
    }

    #[test]
    fn retrying_missing_program_stops_at_once() {
        let mut calls = 0;
        let result: Result<(), Error> = retrying(|_| {
            calls += 1;
            Err(Error::NoMirror)
        });
        assert!(result.is_err());
        assert_eq!(calls, 1);
    }

    #[test]
    fn configuration_keeps_every_directory_private() {
        let text = configuration(Path::new("/r"), "riscv64", "Acquire::http::Proxy \"p\";\n");
        for line in text.lines().filter(|line| line.starts_with("Dir::")) {
            assert!(
                line.contains("\"/r/") || line.contains("/dev/null"),
                "{line}"
            );
        }
        assert!(text.ends_with("Acquire::http::Proxy \"p\";\n"));
    }
}
