//! Libraries write nothing to the program's standard output and error: they hand text to whoever embeds them
//! (`vm_core::Notices`).

use std::path::Path;

use super::{Finding, Repository, SourceFile};

/// Crates that are programs, whose text is for the terminal.
const PROGRAMS: &[&str] = &["vm-cli", "xtask", "vm-tests"];
const MACROS: &[&str] = &["println!(", "eprintln!(", "print!(", "eprint!(", "dbg!("];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let of_library = |file: &&SourceFile| {
        let member = repository.member_of(&file.path);
        let source = |member: &super::Member| file.path.starts_with(member.dir.join("src"));
        member.is_some_and(|member| !PROGRAMS.contains(&&*member.name) && source(member))
    };
    let files = repository.files.iter().filter(|file| file.is_rust());
    files
        .filter(of_library)
        .filter(|file| !is_test(&file.path, &file.text))
        .flat_map(|file| {
            // Tests stand behind what they test.
            let code = (1..).zip(file.text.lines());
            let code = code.take_while(|(_, line)| *line != "#[cfg(test)]");
            code.filter_map(|(number, line)| {
                let line = line.trim_start();
                let printed = MACROS.iter().any(|name| line.contains(name));
                let message = "hand the text to whoever embeds this".to_owned();
                (printed && !line.starts_with("//"))
                    .then(|| file.finding("prints", Some(number), message))
            })
        })
        .collect()
}

/// Whether all of a file is for tests.
fn is_test(path: &Path, text: &str) -> bool {
    let tests = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
    path.iter().any(tests) || text.lines().any(|line| line == "#[test]")
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    #[test]
    fn check_library_that_prints_is_found() {
        let tested =
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() { println!(\"skipped\"); }\n}\n";
        let planted = repository(&[
            ("vm-a/Cargo.toml", ""),
            (
                "vm-a/src/a.rs",
                "fn f() {\n    eprintln!(\"lost\");\n    // println!(\"no\");\n}\n",
            ),
            ("vm-a/src/b.rs", tested),
            (
                "vm-a/src/c.rs",
                "#[test]\nfn g() { println!(\"skipped\"); }\n",
            ),
            ("vm-a/src/b/tests.rs", "fn g() { println!(\"skipped\"); }\n"),
            (
                "vm-a/examples/d.rs",
                "fn main() { println!(\"for people\"); }\n",
            ),
            ("vm-cli/Cargo.toml", ""),
            (
                "vm-cli/src/main.rs",
                "fn main() { println!(\"for people\"); }\n",
            ),
        ]);
        let found: Vec<_> = check(&planted)
            .iter()
            .map(|finding| (finding.path.clone(), finding.line))
            .collect();
        assert_eq!(found, [("vm-a/src/a.rs".into(), Some(2))]);
    }
}
