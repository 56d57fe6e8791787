//! Which mirror to ask.

use std::path::Path;

use anyhow::bail;

/// Where apt's sources are written down.
const APT_DIRECTORY: &str = "/etc/apt";

/// The mirror that this host's apt uses.
pub(super) fn of_host() -> anyhow::Result<String> {
    match in_directory(Path::new(APT_DIRECTORY)) {
        Some(mirror) => Ok(mirror),
        None => bail!("this host's apt knows no Debian mirror: name one with --mirror URL"),
    }
}

/// The first Debian archive among apt's sources (sources.list(5)).
fn in_directory(apt: &Path) -> Option<String> {
    let mut files: Vec<_> = std::fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.insert(0, apt.join("sources.list"));
    files.iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "list" => of_lines(&text),
            "sources" => of_paragraphs(&text),
            _ => None,
        }
    })
}

/// The address if it is a Debian archive's, without a slash at its end.
fn archive(address: &str) -> Option<String> {
    let address = address.trim_end_matches('/');
    let http = address.starts_with("http://") || address.starts_with("https://");
    (http && address.ends_with("/debian")).then(|| address.to_owned())
}

/// `deb [options] address suite component...`
fn of_lines(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        archive(rest.split_whitespace().next()?)
    })
}

/// Paragraphs with `Types:` and `URIs:`.
fn of_paragraphs(text: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("URIs:"))
        .flat_map(str::split_whitespace)
        .find_map(archive)
}

/// The address as this program asks it: without encryption, which would add nothing to the signature.
pub(super) fn plain(address: &str) -> anyhow::Result<String> {
    let address = address.trim_end_matches('/');
    if let Some(rest) = address.strip_prefix("https://") {
        return Ok(format!("http://{rest}"));
    }
    if !address.starts_with("http://") {
        bail!("'{address}' is no mirror: give an address that begins with http://");
    }
    Ok(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_first_debian_archive_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("sources.list.d");
        std::fs::create_dir(&parts).unwrap();
        assert_eq!(in_directory(dir.path()), None);
        let other = "Types: deb\nURIs: http://a.example/node https://b.example/debian-security\n";
        std::fs::write(parts.join("a.sources"), other).unwrap();
        assert_eq!(in_directory(dir.path()), None);
        let debian = format!("{other}\nTypes: deb\nURIs: http://c.example/debian/\nSuites: x\n");
        std::fs::write(parts.join("b.sources"), debian).unwrap();
        assert_eq!(
            in_directory(dir.path()).as_deref(),
            Some("http://c.example/debian")
        );
        let line =
            "# deb http://no.example/debian x\ndeb [arch=amd64] https://d.example/debian x main\n";
        std::fs::write(dir.path().join("sources.list"), line).unwrap();
        assert_eq!(
            in_directory(dir.path()).as_deref(),
            Some("https://d.example/debian")
        );
    }

    #[test]
    fn plain_takes_http_only() {
        assert_eq!(
            plain("https://a.example/debian/").unwrap(),
            "http://a.example/debian"
        );
        assert!(plain("ftp://a.example").is_err());
        assert!(
            plain("a.example")
                .unwrap_err()
                .to_string()
                .contains("http://")
        );
    }
}
