//! What becomes of a PC whose processor shuts down.

use std::process::{Command, Output, Stdio};

/// Where the program is loaded.
const BASE: u32 = 0x10_0000;
/// Where its code begins, behind the header.
const ENTRY: u32 = BASE + 32;

/// A program of multiboot that sets the limit of its interrupt table, which is empty, and raises #UD.
fn program(limit: u16) -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    /// The header says where everything goes.
    const FLAGS: u32 = 1 << 16;
    let end = BASE + 0x100;
    let checksum = 0_u32.wrapping_sub(MAGIC + FLAGS);
    let mut image: Vec<u8> = [MAGIC, FLAGS, checksum, BASE, BASE, end, end, ENTRY]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    // lidt [table]; ud2; table
    image.extend([0x0f, 0x01, 0x1d]);
    image.extend((ENTRY + 9).to_le_bytes());
    image.extend([0x0f, 0x0b]);
    image.extend(limit.to_le_bytes());
    image.resize(0x100, 0);
    image
}

fn run(limit: u16) -> Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let kernel = dir.path().join("kernel");
    std::fs::write(&kernel, program(limit)).expect("a file");
    Command::new(env!("CARGO_BIN_EXE_vm-cli"))
        .args([
            "run",
            "--arch",
            "x86_64",
            "--memory",
            "64M",
            "--serial",
            "null",
            "--no-reboot",
        ])
        .arg("--kernel")
        .arg(&kernel)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

#[test]
fn triple_fault_tells_exceptions_and_registers_and_has_a_code_of_its_own() {
    let output = run(0x3f);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{told}");
    assert!(told.contains("#UD could not be delivered"), "{told}");
    assert!(told.contains("#GP(0x43)"), "{told}");
    assert!(told.contains(&format!("rip {:016x}", ENTRY + 7)), "{told}");
    assert!(told.contains("cr0 0000000000000011"), "{told}");
}

#[test]
fn triple_fault_with_an_empty_table_asks_for_a_reset() {
    let output = run(0);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
}
