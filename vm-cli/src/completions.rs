//! Completions for shells.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use vm_core::config::SerialConfig;

use crate::args::Cli;

const PROGRAM: &str = "vm-cli";

/// Prints the completions for a shell.
pub(crate) fn print(shell: Shell) -> std::io::Result<()> {
    std::io::stdout().write_all(&script(shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    match shell {
        // clap_complete sets `vm__cli__subcmd__run`, but looks for `vm__subcmd__cli__subcmd__run`: a hyphen in the
        // program's name becomes two underscores, which it then takes for a step to a subcommand.
        Shell::Bash => {
            let (wrong, right) = ("vm__subcmd__cli", "vm__cli");
            let text = String::from_utf8_lossy(&script);
            let text = text.replace(wrong, right);
            with_prefixes(&text).into_bytes()
        }
        _ => script,
    }
}

/// Bash's completions with the words that a path or a name follows: without a space behind them, so that bash completes
/// the path itself, for which a colon begins a new word.
fn with_prefixes(script: &str) -> String {
    let words = SerialConfig::WORDS.join(" ");
    let offered = format!("compgen -W \"{words}\"");
    let more = format!("compgen -W \"{words} file: unix:\"");
    let function = format!("_{}", PROGRAM.replace('-', "__"));
    let inner = format!("{function}_words");
    let script = script.replace(&offered, &more).replacen(
        &format!("{function}() {{"),
        &format!("{inner}() {{"),
        1,
    );
    let outer = format!(
        "{function}() {{\n    {inner} \"$@\"\n    \
         [[ ${{#COMPREPLY[@]}} == 1 && ${{COMPREPLY[0]}} == *[:=] ]] && compopt -o nospace\n    return 0\n}}\n\n"
    );
    // Before the line that names the function to bash.
    match script.rfind("\nif [[") {
        Some(at) => format!("{}\n{outer}{}", &script[..at], &script[at + 1..]),
        None => script + &outer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What bash completes a line to, or `None` where there is no bash.
    fn completed(words: &[&str]) -> Option<Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script(Shell::Bash)).unwrap();
        let program = r#"
            source "$0"
            compopt() { space="$*"; }
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _vm__cli "$1" "${@: -1}" "${@: -2:1}"
            printf '%s\n' "${COMPREPLY[@]}" $space
        "#;
        let output = Command::new("bash")
            .args(["--norc", "-c", program])
            .arg(file.path())
            .args(words)
            .output();
        let output = output.ok()?;
        let text = String::from_utf8(output.stdout).unwrap();
        Some(text.lines().map(str::to_owned).collect())
    }

    #[test]
    fn bash_completes_behind_commands_and_the_values_of_options() {
        for (words, expected) in [
            (&["vm-cli", "ru"][..], &["run"][..]),
            (&["vm-cli", "run", "--kern"], &["--kernel"]),
            (&["vm-cli", "run", "debian", "--sui"], &["--suite"]),
            (
                &["vm-cli", "run", "--accel", ""],
                &["auto", "jit", "interp"],
            ),
            (
                &["vm-cli", "run", "--arch", ""],
                &["auto", "riscv64", "x86_64"],
            ),
            (&["vm-cli", "run", "--cpu", "ma"], &["max"]),
            (&["vm-cli", "run", "--virtio", ""], &["pci", "mmio"]),
            (&["vm-cli", "run", "--rng", "of"], &["off"]),
            (&["vm-cli", "run", "--serial", "st"], &["stdio"]),
            (
                &["vm-cli", "run", "--serial", ""],
                &["stdio", "pty", "null", "file:", "unix:"],
            ),
            (
                &["vm-cli", "run", "--serial", "fi"],
                &["file:", "-o", "nospace"],
            ),
            (&["vm-cli", "run", "--console", "p"], &["pty"]),
            (
                &["vm-cli", "run", "debian", "--console", "u"],
                &["unix:", "-o", "nospace"],
            ),
            (
                &["vm-cli", "run", "--port", ""],
                &["name=", "-o", "nospace"],
            ),
            (&["vm-cli", "run", "--net", ""], &["user", "none"]),
            (&["vm-cli", "run", "--dump", "i"], &["ir", "ir,asm"]),
            (&["vm-cli", "run", "--trace", ""], &["exec"]),
            (&["vm-cli", "disk", ""], &["-h", "--help", "create", "help"]),
            (
                &["vm-cli", "disk", "create", "-"],
                &["-h", "--format", "--help"],
            ),
            (&["vm-cli", "disk", "create", "--format", ""], &["raw"]),
            (&["vm-cli", "run", "--balloon", "of"], &["off"]),
        ] {
            let Some(found) = completed(words) else {
                println!("skipped: there is no bash");
                return;
            };
            assert_eq!(found, expected, "{words:?}");
        }
    }
}
