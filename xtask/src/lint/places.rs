//! Tracked files name no package host and no directory of the machine they were written on: mirrors
//! are read from the host at run time, paths are relative or asked for.

use std::path::Path;

use super::{Finding, Repository};

/// First labels of hosts that serve packages (an organisation's web pages may be cited).
const PACKAGE_HOSTS: &[&str] = &[
    "deb", "ftp", "security", "snapshot", "archive", "mirror", "ports",
];
const PACKAGE_DOMAINS: &[&str] = &["debian.org", "ubuntu.com", "debian.net"];

/// Parents of a checkout that mean nothing: naming them tells nobody's machine.
const PLAIN_PARENTS: &[&str] = &[
    "/", "/tmp", "/root", "/home", "/srv", "/opt", "/usr/src", "/src",
];

/// Directories in which users live.
const HOMES: &[&str] = &["/home/", "/Users/"];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let machine = machine_directories(&repository.root);
    let mut findings = Vec::new();
    // The lock file is cargo's; this file has to name what it looks for.
    let own = [
        Path::new("Cargo.lock"),
        Path::new("xtask/src/lint/places.rs"),
    ];
    for file in repository
        .files
        .iter()
        .filter(|file| !own.contains(&file.path.as_path()))
    {
        for (index, line) in file.text.lines().enumerate() {
            let message = if let Some(host) = package_host(line) {
                format!("package host `{host}`: read the mirror from the host's sources instead")
            } else if let Some(path) = machine_path(line, &machine) {
                format!("`{path}` exists on one machine only")
            } else {
                continue;
            };
            findings.push(file.finding("places", Some(index + 1), message));
        }
    }
    findings
}

fn package_host(line: &str) -> Option<&str> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    line.split(|c| !is_host(c)).find(|word| {
        let Some((first, domain)) = word.split_once('.') else {
            return false;
        };
        PACKAGE_DOMAINS
            .iter()
            .any(|d| domain == *d || domain.ends_with(&format!(".{d}")))
            && PACKAGE_HOSTS
                .iter()
                .any(|host| first.trim_end_matches(char::is_numeric) == *host)
    })
}

/// The checkout itself, and the directory around it when its name is telling.
fn machine_directories(root: &Path) -> Vec<String> {
    let mut directories = vec![root.display().to_string()];
    if let Some(parent) = root.parent().map(|parent| parent.display().to_string())
        && !PLAIN_PARENTS.contains(&parent.as_str())
    {
        directories.push(parent + "/");
    }
    directories
}

fn machine_path(line: &str, machine: &[String]) -> Option<String> {
    let begins_path = |at: usize| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "/.}_-)>*".contains(c))
    };
    let here = |wanted: &str| line.match_indices(wanted).any(|(at, _)| begins_path(at));
    if let Some(directory) = machine.iter().find(|directory| here(directory)) {
        return Some(directory.clone());
    }
    HOMES.iter().find_map(|home| {
        let (at, _) = line.match_indices(home).find(|(at, _)| begins_path(*at))?;
        let user: String = line[at + home.len()..]
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        (!user.is_empty() && user != "user").then(|| format!("{home}{user}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    fn found(line: &str) -> usize {
        check(&repository(&[("docs/a.md", line)])).len()
    }

    #[test]
    fn check_package_hosts_are_found() {
        // In pieces, because no tracked file names such a host, this one included.
        for pieces in [
            ["URL = \"http://deb", "debian", "org/debian\""].as_slice(),
            &["see https://ftp2", "de", "debian", "org/debian/"],
            &["archive", "ubuntu", "com"],
        ] {
            let line = pieces.join(".");
            assert_eq!(found(&line), 1, "{line}");
        }
        assert_eq!(
            found("https://www.debian.org/ports/riscv/ and wiki.debian.org"),
            0
        );
    }

    #[test]
    fn check_machine_paths_are_found() {
        for line in [
            "cd /srv/checkout/project",
            "`/srv/checkout/x`",
            "/home/ada/vm",
            "/Users/ada",
        ] {
            assert_eq!(found(line), 1, "{line}");
        }
        for line in [
            "dir/srv/checkout/x",
            "/home/user/disk.img",
            "/usr/lib",
            "$R/home/x",
        ] {
            assert_eq!(found(line), 0, "{line}");
        }
    }
}
