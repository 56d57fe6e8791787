//! The package index (Debian repository format, "Packages indices").

use std::io::BufRead;

use anyhow::{Context as _, bail};

use super::release::Listed;

/// Finds the newest installer package for an architecture: `debian-installer-NUMBER-netboot-ARCH`.
pub(super) fn installer(index: impl BufRead, arch: &str) -> anyhow::Result<Listed> {
    let mut best: Option<(u32, Listed)> = None;
    let mut paragraph = Paragraph::default();
    for line in index.lines() {
        let line = line.context("the package index is damaged")?;
        if line.is_empty() {
            std::mem::take(&mut paragraph).offer(arch, &mut best);
        } else {
            paragraph.line(&line);
        }
    }
    paragraph.offer(arch, &mut best);
    match best {
        Some((_, package)) => Ok(package),
        None => bail!("the suite has no installer for {arch}: choose another --suite"),
    }
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

    fn offer(self, arch: &str, best: &mut Option<(u32, Listed)>) {
        let number = self
            .package
            .strip_prefix("debian-installer-")
            .and_then(|rest| {
                rest.strip_suffix(arch)?
                    .strip_suffix("-netboot-")?
                    .parse()
                    .ok()
            });
        let (Some(number), Ok(bytes)) = (number, self.size.parse()) else {
            return;
        };
        if best.as_ref().is_none_or(|(other, _)| *other < number) {
            *best = Some((
                number,
                Listed {
                    path: self.filename,
                    bytes,
                    sha256: self.sha256,
                },
            ));
        }
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
}
