//! The program's own messages, on standard error.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

/// How long a message waits for somebody who does not read; then it is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes one line, which begins with the program's name.
pub(crate) fn say(line: impl Display) {
    write(&format!("vm-cli: {line}\n"));
}

fn write(text: &str) {
    let stderr = std::io::stderr();
    if vm_osal::wait_writable(&stderr, PATIENCE).is_ok() {
        // There is nobody to tell of a failure.
        let _ = stderr.lock().write_all(text.as_bytes());
    }
}

/// Writes text that was asked for; whoever asked wants all of it.
pub(crate) fn show(text: &str) {
    // There is nobody to tell of a failure.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
