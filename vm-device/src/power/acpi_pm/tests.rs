use super::*;
use crate::power::recorded;
use crate::testing::{Level, ManualTime};
use AccessWidth::{Byte, Half, Word};

struct Board {
    pm: Arc<AcpiPm>,
    commands: Arc<dyn BusDevice>,
    time: Arc<ManualTime>,
    sci: Arc<Level>,
    log: Arc<Mutex<Vec<SystemEvent>>>,
}

fn board() -> Board {
    let (time, sci) = (Arc::new(ManualTime::default()), Arc::new(Level::default()));
    let (events, log) = recorded();
    let pm = AcpiPm::new(time.clone(), &*time, sci.clone(), events);
    Board {
        commands: pm.command_ports(),
        pm,
        time,
        sci,
        log,
    }
}

#[test]
fn power_button_interrupts_until_acknowledged() {
    let board = board();
    board.pm.write(PM1_ENABLE, Half, pm1::POWER_BUTTON.into());
    assert!(!board.pm.hears_power_button());
    board.commands.write(0, Byte, ACPI_ENABLE.into());
    assert!(board.pm.hears_power_button());
    assert_eq!(board.pm.read(PM1_CONTROL, Half), 1);
    board.pm.press_power_button();
    assert!(board.sci.high());
    assert_eq!(board.pm.read(PM1_STATUS, Half), 0x100);
    assert_eq!(board.pm.read(PM1_STATUS, Word), 0x100_0100);
    board.pm.write(PM1_STATUS, Half, 0xffff);
    assert!(!board.sci.high());
    board.commands.write(0, Byte, ACPI_DISABLE.into());
    board.pm.press_power_button();
    assert!(!board.sci.high());
}

#[test]
fn sleep_of_type_off_turns_off() {
    let board = board();
    board.pm.write(PM1_CONTROL, Half, 5 << 10 | 1 << 13 | 1);
    assert!(board.log.lock().is_empty());
    assert_eq!(board.pm.read(PM1_CONTROL, Half), 5 << 10 | 1);
    board.pm.write(PM1_CONTROL, Half, 1);
    board.pm.write(PM1_CONTROL, Half, 1 << 13 | 1);
    board.pm.write(5, Byte, 0x3c);
    assert_eq!(*board.log.lock(), [SystemEvent::PowerOff; 2]);
}

#[test]
fn timer_counts_at_its_frequency_and_tells_of_its_top_bit() {
    let board = board();
    board.time.advance_to(1_000_000_000);
    assert_eq!(board.pm.read(TIMER, Word), 3_579_545);
    assert_eq!(board.pm.read(TIMER + 1, Byte), 3_579_545 >> 8 & 0xff);
    board.pm.write(PM1_ENABLE, Half, pm1::TIMER.into());
    board.pm.write(PM1_CONTROL, Word, 1);
    let end = (1u64 << 23) * 1_000_000_000 / TIMER_HZ + 1;
    assert_eq!(board.time.deadlines(), [Some(end)]);
    board.time.advance_to(end);
    assert!(board.sci.high());
    assert_eq!(board.time.deadlines(), [None]);
    board.pm.write(PM1_STATUS, Half, 1);
    assert!(!board.sci.high());
    board.time.advance_to(2 * end);
    assert!(board.pm.read(TIMER, Word) < 10, "24 bits");
    assert_eq!(board.pm.read(PM1_STATUS, Half), 1);
}

#[test]
fn general_purpose_events_interrupt_when_enabled() {
    let board = board();
    board.pm.write(PM1_CONTROL, Half, 1);
    board.pm.raise_event(17);
    assert!(!board.sci.high());
    board.pm.write(GPE0_ENABLE + 2, Byte, 2);
    assert!(board.sci.high());
    assert_eq!(board.pm.read(GPE0_STATUS + 2, Byte), 2);
    board.pm.write(GPE0_STATUS + 2, Byte, 2);
    assert!(!board.sci.high());
}

#[test]
fn firmware_finds_that_it_need_not_install_a_handler() {
    let board = board();
    assert_eq!(board.pm.read(SMI_ENABLE, Word), 0x20);
    board.commands.write(1, Byte, 0);
    board.commands.write(0, Byte, 0x77);
    assert_eq!(
        [board.commands.read(0, Byte), board.commands.read(1, Byte)],
        [0x77, 0]
    );
}

#[test]
fn restore_of_a_save_continues_alike() {
    let first = board();
    first.pm.write(PM1_ENABLE, Half, pm1::POWER_BUTTON.into());
    first.pm.write(PM1_CONTROL, Half, 1);
    first.pm.press_power_button();
    let other = board();
    other.pm.restore(first.pm.save()).unwrap();
    assert!(other.sci.high());
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_never_panics(script in crate::testing::script()) {
        let board = board();
        for (step, part) in script.chunks(16).enumerate() {
            crate::fuzzing::drive(&*board.pm, RANGE_BYTES, part);
            crate::fuzzing::drive(&*board.commands, COMMAND_RANGE_BYTES, part);
            board.time.advance_to(step as u64 * 1_000_000_007);
        }
        board.pm.reset();
        proptest::prop_assert!(!board.sci.high());
    }
}
