//! The signed list of an archive's indexes (Debian repository format, "Release files").

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::Request;
use super::download;

/// A file with the hash that the signed chain gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listed {
    /// Path below what lists it.
    pub(super) path: String,
    /// Size in bytes.
    pub(super) bytes: u64,
    /// SHA-256 in hexadecimal.
    pub(super) sha256: String,
}

/// The verified text of a Release file.
#[derive(Debug)]
pub(super) struct Release(String);

/// Refuses names that would lead out of their folder.
pub(super) fn check_suite(suite: &str) -> anyhow::Result<()> {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if suite.is_empty() || suite.starts_with('.') || !suite.chars().all(letter) {
        bail!("'{suite}' is no suite: give stable, testing or a release's name");
    }
    Ok(())
}

impl Release {
    /// Fetches and verifies a suite's Release file.
    pub(super) fn fetch(request: &Request) -> anyhow::Result<Self> {
        let address = format!("{}/dists/{}/InRelease", request.mirror, request.suite);
        let signed = download::small(&address)?;
        Self::verify(&signed, &request.keyring)
    }

    fn verify(signed: &[u8], keyring: &Path) -> anyhow::Result<Self> {
        if !keyring.exists() {
            bail!(
                "there is no keyring {}: install the package debian-archive-keyring, or name another with --keyring",
                keyring.display()
            );
        }
        let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
        let (input, output) = (dir.path().join("InRelease"), dir.path().join("Release"));
        std::fs::write(&input, signed).context("cannot write a temporary file")?;
        let run = Command::new("gpgv")
            .args(["--status-fd", "1", "--keyring"])
            .arg(keyring)
            .arg("--output")
            .args([&output, &input])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .context("cannot run gpgv, which verifies signatures: install the package gpgv")?;
        let status = String::from_utf8_lossy(&run.stdout);
        if !is_good(&status) {
            bail!(
                "the mirror's InRelease is not signed by a key in {}: try another --mirror",
                keyring.display()
            );
        }
        let text = std::fs::read_to_string(&output).context("cannot read what gpgv verified")?;
        Ok(Self(text))
    }

    /// The first of `paths` that the suite has.
    pub(super) fn find(&self, paths: &[String]) -> anyhow::Result<Listed> {
        let listed: Vec<_> = section(&self.0, "SHA256").filter_map(entry).collect();
        paths
            .iter()
            .find_map(|path| listed.iter().find(|listed| listed.path == *path))
            .cloned()
            .with_context(|| format!("the suite has no {}: choose another --suite", paths[0]))
    }
}

/// Whether gpgv found a valid signature and no bad one. A further signature by an unknown key does not matter.
fn is_good(status: &str) -> bool {
    let mut words = status
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] "))
        .filter_map(|line| line.split_whitespace().next());
    let all: Vec<_> = words.by_ref().collect();
    let has = |word| all.contains(&word);
    has("GOODSIG") && has("VALIDSIG") && !has("BADSIG")
}

/// The indented lines behind a field.
fn section<'a>(text: &'a str, field: &str) -> impl Iterator<Item = &'a str> {
    let head = format!("{field}:");
    text.lines()
        .skip_while(move |line| line.trim_end() != head)
        .skip(1)
        .take_while(|line| line.starts_with(' '))
}

fn entry(line: &str) -> Option<Listed> {
    let mut words = line.split_whitespace();
    let (sha256, bytes, path) = (words.next()?, words.next()?, words.next()?);
    Some(Listed {
        path: path.to_owned(),
        bytes: bytes.parse().ok()?,
        sha256: sha256.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "Suite: stable\nMD5Sum:\n 00 1 main/a\nSHA256:\n aa 12 main/a\n bb 3 main/b.xz\nEnd: x\n";

    #[test]
    fn find_takes_the_sha256_of_the_first_path_there_is() {
        let release = Release(TEXT.to_owned());
        let found = release
            .find(&["main/c".to_owned(), "main/b.xz".to_owned()])
            .unwrap();
        assert_eq!((found.sha256.as_str(), found.bytes), ("bb", 3));
        let error = release
            .find(&["main/c".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("main/c"), "{error}");
    }

    #[test]
    fn signatures_one_good_and_none_bad_is_needed() {
        let good = "[GNUPG:] GOODSIG k\n[GNUPG:] VALIDSIG f\n";
        assert!(is_good(good));
        assert!(is_good(&format!(
            "[GNUPG:] ERRSIG k\n[GNUPG:] NO_PUBKEY k\n{good}"
        )));
        assert!(!is_good(&format!("{good}[GNUPG:] BADSIG k\n")));
        assert!(!is_good("[GNUPG:] ERRSIG k\n"));
        assert!(!is_good("GOODSIG VALIDSIG"));
        assert!(!is_good("[GNUPG:] EXPKEYSIG k\n[GNUPG:] VALIDSIG f\n"));
    }

    #[test]
    fn verify_unsigned_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = dir.path().join("keys.gpg");
        let error = Release::verify(TEXT.as_bytes(), &keyring)
            .unwrap_err()
            .to_string();
        assert!(error.contains("debian-archive-keyring"), "{error}");
        std::fs::write(&keyring, "").unwrap();
        // Either gpgv says no, or there is none; never yes.
        assert!(Release::verify(TEXT.as_bytes(), &keyring).is_err());
    }

    #[test]
    fn suite_that_leads_elsewhere_is_refused() {
        for suite in ["", "..", "../x", "a/b", "a b"] {
            assert!(check_suite(suite).is_err(), "{suite}");
        }
        check_suite("trixie-updates").unwrap();
    }
}
