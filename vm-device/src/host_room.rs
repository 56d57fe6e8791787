//! Waiting for room on the host's disks.
//!
//! A guest cannot do anything about a full disk of the host: an I/O error would make it give up its file system. So what
//! is written for it waits until somebody has made room, and the user is told.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vm_core::Notices;
use vm_core::config::OnFull;

/// Time between two attempts.
const RETRY: Duration = Duration::from_millis(500);

/// The room that the host has for one file.
pub struct HostRoom {
    /// What the file is to the user, as "disk debian.img".
    file: String,
    policy: OnFull,
    notices: Notices,
    /// There was none at the last attempt.
    short: AtomicBool,
}

impl HostRoom {
    /// For writes to `file`, as messages call it; `notices` says when there is no room, and when there is again.
    pub fn new(file: impl Into<String>, policy: OnFull, notices: Notices) -> Self {
        Self {
            file: file.into(),
            policy,
            notices,
            short: AtomicBool::new(false),
        }
    }

    /// For writes that fail at once and tell nobody.
    pub fn unwatched() -> Self {
        Self::new("", OnFull::Report, Notices::default())
    }

    /// Does `work` again and again as long as the host has no room for it. `wait` waits that long; it says false to
    /// give up.
    ///
    /// # Errors
    /// What `work` says, want of room only when waiting is not wanted or was given up.
    pub fn await_room<T>(
        &self,
        mut wait: impl FnMut(Duration) -> bool,
        mut work: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match work() {
                Err(error) if is_want_of_room(&error) => {
                    if !self.short.swap(true, Ordering::Relaxed) {
                        self.tell_full(&error);
                    }
                    if self.policy == OnFull::Report || !wait(RETRY) {
                        return Err(error);
                    }
                }
                done => {
                    if done.is_ok() && self.short.swap(false, Ordering::Relaxed) {
                        let line = format!("{}: there is room again", self.file);
                        self.notices.say(&line);
                    }
                    return done;
                }
            }
        }
    }

    fn tell_full(&self, error: &io::Error) {
        let what_happens = match self.policy {
            OnFull::Pause => "what the guest writes waits until there is room",
            OnFull::Report => "the guest gets write errors",
        };
        self.notices.say(&format!(
            "{}: {}; {what_happens}",
            self.file,
            cause(error.kind())
        ));
    }
}

fn cause(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::QuotaExceeded => "your disk quota on the host is used up",
        io::ErrorKind::FileTooLarge => "the host lets no file become larger ('ulimit -f')",
        _ => "the host's disk is full",
    }
}

fn is_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use parking_lot::Mutex;

    fn room(policy: OnFull) -> (HostRoom, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        let notices = Notices::to(move |line| telling.lock().push(line.to_owned()));
        (HostRoom::new("disk d.img", policy, notices), told)
    }

    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    #[test]
    fn pause_tries_until_there_is_room_and_tells_each_change_once() {
        let (room, told) = room(OnFull::Pause);
        for _ in 0..2 {
            let mut attempts = 0;
            let done = room.await_room(
                |_| true,
                || {
                    attempts += 1;
                    if attempts < 4 {
                        Err(full())
                    } else {
                        Ok(attempts)
                    }
                },
            );
            assert_eq!(done.unwrap(), 4);
        }
        let once = [
            "disk d.img: the host's disk is full; what the guest writes waits until there is room",
            "disk d.img: there is room again",
        ];
        assert_eq!(*told.lock(), [once, once].concat());
    }

    #[test]
    fn pause_ends_when_waiting_is_given_up() {
        let (room, told) = room(OnFull::Pause);
        let mut left = 3;
        let wait = |_| {
            left -= 1;
            left > 0
        };
        let done = room.await_room(wait, || Err::<(), _>(full()));
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((left, told.lock().len()), (0, 1));
    }

    #[test]
    fn report_fails_at_once_and_says_so_once() {
        let (room, told) = room(OnFull::Report);
        for _ in 0..3 {
            let never = |_| panic!("nobody waits");
            let done = room.await_room(never, || Err::<(), _>(full()));
            assert!(done.is_err());
        }
        assert_eq!(told.lock().len(), 1);
        assert!(told.lock()[0].contains("write errors"));
    }

    #[test]
    fn other_errors_are_nothing_to_wait_for() {
        let (room, told) = room(OnFull::Pause);
        let broken = || Err::<(), _>(io::Error::other("a broken disk"));
        assert!(room.await_room(|_| panic!("nobody waits"), broken).is_err());
        assert!(told.lock().is_empty());
    }
}
