//! A crate sees only crates of lower layers; crates of one layer never see each other.

use super::{Finding, Member, Repository};

/// Lowest layer first (docs/architecture.md, the table of crates).
const LAYERS: &[&[&str]] = &[
    &["vm-core", "vm-osal", "vm-softfloat", "vm-testing"],
    &["vm-gc"],
    &["vm-ir", "vm-mem"],
    &["vm-frontend", "vm-device", "vm-accel"],
    &["vm-engine"],
    &["vm-engine-jit", "vm-smmu", "vm-passthrough", "vm-boot"],
    &["vm-platform"],
    &["vm-service"],
    &["vm-debug", "vm-monitor", "vm-plugin"],
    &["vm-cli"],
    &["xtask"],
    &["vm-tests"],
];

/// Pairs that see each other all the same: (crate, sibling, why).
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "vm-osal",
    "vm-core",
    "the host's timers implement vm-core's clock and alarm traits",
)];

/// Crates for tests, which nothing else may have.
const FOR_TESTS: &[&str] = &["vm-testing"];

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    repository.members.iter().flat_map(check_member).collect()
}

fn check_member(member: &Member) -> Vec<Finding> {
    let finding = |message: String| Finding {
        rule: "layering",
        path: member.dir.join("Cargo.toml"),
        line: None,
        message,
    };
    let Some(layer) = layer_of(&member.name) else {
        return vec![finding(format!(
            "{} is in no layer: add it to xtask/src/lint/layering.rs and to the architecture",
            member.name
        ))];
    };
    member
        .dependencies
        .iter()
        .filter_map(|dependency| {
            let below = layer_of(&dependency.name)?;
            // Tests of a crate may use a sibling, as nothing can come to depend on that.
            let excepted = EXCEPTIONS
                .iter()
                .any(|(from, to, _)| *from == member.name && *to == dependency.name);
            if !dependency.dev && FOR_TESTS.contains(&&*dependency.name) {
                let name = &dependency.name;
                return Some(finding(format!("{name} is for tests: a dev-dependency")));
            }
            let allowed = below < layer || (dependency.dev && below == layer) || excepted;
            let relation = if below == layer {
                "of the same layer"
            } else {
                "of a higher layer"
            };
            (!allowed).then(|| {
                finding(format!(
                    "{} must not see {}, {relation}",
                    member.name, dependency.name
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Dependency;
    use super::*;

    fn findings(member: &str, dependency: &str, dev: bool) -> usize {
        let dependencies = vec![Dependency {
            name: dependency.into(),
            dev,
        }];
        check_member(&Member {
            name: member.into(),
            dir: member.into(),
            dependencies,
        })
        .len()
    }

    #[test]
    fn check_member_upward_sibling_and_unknown_are_found() {
        assert_eq!(findings("vm-mem", "vm-engine", false), 1, "upward");
        assert_eq!(
            findings("vm-mem", "vm-engine", true),
            1,
            "upward, for tests"
        );
        assert_eq!(findings("vm-device", "vm-frontend", false), 1, "sibling");
        assert_eq!(
            findings("vm-tests-of-mine", "vm-core", false),
            1,
            "unknown member"
        );
    }

    #[test]
    fn check_member_program_with_what_is_for_tests_is_found() {
        assert_eq!(findings("vm-engine", "vm-testing", false), 1);
        assert_eq!(findings("vm-engine", "vm-testing", true), 0);
    }

    #[test]
    fn check_member_lower_layer_and_outside_crates_pass() {
        assert_eq!(findings("vm-mem", "vm-osal", false), 0);
        assert_eq!(findings("vm-device", "vm-frontend", true), 0);
        assert_eq!(findings("vm-core", "thiserror", false), 0);
    }

    #[test]
    fn check_member_exception_holds_in_one_direction_only() {
        assert_eq!(findings("vm-osal", "vm-core", false), 0);
        assert_eq!(findings("vm-core", "vm-osal", false), 1);
    }
}
