//! A file is one chapter: a limit on its lines of code. Blank lines, comments, tests, and tables in
//! files of their own (`table.rs`, `*_table.rs`) do not count.

use std::path::Path;

use super::{Finding, Repository};

/// Lines of code a file may have.
const LIMIT: usize = 600;

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    repository
        .files
        .iter()
        .filter(|file| file.is_rust() && !is_exempt(&file.path))
        .filter_map(|file| {
            let lines = lines_of_code(&file.text);
            (lines > LIMIT).then(|| {
                let message =
                    format!("{lines} lines of code, more than {LIMIT}: split the chapter");
                file.finding("length", None, message)
            })
        })
        .collect()
}

fn is_exempt(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let test_dir = path.components().any(|part| part.as_os_str() == "tests");
    stem == "tests" || test_dir || stem == "table" || stem.ends_with("_table")
}

fn lines_of_code(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // rustfmt puts the closing brace of a top-level item at the start of a line.
            for line in lines.by_ref() {
                if line == "}" || line.ends_with(';') && !line.starts_with(' ') {
                    break;
                }
            }
            continue;
        }
        let line = line.trim_start();
        count += usize::from(!line.is_empty() && !line.starts_with("//"));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::planted::repository;
    use super::*;

    #[test]
    fn lines_of_code_comments_and_tests_do_not_count() {
        let text = "//! Doc.\n\nuse a;\n// why\nfn f() {\n    g(); // here\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\n\nfn after() {}\n\
                    #[cfg(test)]\nmod tests2;\nfn last() {}\n";
        assert_eq!(lines_of_code(text), 6);
    }

    #[test]
    fn check_one_line_too_many_is_found() {
        let fits = "f();\n".repeat(LIMIT);
        let over = "f();\n".repeat(LIMIT + 1);
        let planted = repository(&[
            ("vm-x/src/fits.rs", &fits),
            ("vm-x/src/over.rs", &over),
            ("vm-x/src/table.rs", &over),
            ("vm-x/src/over/tests.rs", &over),
        ]);
        let findings = check(&planted);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].path.ends_with("over.rs"));
    }
}
