//! Registers and commands of the 8042 keyboard controller and of what is connected to it (IBM Personal System/2 Hardware
//! Interface Technical Reference, "Keyboard and Auxiliary Device Controller"; IBM PS/2 Mouse Technical Reference).

/// The data port; one byte.
pub const DATA_PORT: u64 = 0x60;
/// The command and status port; one byte.
pub const COMMAND_PORT: u64 = 0x64;

/// Bits of the status register.
pub mod status {
    /// There is a byte to read.
    pub const OUTPUT_FULL: u8 = 1 << 0;
    /// The self-test has passed.
    pub const SYSTEM: u8 = 1 << 2;
    /// The last write was a command.
    pub const COMMAND: u8 = 1 << 3;
    /// The keyboard is not locked.
    pub const UNLOCKED: u8 = 1 << 4;
    /// The byte to read is the mouse's.
    pub const FROM_AUX: u8 = 1 << 5;
}
/// Bits of the command byte.
pub mod mode {
    /// The keyboard interrupts.
    pub const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    /// The mouse interrupts.
    pub const AUX_INTERRUPT: u8 = 1 << 1;
    /// The self-test has passed.
    pub const SYSTEM: u8 = 1 << 2;
    /// The keyboard's line is held.
    pub const KEYBOARD_OFF: u8 = 1 << 4;
    /// The mouse's line is held.
    pub const AUX_OFF: u8 = 1 << 5;
    /// Scan codes are translated to those of the first PC.
    pub const TRANSLATE: u8 = 1 << 6;
    /// After power-on, as firmware finds it.
    pub const RESET: u8 = KEYBOARD_INTERRUPT | AUX_INTERRUPT;
}
/// Commands to the controller.
pub mod command {
    /// Read the command byte; the codes up to [`READ_RAM_LAST`] read the memory after it.
    pub const READ_MODE: u8 = 0x20;
    /// Last of the codes that read.
    pub const READ_RAM_LAST: u8 = 0x3f;
    /// Write the command byte; the codes up to [`WRITE_RAM_LAST`] write the memory after it.
    pub const WRITE_MODE: u8 = 0x60;
    /// Last of the codes that write.
    pub const WRITE_RAM_LAST: u8 = 0x7f;
    /// Hold the mouse's line.
    pub const AUX_OFF: u8 = 0xa7;
    /// Let go of the mouse's line.
    pub const AUX_ON: u8 = 0xa8;
    /// Test the mouse's line.
    pub const AUX_TEST: u8 = 0xa9;
    /// Self-test.
    pub const SELF_TEST: u8 = 0xaa;
    /// Test the keyboard's line.
    pub const KEYBOARD_TEST: u8 = 0xab;
    /// Hold the keyboard's line.
    pub const KEYBOARD_OFF: u8 = 0xad;
    /// Let go of the keyboard's line.
    pub const KEYBOARD_ON: u8 = 0xae;
    /// Read the input port.
    pub const READ_INPUT: u8 = 0xc0;
    /// Read the output port.
    pub const READ_OUTPUT: u8 = 0xd0;
    /// Write the output port.
    pub const WRITE_OUTPUT: u8 = 0xd1;
    /// Put a byte where the keyboard's come.
    pub const AS_KEYBOARD: u8 = 0xd2;
    /// Put a byte where the mouse's come.
    pub const AS_AUX: u8 = 0xd3;
    /// Send a byte to the mouse.
    pub const TO_AUX: u8 = 0xd4;
    /// Address line 20 off.
    pub const A20_OFF: u8 = 0xdd;
    /// Address line 20 on.
    pub const A20_ON: u8 = 0xdf;
    /// From here on: pulse the lines of the output port whose bits are clear.
    pub const PULSE: u8 = 0xf0;
}
/// What a self-test answers.
pub const SELF_TEST_PASSED: u8 = 0x55;
/// What the test of a line answers.
pub const LINE_PASSED: u8 = 0x00;
/// The input port: not locked.
pub const INPUT_VALUE: u8 = 0x80;
/// Bits of the output port.
pub mod output {
    /// The processor runs; low resets it.
    pub const RUN: u8 = 1 << 0;
    /// Address line 20.
    pub const A20: u8 = 1 << 1;
    /// After power-on.
    pub const RESET: u8 = 0xcf;
}

/// What devices answer.
pub mod answer {
    /// Understood.
    pub const ACK: u8 = 0xfa;
    /// Say it again.
    pub const RESEND: u8 = 0xfe;
    /// The self-test has passed.
    pub const PASSED: u8 = 0xaa;
    /// To an echo.
    pub const ECHO: u8 = 0xee;
}
/// Commands to the keyboard.
pub mod keyboard {
    /// Set the lights; an argument follows.
    pub const LIGHTS: u8 = 0xed;
    /// Echo.
    pub const ECHO: u8 = 0xee;
    /// Set or tell the set of scan codes; an argument follows.
    pub const SCAN_SET: u8 = 0xf0;
    /// Who are you?
    pub const IDENTIFY: u8 = 0xf2;
    /// Set delay and rate of repetition; an argument follows.
    pub const TYPEMATIC: u8 = 0xf3;
    /// Scan.
    pub const ENABLE: u8 = 0xf4;
    /// Defaults, and do not scan.
    pub const DISABLE: u8 = 0xf5;
    /// Defaults.
    pub const DEFAULTS: u8 = 0xf6;
    /// First of the commands about make, break and typematic keys of scan code set 3.
    pub const ALL_KEYS_FIRST: u8 = 0xf7;
    /// Last of them.
    pub const ALL_KEYS_LAST: u8 = 0xfa;
    /// Send the last byte again.
    pub const RESEND: u8 = 0xfe;
    /// Reset.
    pub const RESET: u8 = 0xff;
    /// Who it is.
    pub const IDENTITY: [u8; 2] = [0xab, 0x83];
}
/// Commands to the mouse.
pub mod aux {
    /// Scale one to one.
    pub const SCALE_1: u8 = 0xe6;
    /// Scale two to one.
    pub const SCALE_2: u8 = 0xe7;
    /// Set the resolution; an argument follows.
    pub const RESOLUTION: u8 = 0xe8;
    /// Tell the status.
    pub const STATUS: u8 = 0xe9;
    /// Report by itself.
    pub const STREAM: u8 = 0xea;
    /// Report now.
    pub const POLL: u8 = 0xeb;
    /// End wrap mode.
    pub const WRAP_OFF: u8 = 0xec;
    /// Send back what is sent.
    pub const WRAP: u8 = 0xee;
    /// Report only when asked.
    pub const REMOTE: u8 = 0xf0;
    /// Who are you?
    pub const IDENTIFY: u8 = 0xf2;
    /// Set the rate of reports; an argument follows.
    pub const RATE: u8 = 0xf3;
    /// Report.
    pub const ENABLE: u8 = 0xf4;
    /// Do not report.
    pub const DISABLE: u8 = 0xf5;
    /// Defaults.
    pub const DEFAULTS: u8 = 0xf6;
    /// Reset.
    pub const RESET: u8 = 0xff;
    /// Rates that ask for a wheel, and then who it is.
    pub const KNOCK_WHEEL: ([u8; 3], u8) = ([200, 100, 80], 3);
    /// Rates that ask for five buttons, and then who it is.
    pub const KNOCK_BUTTONS: ([u8; 3], u8) = ([200, 200, 80], 4);
    /// Reports in a second after a reset.
    pub const DEFAULT_RATE: u8 = 100;
    /// Resolution after a reset.
    pub const DEFAULT_RESOLUTION: u8 = 2;
}
