//! The package index (Debian repository format, "Packages indices").

use std::io::BufRead;

use anyhow::{Context as _, bail};

use super::release::Listed;

/// Finds the newest installer package for an architecture: `debian-installer-NUMBER-netboot-ARCH`.
pub(super) fn installer(index: impl BufRead, arch: &str) -> anyhow::Result<Listed> {
    let mut best: Option<(u32, Listed)> = None;
    each(index, |name, listed| {
        let number = name.strip_prefix("debian-installer-").and_then(|rest| {
            rest.strip_suffix(arch)?
                .strip_suffix("-netboot-")?
                .parse()
                .ok()
        });
        if let Some(number) = number
            && best.as_ref().is_none_or(|(other, _)| *other < number)
        {
            best = Some((number, listed));
        }
    })?;
    match best {
        Some((_, package)) => Ok(package),
        None => bail!("the suite has no installer for {arch}: choose another --suite"),
    }
}

/// Finds packages by their names, one of which may be there more than once.
pub(super) fn named<const N: usize>(
    index: impl BufRead,
    names: &[&str; N],
) -> anyhow::Result<[Listed; N]> {
    let mut found: [Option<Listed>; N] = std::array::from_fn(|_| None);
    each(index, |name, listed| {
        for (place, _) in found.iter_mut().zip(names).filter(|(_, it)| **it == name) {
            *place = Some(listed.clone());
        }
    })?;
    if let Some(missing) = found.iter().position(Option::is_none) {
        bail!("the suite has no package {}", names[missing]);
    }
    Ok(found.map(|found| found.expect("invariant: none is missing")))
}

/// Goes through an index, package by package.
fn each(index: impl BufRead, mut offer: impl FnMut(&str, Listed)) -> anyhow::Result<()> {
    let mut paragraph = Paragraph::default();
    let end = std::iter::once(Ok(String::new()));
    for line in index.lines().chain(end) {
        let line = line.context("the package index is damaged")?;
        if !line.is_empty() {
            paragraph.line(&line);
            continue;
        }
        let Paragraph {
            package,
            filename,
            size,
            sha256,
        } = std::mem::take(&mut paragraph);
        if let Ok(bytes) = size.parse() {
            let path = filename;
            offer(
                &package,
                Listed {
                    path,
                    bytes,
                    sha256,
                },
            );
        }
    }
    Ok(())
}

#[derive(Default)]
struct Paragraph {
    package: String,
    filename: String,
    size: String,
    sha256: String,
}

impl Paragraph {
    fn line(&mut self, line: &str) {
        let Some((field, value)) = line.split_once(": ") else {
            return;
        };
        let into = match field {
            "Package" => &mut self.package,
            "Filename" => &mut self.filename,
            "Size" => &mut self.size,
            "SHA256" => &mut self.sha256,
            _ => return,
        };
        value.clone_into(into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installer_newest_of_the_architecture_is_taken() {
        let index = b"Package: debian-installer-12-netboot-riscv64\nFilename: pool/12\nSize: 5\nSHA256: aa\n\n\
            Package: debian-installer-13-netboot-riscv64\nDescription: x\n more\nFilename: pool/13\nSize: 6\nSHA256: bb\n\n\
            Package: debian-installer-14-netboot-arm64\nFilename: pool/14\nSize: 7\nSHA256: cc\n";
        let found = installer(&index[..], "riscv64").unwrap();
        let expected = Listed {
            path: "pool/13".into(),
            bytes: 6,
            sha256: "bb".into(),
        };
        assert_eq!(found, expected);
        assert_eq!(installer(&index[..], "arm64").unwrap().path, "pool/14");
        assert!(
            installer(&index[..], "s390x")
                .unwrap_err()
                .to_string()
                .contains("s390x")
        );
    }

    #[test]
    fn named_packages_are_found_in_the_order_asked_for() {
        let index = b"Package: b\nFilename: pool/b\nSize: 5\nSHA256: aa\n\nPackage: a\nFilename: pool/a\nSize: 6\nSHA256: bb\n";
        let [a, b] = named(&index[..], &["a", "b"]).unwrap();
        assert_eq!((a.path.as_str(), b.bytes), ("pool/a", 5));
        let missing = named(&index[..], &["a", "c"]).unwrap_err().to_string();
        assert!(missing.ends_with("no package c"), "{missing}");
    }
}
