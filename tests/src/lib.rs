//! The harness of the whole-VM tests: starts the built `vm-cli` as a child process with a guest that
//! `cargo xtask guests` fetched, reads its console, types into it and judges how it ended.
//!
//! What it refuses to do: reach into the virtual machine. A test sees what a person at the terminal
//! sees.
//!
//! Data flow: [`guests_or_skip`] finds the guest's files -> [`Launch`] becomes a command line ->
//! [`Guest`] owns the process -> a reader thread feeds the [`Console`], escape sequences removed ->
//! the test waits for text, types lines, asserts the exit code.
//!
//! Environment: `VM_CLI` names the program under test (default: `release/vm-cli` of the target
//! directory); `VM_TESTS_REQUIRE_GUESTS=1` makes a missing guest a failure instead of a skipped test;
//! `VM_TESTS_EMULATOR=qemu` runs the same tests on the private QEMU, which shows whether a failure is
//! the test's own; `VM_TESTS_TIMEOUT_FACTOR` multiplies every time limit.

mod compile;
mod console;
mod escape;
mod guest;
mod launch;
mod need;
pub mod net;

pub use compile::{compiled, compiled_bare, compiled_for};
pub use console::{Console, Timeout};
pub use guest::Guest;
pub use launch::{Disk, Emulator, Launch, example, options_of_all, vm_cli};
pub use need::guests_or_skip;
pub use xtask::guests::Cache;

use std::time::Duration;

/// Exit codes of `vm-cli run`, as its documentation lists them.
pub mod exit_code {
    /// The guest powered itself off.
    pub const POWER_OFF: i32 = 0;
    /// The host could not do what was asked.
    pub const HOST_ERROR: i32 = 1;
    /// The command line or the configuration file is wrong.
    pub const USAGE: i32 = 2;
    /// The guest asked for a reset and `--no-reboot` was given.
    pub const RESET: i32 = 3;
    /// The guest's kernel panicked.
    pub const PANIC: i32 = 4;
}

/// A time limit for a guest on a loaded machine: `seconds`, times `VM_TESTS_TIMEOUT_FACTOR`.
pub fn limit(seconds: u64) -> Duration {
    let factor = std::env::var("VM_TESTS_TIMEOUT_FACTOR")
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .unwrap_or(1.0);
    Duration::from_secs(seconds).mul_f64(factor)
}

/// The time limit from start to a shell of the busybox guest.
pub fn boot_limit() -> Duration {
    limit(180)
}
