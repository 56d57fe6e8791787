//! What a program can do with a machine that it embeds, by this crate's own names alone.

use std::time::Duration;

use vm_service::{Bios, GuestPhysAddr, NoText, Outcome, State, Vm, VmHandle};

/// Prints `hi`, then counts in the word at [`COUNTER`] for ever.
const COUNTS: [u32; 10] = [
    0x0000_1397, // auipc t2, 1
    0x1000_02b7, // lui t0, the UART
    0x0680_0313, // li t1, 'h'
    0x0062_8023, // sb t1, 0(t0)
    0x0690_0313, // li t1, 'i'
    0x0062_8023, // sb t1, 0(t0)
    0x0003_a303, // lw t1, 0(t2)
    0x0013_0313, // addi t1, t1, 1
    0x0063_a023, // sw t1, 0(t2)
    0xff5f_f06f, // j to the load
];
const COUNTER: GuestPhysAddr = GuestPhysAddr(0x8000_1000);
const LONG: Duration = Duration::from_secs(120);

fn machine() -> (tempfile::TempDir, Vm) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    std::fs::write(&program, COUNTS.map(u32::to_le_bytes).concat()).unwrap();
    let vm = Vm::builder()
        .bios(Bios::None)
        .kernel(&program)
        .memory(32 << 20)
        .code_cache(16 << 20)
        .build()
        .unwrap();
    (dir, vm)
}

fn counted(handle: &VmHandle) -> u32 {
    let mut bytes = [0; 4];
    handle.read_memory(COUNTER, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

#[test]
fn handle_waits_for_text_pauses_and_reaches_memory() {
    let (_dir, mut vm) = machine();
    let handle = vm.handle();
    let guest = std::thread::spawn(move || vm.run());
    assert_eq!(handle.wait_for_text("hi", LONG), Ok("hi".to_owned()));

    assert!(handle.pause(LONG));
    let stood = counted(&handle);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(counted(&handle), stood);
    handle
        .write_memory(COUNTER, &0x7000_0000_u32.to_le_bytes())
        .unwrap();
    handle.resume();
    let deadline = std::time::Instant::now() + LONG;
    while counted(&handle) <= 0x7000_0000 {
        assert!(
            std::time::Instant::now() < deadline,
            "the guest does not go on"
        );
        std::thread::yield_now();
    }
    let nowhere = handle.read_memory(GuestPhysAddr(0x10), &mut [0]);
    assert!(nowhere.is_err());

    handle.stop();
    assert_eq!(guest.join().unwrap().unwrap(), Outcome::Stopped);
    assert_eq!(handle.state(), State::Ended);
    // What it left is still there to be looked at.
    assert!(counted(&handle) > 0x7000_0000);
    assert!(!handle.pause(LONG));
    let more = handle.wait_for_text("more", LONG);
    assert!(matches!(more, Err(NoText::Ended { .. })), "{more:?}");
    let console = handle.wait_for_console_text("x", LONG);
    assert!(matches!(console, Err(NoText::Ended { .. })), "{console:?}");
}

/// The test above in a process of its own, whose output is looked at.
#[test]
fn program_keeps_its_standard_output() {
    let own = std::env::current_exe().unwrap();
    let output = std::process::Command::new(own)
        .args([
            "--exact",
            "--nocapture",
            "handle_waits_for_text_pauses_and_reaches_memory",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(!text.lines().any(|line| line.contains("hi")), "{text}");
}
