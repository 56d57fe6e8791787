//! What is to run on every host asks `vm-osal` for it, and names no interface of one operating system.

use super::{Finding, Repository};

/// Folders whose code is portable.
const PORTABLE: &[&str] = &[
    "vm-device/src/net",
    "vm-device/src/virtio",
    "vm-device/src/pci",
];
/// Names of one operating system's interfaces.
const INTERFACES: &[&str] = &["std::os::", "rustix::", "libc::"];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let portable = repository
        .files
        .iter()
        .filter(|file| file.is_rust() && PORTABLE.iter().any(|dir| file.path.starts_with(dir)));
    for file in portable {
        for (number, line) in (1..).zip(file.text.lines()) {
            let named = INTERFACES.iter().find(|name| line.contains(*name));
            if let Some(name) = named.filter(|_| !line.trim_start().starts_with("//")) {
                let message = format!("`{name}` is of one host only: go through vm-osal");
                findings.push(file.finding("host-calls", Some(number), message));
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
    fn check_interface_of_one_host_in_portable_code_is_found() {
        let planted = repository(&[
            (
                "vm-device/src/net/a.rs",
                "use std::net;\nuse std::os::fd::AsFd;\n",
            ),
            (
                "vm-device/src/net/b.rs",
                "// rustix::net\nlet a = rustix::net::f();\n",
            ),
            ("vm-osal/src/net/c.rs", "use std::os::fd::AsFd;\n"),
        ]);
        let found: Vec<_> = check(&planted)
            .iter()
            .map(|finding| (finding.path.clone(), finding.line))
            .collect();
        let expected = [("vm-device/src/net/a.rs", 2), ("vm-device/src/net/b.rs", 2)];
        assert_eq!(
            found,
            expected.map(|(path, line)| (path.into(), Some(line)))
        );
    }
}
