//! The GNU assembler and disassembler as a second opinion.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::length;

/// What binutils 2.40 knows of the extensions here.
const MARCH: &str =
    "rv64gc_zba_zbb_zbc_zbs_zicbom_zicbop_zicboz_zihintpause_zawrs_zfh_zbkb_zbkc_zbkx_svinval";
const TOOL: &str = "riscv64-linux-gnu-";

/// Disassembles words laid out one after the other from address 0; one line of text each, `None` for what is no
/// instruction.
///
/// # Errors
/// Why the tools cannot be used.
pub(super) fn disassemble(words: &[u32], options: &str) -> Result<Vec<Option<String>>, String> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let stem = std::env::temp_dir().join(format!("vm-decode-{}-{run}", std::process::id()));
    let (source, object) = (stem.with_extension("s"), stem.with_extension("o"));
    let mut text = String::new();
    for &word in words {
        let len = length(word as u16);
        let word = if len == 2 { word & 0xffff } else { word };
        text.push_str(&format!(".insn {len}, {word:#x}\n"));
    }
    fs::write(&source, text).map_err(|error| error.to_string())?;
    let run = |tool: &str, args: &[&str]| {
        let output = Command::new(format!("{TOOL}{tool}"))
            .args(args)
            .output()
            .map_err(|error| format!("{TOOL}{tool}: {error}"))?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    };
    let path = |path: &std::path::Path| path.to_str().expect("a UTF-8 path").to_owned();
    let result = run(
        "as",
        &["-march", MARCH, "-o", &path(&object), &path(&source)],
    )
    .and_then(|_| run("objdump", &["-d", "-z", "-M", options, &path(&object)]));
    let _ = (fs::remove_file(&source), fs::remove_file(&object));
    Ok(lines(&String::from_utf8_lossy(&result?), words))
}

/// Picks the instructions out of objdump's listing and writes them as the disassembler here does.
fn lines(listing: &str, words: &[u32]) -> Vec<Option<String>> {
    let found: Vec<_> = listing
        .lines()
        .filter_map(|line| line.strip_prefix(' ')?.split_once(":\t"))
        .map(|(_, rest)| {
            let mut columns = rest.split('\t').skip(1);
            let name = columns.next().unwrap_or_default().trim();
            let operands = columns.next().unwrap_or_default();
            let operands = operands.split(" <").next().unwrap_or_default();
            let operands = operands.split(" #").next().unwrap_or_default().trim();
            // A reserved rounding mode gets a mnemonic all the same.
            let reserved = operands.ends_with(",unknown") && !name.starts_with("fence");
            (!reserved && !name.starts_with('.') && !name.ends_with("unimp"))
                .then(|| text(name, operands))
        })
        .collect();
    assert_eq!(found.len(), words.len(), "one line an instruction");
    found
}

fn text(name: &str, operands: &str) -> String {
    let plain = name.strip_prefix("c.").unwrap_or(name);
    let branches = ["j", "jal", "beqz", "bnez", "blez", "bgez", "bltz", "bgtz"];
    let compares = ["beq", "bne", "blt", "bge", "bltu", "bgeu"];
    if (branches.contains(&plain) || compares.contains(&plain)) && !operands.is_empty() {
        let (before, target) = operands
            .rsplit_once(',')
            .map_or(("", operands), |(b, t)| (b, t));
        let comma = if before.is_empty() { "" } else { "," };
        return format!(
            "{name} {before}{comma}0x{}",
            target.trim_start_matches("0x")
        );
    }
    format!("{name} {operands}").trim_end().to_owned()
}
