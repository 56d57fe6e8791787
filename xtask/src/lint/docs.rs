//! A crate's root file begins by saying what the crate is.

use super::{Finding, Repository};

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    repository
        .members
        .iter()
        .filter_map(|member| {
            let roots = ["src/lib.rs", "src/main.rs"].map(|name| member.dir.join(name));
            let file = roots.iter().find_map(|path| repository.file(path))?;
            let missing = !file.text.starts_with("//! ");
            missing.then(|| {
                file.finding(
                    "docs",
                    Some(1),
                    "begin with `//!`: what the crate is".into(),
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    #[test]
    fn check_root_without_docs_is_found() {
        let planted = repository(&[
            ("vm-a/Cargo.toml", ""),
            ("vm-a/src/lib.rs", "mod x;\n//! Too late.\n"),
            ("vm-b/Cargo.toml", ""),
            ("vm-b/src/main.rs", "fn main() {}\n"),
            ("vm-c/Cargo.toml", ""),
            ("vm-c/src/lib.rs", "//! What it is.\n"),
        ]);
        let paths: Vec<_> = check(&planted)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(
            paths,
            ["vm-a/src/lib.rs", "vm-b/src/main.rs"].map(std::path::PathBuf::from)
        );
    }
}
