//! A module lies where its name says: no `#[path]`, which lets one crate's tests take in another's, and a test module
//! stand beside its subject under a name of its own.

use super::{Finding, Repository};

/// Files that may use it, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("vm-osal/src/lib.rs", "modules of one kind of host"),
    (
        "vm-engine-jit/tests/changing/main.rs",
        "the interpreter's tests, on translated code",
    ),
    (
        "vm-engine-jit/tests/defined/main.rs",
        "the interpreter's tests, on translated code",
    ),
    (
        "vm-engine-jit/tests/vectors/main.rs",
        "the frontend's forms of instructions, on translated code",
    ),
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let excepted = |path: &std::path::Path| EXCEPTIONS.iter().any(|(file, _)| path.ends_with(file));
    let files = repository.files.iter().filter(|file| file.is_rust());
    for file in files.filter(|file| !excepted(&file.path)) {
        for (number, line) in (1..).zip(file.text.lines()) {
            if line.trim_start().starts_with("#[path") {
                let message = "put the module where its name says".to_owned();
                findings.push(file.finding("module-paths", Some(number), message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    #[test]
    fn check_module_elsewhere_is_found() {
        let planted = repository(&[
            (
                "vm-a/src/a.rs",
                "#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\n",
            ),
            (
                "vm-a/tests/b.rs",
                "mod c {\n    #[path = \"../../x.rs\"]\n    mod d;\n}\n",
            ),
            ("vm-a/src/e.rs", "// #[path] says where.\nmod f;\n"),
            (
                "vm-osal/src/lib.rs",
                "#[path = \"sys/linux.rs\"]\nmod sys;\n",
            ),
        ]);
        let found: Vec<_> = check(&planted)
            .iter()
            .map(|finding| (finding.path.clone(), finding.line))
            .collect();
        let expected = [("vm-a/src/a.rs", 2), ("vm-a/tests/b.rs", 2)];
        assert_eq!(
            found,
            expected.map(|(path, line)| (path.into(), Some(line)))
        );
    }
}
