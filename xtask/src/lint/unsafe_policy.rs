//! Only crates whose purpose needs it may opt in to `unsafe`, and each module says so itself.

use super::{Finding, Repository};

/// The crates that may contain `unsafe` code (docs/architecture.md).
const ALLOWED: &[&str] = &[
    "vm-mem",
    "vm-gc",
    "vm-osal",
    "vm-accel",
    "vm-engine",
    "vm-engine-jit",
    "vm-passthrough",
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files.iter().filter(|file| file.is_rust()) {
        let allowed = repository
            .member_of(&file.path)
            .is_some_and(|member| ALLOWED.contains(&member.name.as_str()));
        let crate_root = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
        for (index, line) in file
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| opts_in(line))
        {
            let message = if !allowed {
                "this crate may not contain unsafe code"
            } else if crate_root && line.trim_start().starts_with("#!") {
                "opt in per module, not for the whole crate"
            } else {
                continue;
            };
            findings.push(file.finding("unsafe", Some(index + 1), message.into()));
        }
    }
    findings
}

fn opts_in(line: &str) -> bool {
    let line = line.trim_start();
    (line.starts_with("#[") || line.starts_with("#!["))
        && line.contains("unsafe_code")
        && ["allow", "expect", "warn"]
            .iter()
            .any(|level| line.contains(level))
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    #[test]
    fn check_opt_in_of_a_safe_crate_is_found() {
        let planted = repository(&[
            ("vm-device/Cargo.toml", ""),
            ("vm-device/src/x.rs", "//! X.\n#![allow(unsafe_code)]\n"),
            (
                "vm-device/src/y.rs",
                "#[expect(dead_code, unsafe_code)]\nmod z {}\n",
            ),
        ]);
        let lines: Vec<_> = check(&planted).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [Some(2), Some(1)]);
    }

    #[test]
    fn check_opt_in_of_a_whole_crate_is_found() {
        let text = "#![allow(unsafe_code)]\n";
        let planted = repository(&[
            ("vm-mem/Cargo.toml", ""),
            ("vm-mem/src/lib.rs", text),
            ("vm-mem/src/access.rs", text),
        ]);
        let findings = check(&planted);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].path.ends_with("lib.rs"));
    }
}
