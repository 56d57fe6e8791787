//! Signals as values, instead of handlers that interrupt anything.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

/// A signal that a program answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// The interrupt key: end.
    Interrupt,
    /// A polite request to end.
    Terminate,
    /// The terminal has gone: end.
    HangUp,
    /// The quit key: end.
    Quit,
    /// The allowed processor time (`ulimit -t`) is used up: end.
    CpuTime,
    /// The terminal has another size.
    Resized,
}

/// Signals with their numbers and names.
const TABLE: [(Signal, i32, &str); 6] = [
    (Signal::Interrupt, libc::SIGINT, "SIGINT"),
    (Signal::Terminate, libc::SIGTERM, "SIGTERM"),
    (Signal::HangUp, libc::SIGHUP, "SIGHUP"),
    (Signal::Quit, libc::SIGQUIT, "SIGQUIT"),
    (Signal::CpuTime, libc::SIGXCPU, "SIGXCPU"),
    (Signal::Resized, libc::SIGWINCH, "SIGWINCH"),
];

impl Signal {
    /// The host's number of the signal.
    pub const fn number(self) -> i32 {
        TABLE[self as usize].1
    }

    /// The host's name of the signal.
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].2
    }
}

/// Has writes beyond the allowed size of files (`ulimit -f`) fail as others do, instead of ending the process.
pub fn ignore_file_size_limit() {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The right to wait for the signals that this process answers.
#[derive(Debug)]
pub struct Signals {
    set: libc::sigset_t,
}

impl Signals {
    /// Holds those signals back from this thread and from all that it starts later; so call it before there are
    /// others. A signal that the parent process had ignored (as `nohup` does) stays so.
    ///
    /// # Errors
    /// What the host says.
    pub fn take() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set, the other calls change it in place; a null pointer tells
        // pthread_sigmask and sigaction that the old mask, or a new action, is not wanted.
        let (set, error) = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for (_, number, _) in TABLE {
                let mut action = MaybeUninit::<libc::sigaction>::zeroed();
                let known = libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) == 0;
                if !known || action.assume_init().sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(set.as_mut_ptr(), number);
                }
            }
            let set = set.assume_init();
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            (set, error)
        };
        match error {
            0 => Ok(Self { set }),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Waits for the next one.
    pub fn wait(&self) -> Signal {
        loop {
            let mut number = 0;
            // SAFETY: both pointers are to values that live through the call.
            let error = unsafe { libc::sigwait(&self.set, &mut number) };
            let signal = TABLE.into_iter().find(|row| row.1 == number);
            if let (0, Some((signal, _, _))) = (error, signal) {
                return signal;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_each_signal_in_its_place() {
        for (at, (signal, number, name)) in TABLE.into_iter().enumerate() {
            assert_eq!(at, signal as usize, "{name}");
            assert_eq!((signal.number(), signal.name()), (number, name));
        }
    }

    #[test]
    fn signal_sent_to_the_thread_is_waited_for() {
        std::thread::spawn(|| {
            let signals = Signals::take().unwrap();
            // A shell starts background jobs with others ignored, and ignored signals never arrive.
            for sent in [Signal::Terminate, Signal::Resized] {
                // SAFETY: the calling thread exists, and holds the signal back.
                let error = unsafe { libc::pthread_kill(libc::pthread_self(), sent.number()) };
                assert_eq!(error, 0);
                assert_eq!(signals.wait(), sent);
            }
        })
        .join()
        .unwrap();
    }
}
