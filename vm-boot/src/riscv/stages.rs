//! Which boot stages go together: mistakes with well-known firmware that would leave the guest silent for ever.

use crate::image::{Program, ProgramKind};
use crate::{BootError, Content};

use super::{Firmware, Privilege};

/// `csrr a0, mhartid`, which U-Boot begins with when it is built for machine mode (U-Boot `arch/riscv/cpu/start.S`).
const READ_MHARTID: [u8; 4] = 0xf140_2573_u32.to_le_bytes();
/// Text in every OpenSBI.
const OPENSBI: &[u8] = b"OpenSBI v";
/// Text in every U-Boot since 2008; the year follows.
const U_BOOT: &[u8] = b"U-Boot 2";
/// Where an OpenSBI that brings its next stage has it (OpenSBI `platform/generic`, `FW_PAYLOAD_OFFSET`).
const PAYLOAD_OFFSET: u64 = 2 << 20;
/// Bytes searched at once.
const WINDOW_BYTES: usize = 64 << 10;
/// No firmware of these kinds is larger.
const SEARCHED_BYTES: u64 = 16 << 20;

/// Refuses OpenSBI that has nothing to start, and U-Boot in a privilege mode that it was not built for. `is_flashed`
/// says whether flash holds code that is started when there is no kernel.
///
/// # Errors
/// With what is missing.
pub(super) fn check(
    firmware: &Firmware,
    kernel: Option<&Program>,
    is_flashed: bool,
) -> Result<(), BootError> {
    if let Firmware::Program(program) = firmware {
        if kernel.is_none() && !is_flashed && is_opensbi_alone(program)? {
            let name = program.name().to_owned();
            return Err(BootError::NothingAfterOpenSbi { name });
        }
        check_mode(program, Privilege::Machine)?;
    }
    let mode = match firmware {
        Firmware::None => Privilege::Machine,
        Firmware::BuiltIn | Firmware::Program(_) => Privilege::Supervisor,
    };
    kernel.map_or(Ok(()), |kernel| check_mode(kernel, mode))
}

fn is_opensbi_alone(program: &Program) -> Result<bool, BootError> {
    for content in parts(program) {
        if content.len() <= PAYLOAD_OFFSET && contains(program, content, OPENSBI)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses U-Boot that was built for the other mode.
fn check_mode(program: &Program, mode: Privilege) -> Result<(), BootError> {
    let ProgramKind::Raw(content) = program.kind() else {
        return Ok(());
    };
    let head = content.head(READ_MHARTID.len());
    let head = head.map_err(|reason| program.unreadable(&reason))?;
    let built_for = match head == READ_MHARTID {
        true => Privilege::Machine,
        false => Privilege::Supervisor,
    };
    if built_for == mode || !contains(program, content, U_BOOT)? {
        return Ok(());
    }
    let name = program.name().to_owned();
    Err(match mode {
        Privilege::Machine => BootError::SupervisorUBoot { name },
        Privilege::Supervisor => BootError::MachineUBoot { name },
    })
}

/// What a program is loaded from.
fn parts(program: &Program) -> Vec<&Content> {
    match program.kind() {
        ProgramKind::Raw(content) => vec![content],
        ProgramKind::Flat(image) => vec![&image.content],
        ProgramKind::BzImage(_) | ProgramKind::Multiboot(_) => Vec::new(),
        ProgramKind::Elf(elf) => elf.segments.iter().map(|part| &part.content).collect(),
    }
}

fn contains(program: &Program, content: &Content, text: &[u8]) -> Result<bool, BootError> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = 0;
    while at < content.len().min(SEARCHED_BYTES) {
        let count = content.read_at(at, &mut window);
        let count = count.map_err(|reason| program.unreadable(&reason))?;
        if memchr::memmem::find(&window[..count], text).is_some() {
            return Ok(true);
        }
        // The next window begins so early that it holds what this one cut off.
        at += (WINDOW_BYTES - text.len()) as u64;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use vm_core::GuestArch;

    use super::*;
    use crate::{BootFile, Role};

    fn program(bytes: Vec<u8>) -> Program {
        let file = BootFile::new(Role::Firmware, "file", bytes).unwrap();
        Program::from_file(&file, GuestArch::Riscv64, 1 << 30).unwrap()
    }

    /// Firmware of `bytes` bytes with a text in it that a window's end cuts in two.
    fn firmware(first: [u8; 4], text: &[u8], bytes: usize) -> Program {
        let mut all = first.to_vec();
        all.resize(WINDOW_BYTES - 3, 0x13);
        all.extend(text);
        all.resize(bytes, 0x13);
        program(all)
    }

    fn opensbi(bytes: usize) -> Firmware {
        Firmware::Program(firmware([0x33; 4], b"OpenSBI v%d", bytes))
    }

    fn message(firmware: &Firmware, kernel: Option<&Program>) -> String {
        let refused = check(firmware, kernel, false);
        refused.expect_err("it does not go together").to_string()
    }

    #[test]
    fn opensbi_needs_a_next_stage_unless_it_brings_one() {
        let kernel = program(vec![0x13; 64]);
        check(&opensbi(256 << 10), Some(&kernel), false).unwrap();
        check(&opensbi(256 << 10), None, true).unwrap();
        check(&opensbi(3 << 20), None, false).unwrap();
        check(&Firmware::Program(program(vec![0x13; 64])), None, false).unwrap();
        let message = message(&opensbi(256 << 10), None);
        assert!(
            message.contains("--kernel") && message.contains("--flash"),
            "{message}"
        );
    }

    #[test]
    fn u_boot_runs_in_the_mode_it_was_built_for() {
        let text = b"U-Boot 2025.01";
        let machine = firmware(READ_MHARTID, text, 128 << 10);
        let supervisor = firmware([0x2a, 0x82, 0x84, 0xae], text, 128 << 10);
        check(&Firmware::None, Some(&machine), false).unwrap();
        check(&Firmware::Program(machine.clone()), None, false).unwrap();
        check(&opensbi(256 << 10), Some(&supervisor), false).unwrap();
        for (firmware, kernel) in [
            (Firmware::None, Some(&supervisor)),
            (Firmware::Program(supervisor.clone()), None),
        ] {
            let message = message(&firmware, kernel);
            assert!(message.contains("--bios fw_dynamic.bin"), "{message}");
        }
        let message = message(&opensbi(256 << 10), Some(&machine));
        assert!(message.contains("qemu-riscv64_smode"), "{message}");
        // A program of somebody's own may begin as it likes.
        let own = firmware(READ_MHARTID, b"V-Boot 2025.01", 128 << 10);
        check(&opensbi(256 << 10), Some(&own), false).unwrap();
    }
}
