//! Signals as values, instead of handlers that interrupt anything.

#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

/// A signal that asks a program to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// The interrupt key.
    Interrupt,
    /// A polite request.
    Terminate,
    /// The terminal has gone.
    HangUp,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::HangUp];

    /// The host's number of the signal.
    pub const fn number(self) -> i32 {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::HangUp => libc::SIGHUP,
        }
    }
}

/// The right to wait for the signals that ask this process to end.
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
            for signal in Signal::ALL {
                let mut action = MaybeUninit::<libc::sigaction>::zeroed();
                let known =
                    libc::sigaction(signal.number(), std::ptr::null(), action.as_mut_ptr()) == 0;
                if !known || action.assume_init().sa_sigaction != libc::SIG_IGN {
                    libc::sigaddset(set.as_mut_ptr(), signal.number());
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
            let signal = Signal::ALL.into_iter().find(|s| s.number() == number);
            if let (0, Some(signal)) = (error, signal) {
                return signal;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_sent_to_the_thread_is_waited_for() {
        std::thread::spawn(|| {
            let signals = Signals::take().unwrap();
            // A shell starts background jobs with the others ignored, and ignored signals never arrive.
            for sent in Signal::ALL
                .into_iter()
                .filter(|signal| signal.number() == libc::SIGTERM)
            {
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
