//! Files and types are named for what they are; words that fit anything are not names.

use super::{Finding, Repository};

const BANNED: &[&str] = &[
    "manager", "managers", "unified", "advanced", "enhanced", "util", "utils", "utility", "common",
    "helper", "helpers",
];

/// Where a banned word is a term: (path prefix, word, why).
const TERMS: &[(&str, &str, &str)] = &[
    (
        "vm-ir/",
        "helper",
        "the run-time function that translated code calls",
    ),
    (
        "vm-frontend/",
        "helper",
        "the run-time function that translated code calls",
    ),
    (
        "vm-engine/",
        "helper",
        "the run-time function that translated code calls",
    ),
    (
        "vm-engine-jit/",
        "helper",
        "the run-time function that translated code calls",
    ),
    (
        "vm-frontend/src/guest.rs",
        "common",
        "`CommonState`: the part of a vCPU's state that every guest has",
    ),
    (
        "vm-device/src/virtio/",
        "common",
        "the common configuration structure (VIRTIO 1.3, 4.1.4.3)",
    ),
];

const ITEMS: &[&str] = &["struct", "enum", "trait", "type", "mod", "union"];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files.iter().filter(|file| file.is_rust()) {
        let is_term = |word: &str| {
            TERMS.iter().any(|(prefix, term, _)| {
                word.trim_end_matches('s') == *term && file.path.starts_with(prefix)
            })
        };
        let banned = |name: &str| {
            words(name)
                .into_iter()
                .find(|word| BANNED.contains(&word.as_str()) && !is_term(word))
        };
        let path_names = file.path.iter().map(|part| part.to_string_lossy());
        for name in path_names {
            if let Some(word) = banned(name.trim_end_matches(".rs")) {
                findings.push(file.finding(
                    "names",
                    None,
                    format!("`{word}` says nothing: {name}"),
                ));
            }
        }
        for (index, line) in file.text.lines().enumerate() {
            if let Some((name, word)) = item_name(line).and_then(|n| Some((n, banned(n)?))) {
                let message = format!("`{word}` says nothing: {name}");
                findings.push(file.finding("names", Some(index + 1), message));
            }
        }
    }
    findings
}

/// The name that a line declares a type or module by.
fn item_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(after) = rest.strip_prefix("pub") {
        rest = after.trim_start();
        if let Some(scope) = rest.strip_prefix('(') {
            rest = scope.split_once(')')?.1.trim_start();
        }
    }
    let (keyword, rest) = rest.split_once(' ')?;
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    ITEMS.contains(&keyword).then(|| &rest[..end])
}

/// The words of a snake, kebab or camel case name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            let word = words.last_mut().expect("invariant: never empty");
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    #[test]
    fn check_empty_words_are_found_in_files_and_types() {
        let planted = repository(&[
            ("vm-x/Cargo.toml", ""),
            ("vm-x/src/disk_util.rs", "//! X.\n"),
            (
                "vm-x/src/a.rs",
                "pub(crate) struct DiskManager;\n  enum UnifiedBus<T> { A }\n",
            ),
            ("vm-x/src/common/b.rs", "pub trait Helper {}\n"),
        ]);
        let found: Vec<_> = check(&planted).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 5, "{found:#?}");
    }

    #[test]
    fn check_longer_words_and_terms_pass() {
        let planted = repository(&[
            ("vm-x/Cargo.toml", ""),
            (
                "vm-x/src/a.rs",
                "struct Utilisation;\nlet manager = 1;\n// struct Manager\n",
            ),
            ("vm-ir/Cargo.toml", ""),
            ("vm-ir/src/helpers.rs", "pub enum HelperId {}\n"),
            ("vm-device/src/virtio/pci/spec.rs", "pub mod common {}\n"),
        ]);
        assert_eq!(check(&planted), []);
    }
}
