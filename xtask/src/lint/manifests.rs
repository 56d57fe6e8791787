//! Every crate inherits lints, edition and versions from the workspace.

use toml::{Table, Value};

use super::{Finding, Repository};

const DEPENDENCY_TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];
const INHERITED_FIELDS: &[&str] = &["version", "edition", "rust-version", "license"];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &repository.members {
        let path = member.dir.join("Cargo.toml");
        let Some(file) = repository.file(&path) else {
            continue;
        };
        let finding = |message: String| file.finding("manifest", None, message);
        let manifest: Table = match toml::from_str(&file.text) {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(finding(error.message().to_owned()));
                continue;
            }
        };
        if !manifest.get("lints").is_some_and(inherits) {
            findings.push(finding("add `[lints] workspace = true`".into()));
        }
        for field in INHERITED_FIELDS {
            if !manifest
                .get("package")
                .and_then(|p| p.get(field))
                .is_some_and(inherits)
            {
                findings.push(finding(format!("write `{field}.workspace = true`")));
            }
        }
        let mut tables = vec![&manifest];
        if let Some(Value::Table(targets)) = manifest.get("target") {
            tables.extend(targets.values().filter_map(Value::as_table));
        }
        for table in tables {
            for (name, value) in DEPENDENCY_TABLES
                .iter()
                .filter_map(|key| table.get(*key).and_then(Value::as_table))
                .flatten()
            {
                if !inherits(value) {
                    findings.push(finding(format!(
                        "take `{name}` from the workspace: `{name}.workspace = true`"
                    )));
                }
            }
        }
    }
    findings
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    const PACKAGE: &str = "[package]\nname = 'x'\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n";

    fn messages(rest: &str) -> Vec<String> {
        let text = format!("{PACKAGE}{rest}");
        check(&repository(&[("vm-x/Cargo.toml", &text)]))
            .into_iter()
            .map(|f| f.message)
            .collect()
    }

    #[test]
    fn check_own_versions_are_found_in_every_table() {
        let found = messages(
            "[lints]\nworkspace = true\n[dependencies]\na = '1'\nb.workspace = true\n\
             [dev-dependencies]\nc = { version = '1' }\n\
             [target.'cfg(unix)'.dependencies]\nd = { path = '../d' }\n",
        );
        assert_eq!(found.len(), 3, "{found:?}");
        for (message, name) in found.iter().zip(["`a`", "`c`", "`d`"]) {
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn check_missing_lints_and_own_edition_are_found() {
        assert_eq!(messages("").len(), 1);
        let planted = repository(&[(
            "vm-x/Cargo.toml",
            "[package]\nname = 'x'\nversion = '1'\nedition = '2024'\n[lints]\nworkspace = true\n",
        )]);
        assert_eq!(check(&planted).len(), INHERITED_FIELDS.len());
    }

    #[test]
    fn check_inheriting_manifest_passes() {
        assert_eq!(
            messages("[lints]\nworkspace = true\n"),
            Vec::<String>::new()
        );
    }
}
