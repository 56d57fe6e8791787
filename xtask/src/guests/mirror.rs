//! The Debian mirror of the host, read from its own package sources at run time
//! (sources.list(5): one-line and deb822 style).

use std::path::Path;

use super::Error;

/// The archive's directory on every Debian mirror; tells it from third-party repositories.
const ARCHIVE_SUFFIX: &str = "/debian";

/// Finds the first URI that ends in `/debian` in the host's package sources below `etc_apt`
/// (`/etc/apt` on a real host). deb822 files win over one-line files, as new installations use them.
pub(crate) fn find(etc_apt: &Path) -> Result<String, Error> {
    let mut files: Vec<_> = std::fs::read_dir(etc_apt.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    let with_extension = |wanted: &'static str| {
        files
            .iter()
            .filter(move |f| f.extension().is_some_and(|e| e == wanted))
            .cloned()
    };
    for file in with_extension("sources") {
        if let Some(uri) = read(&file).lines().filter_map(deb822_uris).find_map(pick) {
            return Ok(uri);
        }
    }
    for file in std::iter::once(etc_apt.join("sources.list")).chain(with_extension("list")) {
        if let Some(uri) = read(&file).lines().filter_map(one_line_uri).find_map(pick) {
            return Ok(uri);
        }
    }
    Err(Error::NoMirror)
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn deb822_uris(line: &str) -> Option<&str> {
    let (field, value) = line.split_once(':')?;
    field.eq_ignore_ascii_case("uris").then_some(value)
}

fn one_line_uri(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    match rest.strip_prefix('[') {
        Some(options) => options.split_once(']').map(|(_, rest)| rest),
        None => Some(rest),
    }
}

/// The archive's URI among the words of a sources line.
fn pick(words: &str) -> Option<String> {
    words
        .split_whitespace()
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains(':') && word.ends_with(ARCHIVE_SUFFIX))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn find_deb822_skips_security_and_comments() {
        let host = host(&[(
            "sources.list.d/debian.sources",
            "Types: deb\n# http://old.invalid/debian\nURIs: http://mirror.invalid/debian-security\n\n\
             Types: deb\nURIs: http://mirror.invalid/debian/\nSuites: stable\n",
        )]);
        assert_eq!(find(host.path()).unwrap(), "http://mirror.invalid/debian");
    }

    #[test]
    fn find_one_line_with_options_reads_the_uri() {
        let host = host(&[
            (
                "sources.list",
                "# deb http://no.invalid/debian x main\ndeb-src http://s.invalid/debian x main\n",
            ),
            (
                "sources.list.d/a.list",
                "deb [arch=amd64 signed-by=/k] https://m.invalid/debian x main\n",
            ),
        ]);
        assert_eq!(find(host.path()).unwrap(), "https://m.invalid/debian");
    }

    #[test]
    fn find_only_third_party_sources_reports_no_mirror() {
        let host = host(&[("sources.list", "deb https://packages.invalid/apt x main\n")]);
        assert!(matches!(find(host.path()), Err(Error::NoMirror)));
    }
}
