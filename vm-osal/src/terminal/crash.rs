//! Signals that end the program at once: the terminal is restored first, and one line says which it was.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::time::Duration;

use libc::{c_int, c_void, siginfo_t};

use super::raw;

/// Signals that end a process unless it has a handler, beside those that it waits for ([`super::Signals`]).
const FATAL: [(c_int, &str); 13] = [
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGSYS, "SIGSYS"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGPWR, "SIGPWR"),
];

/// How long the line waits for somebody who does not read.
const LINE_PATIENCE: Duration = Duration::from_millis(100);

struct Crash {
    program: &'static str,
    /// What the signals did before, in the order of [`FATAL`]: Rust's runtime has a handler for stacks that overflow.
    before: [MaybeUninit<libc::sigaction>; FATAL.len()],
}

// SAFETY: actions are plain values; the addresses in them are of functions.
unsafe impl Send for Crash {}
// SAFETY: as above, and nobody changes them.
unsafe impl Sync for Crash {}

static CRASH: OnceLock<Crash> = OnceLock::new();

/// From now on a signal that ends the process restores the terminal and writes a line that begins with `program` to
/// standard error; then the process ends by it. Signals that are ignored stay so. A second call does nothing.
///
/// # Errors
/// What the host says.
pub fn restore_on_crash(program: &'static str) -> io::Result<()> {
    let mut before = [MaybeUninit::<libc::sigaction>::uninit(); FATAL.len()];
    for ((number, _), before) in FATAL.iter().zip(&mut before) {
        // SAFETY: a null pointer tells that there is no new action; the old one goes to memory that is ours.
        if unsafe { libc::sigaction(*number, std::ptr::null(), before.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    if CRASH.set(Crash { program, before }).is_err() {
        return Ok(());
    }
    for ((number, _), before) in FATAL.iter().zip(&before) {
        // SAFETY: it was filled in above.
        if unsafe { before.assume_init_ref() }.sa_sigaction == libc::SIG_IGN {
            // It ends nothing.
            continue;
        }
        // SAFETY: all fields of an action may be zero; the handler does only what handlers may.
        let failed = unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = crashed as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(*number, &action, std::ptr::null_mut()) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Runs as a signal's handler: system calls only, no memory is taken or freed.
extern "C" fn crashed(number: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    raw::restore_in_handler();
    let at = FATAL.iter().position(|row| row.0 == number);
    let known = at.zip(CRASH.get());
    if let Some((at, crash)) = known
        && crate::wait_writable(io::stderr(), LINE_PATIENCE).is_ok()
    {
        for piece in [crash.program, ": ended by ", FATAL[at].1, "\n"] {
            // SAFETY: the piece is readable memory of that length. Nothing can be done about a failure.
            unsafe { libc::write(libc::STDERR_FILENO, piece.as_ptr().cast(), piece.len()) };
        }
    }
    // SAFETY: the host hands over a valid pointer.
    let by_processor = unsafe { (*info).si_code } > 0;
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    match known {
        // The instruction is executed again, and faults again.
        Some((at, crash)) if by_processor && faults.contains(&number) => {
            // SAFETY: what was there before is a valid action.
            unsafe { libc::sigaction(number, crash.before[at].as_ptr(), std::ptr::null_mut()) };
        }
        // SAFETY: the default action is one; the signal is held back until the handler has returned.
        _ => unsafe {
            libc::signal(number, libc::SIG_DFL);
            libc::raise(number);
        },
    }
}
