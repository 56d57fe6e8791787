//! Running the host's programs with their output captured.

use std::process::{Command, Stdio};

use super::Error;

/// Output lines of a failed program that the error repeats.
const ERROR_LINES: usize = 12;

/// Runs `command` to its end and returns its standard output.
///
/// `package` is the Debian package that the error names when the program is missing.
pub(crate) fn output_of(command: &mut Command, package: &'static str) -> Result<Vec<u8>, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Program {
            program: program.clone(),
            package,
            source,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut words = vec![program];
    words.extend(
        command
            .get_args()
            .take(4)
            .map(|word| word.to_string_lossy().into_owned()),
    );
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.trim().is_empty() {
        said = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(ERROR_LINES)..].join("\n");
    Err(Error::Failed {
        command: words.join(" "),
        status: output.status,
        output: tail,
    })
}

/// The same for programs that print text.
pub(crate) fn text_of(command: &mut Command, package: &'static str) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&output_of(command, package)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_missing_program_names_its_package() {
        let error =
            output_of(&mut Command::new("no-such-program-here"), "some-package").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("install Debian's package `some-package`"),
            "{error}"
        );
    }

    #[test]
    fn output_of_failing_program_repeats_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo the reason >&2; exit 3"]);
        let error = output_of(&mut command, "dash").unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");
    }
}
