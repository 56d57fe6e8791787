//! `cargo xtask lint`: the house rules that neither rustc nor clippy checks. One file a rule.

mod docs;
mod host_calls;
mod layering;
mod length;
mod manifests;
mod module_paths;
mod names;
mod places;
mod prints;
mod unsafe_policy;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A failure to look at the repository; a broken rule is a [`Finding`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `cargo metadata` failed.
    #[error("cannot read the workspace: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    /// Git could not list the files.
    #[error("cannot list the repository's files with git: {0}")]
    Files(String),
    /// Rules are broken; the findings are printed already.
    #[error("{0} house rules broken")]
    Broken(usize),
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    rule: &'static str,
    path: PathBuf,
    /// One-based; `None` for the file as a whole.
    line: Option<usize>,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {}", self.rule, self.message)
    }
}

/// A text file of the repository.
#[derive(Debug)]
struct SourceFile {
    /// Relative to the repository.
    path: PathBuf,
    text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        self.path
            .extension()
            .is_some_and(|extension| extension == "rs")
    }

    fn finding(&self, rule: &'static str, line: Option<usize>, message: String) -> Finding {
        Finding {
            rule,
            path: self.path.clone(),
            line,
            message,
        }
    }
}

/// A member of the workspace.
#[derive(Debug, Default)]
struct Member {
    name: String,
    /// Relative to the repository.
    dir: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Dependency {
    name: String,
    /// Used by tests and benchmarks only.
    dev: bool,
}

/// What the rules look at.
#[derive(Debug, Default)]
struct Repository {
    root: PathBuf,
    members: Vec<Member>,
    files: Vec<SourceFile>,
}

impl Repository {
    fn open(root: &Path) -> Result<Self, Error> {
        Ok(Self {
            root: root.to_owned(),
            members: members(root)?,
            files: files(root)?,
        })
    }

    /// The workspace member that a file belongs to.
    fn member_of(&self, path: &Path) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| path.starts_with(&member.dir))
    }

    fn file(&self, path: &Path) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn members(root: &Path) -> Result<Vec<Member>, Error> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()?;
    let member = |package: &cargo_metadata::Package| Member {
        name: package.name.to_string(),
        dir: package
            .manifest_path
            .parent()
            .and_then(|dir| dir.strip_prefix(&metadata.workspace_root).ok())
            .map(|dir| dir.as_std_path().to_owned())
            .unwrap_or_default(),
        dependencies: package
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency.name.clone(),
                dev: dependency.kind == cargo_metadata::DependencyKind::Development,
            })
            .collect(),
    };
    Ok(metadata
        .workspace_packages()
        .into_iter()
        .map(member)
        .collect())
}

/// Every text file that is tracked or would be: new files are checked before they are committed.
fn files(root: &Path) -> Result<Vec<SourceFile>, Error> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .map_err(|error| Error::Files(error.to_string()))?;
    if !output.status.success() {
        return Err(Error::Files(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |name: &str| {
        // Deleted but not yet committed, or not text: nothing to check.
        let text = std::fs::read_to_string(root.join(name)).ok()?;
        Some(SourceFile {
            path: name.into(),
            text,
        })
    };
    Ok(names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(read)
        .collect())
}

type Rule = fn(&Repository) -> Vec<Finding>;

const RULES: &[Rule] = &[
    layering::check,
    unsafe_policy::check,
    manifests::check,
    docs::check,
    host_calls::check,
    length::check,
    names::check,
    places::check,
    module_paths::check,
    prints::check,
];

/// Checks the repository at `root` and prints each finding as `path:line: rule: message`.
pub fn run(root: &Path) -> Result<(), Error> {
    let repository = Repository::open(root)?;
    let findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&repository)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!(
            "lint: {} files keep {} rules",
            repository.files.len(),
            RULES.len()
        );
        Ok(())
    } else {
        Err(Error::Broken(findings.len()))
    }
}

#[cfg(test)]
mod planted {
    //! Repositories in memory with violations planted in them.

    use super::*;

    /// A repository with these files and one member for each directory that has a `Cargo.toml`.
    pub(super) fn repository(files: &[(&str, &str)]) -> Repository {
        let members = files
            .iter()
            .filter_map(|(path, _)| path.strip_suffix("/Cargo.toml"))
            .map(|dir| Member {
                name: dir.to_owned(),
                dir: dir.into(),
                ..Member::default()
            })
            .collect();
        let files = files
            .iter()
            .map(|(path, text)| SourceFile {
                path: path.into(),
                text: (*text).to_owned(),
            })
            .collect();
        Repository {
            root: "/srv/checkout/project".into(),
            members,
            files,
        }
    }

    #[test]
    fn display_finding_is_clickable() {
        let repository = repository(&[("vm-x/src/lib.rs", "")]);
        let finding = repository.files[0].finding("docs", Some(3), "no docs".into());
        assert_eq!(finding.to_string(), "vm-x/src/lib.rs:3: docs: no docs");
    }

    #[test]
    fn open_this_repository_finds_its_own_sources() {
        let repository = Repository::open(&crate::repository()).unwrap();
        let this = Path::new("xtask/src/lint/mod.rs");
        assert!(repository.file(this).is_some());
        assert_eq!(repository.member_of(this).unwrap().name, "xtask");
    }
}
