//! What the guest has printed, and waiting for more of it.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::escape::Remover;

/// Lines that a failed wait repeats.
const TAIL_LINES: usize = 60;

/// The text did not appear.
#[derive(Debug)]
pub struct Timeout {
    wanted: String,
    waited: Duration,
    /// The stream ended: the machine is gone.
    ended: bool,
    tail: String,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.ended {
            "the console closed"
        } else {
            "time is up"
        };
        write!(
            f,
            "{:?} did not appear in {:.1} s ({why}); the console's last lines:\n{}",
            self.wanted,
            self.waited.as_secs_f64(),
            self.tail
        )
    }
}

#[derive(Default)]
struct Stream {
    text: Vec<u8>,
    ended: bool,
}

/// A console's text so far and a position in it: a wait looks only at what came after the last one.
pub struct Console {
    stream: Arc<(Mutex<Stream>, Condvar)>,
    position: usize,
}

impl Console {
    /// Reads `source` to its end on a thread of its own.
    pub fn of(mut source: impl Read + Send + 'static) -> Self {
        let stream = Arc::new((Mutex::new(Stream::default()), Condvar::new()));
        let shared = Arc::clone(&stream);
        std::thread::spawn(move || {
            let mut remover = Remover::default();
            let mut buffer = [0; 4096];
            loop {
                let count = source.read(&mut buffer).unwrap_or(0);
                let mut stream = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                remover.feed(&buffer[..count], &mut stream.text);
                stream.ended = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self {
            stream,
            position: 0,
        }
    }

    /// Waits until `wanted` appears after the current position, moves behind it, and returns what came
    /// before it.
    pub fn wait_for(&mut self, wanted: &str, within: Duration) -> Result<String, Timeout> {
        assert!(!wanted.is_empty(), "an empty pattern is always there");
        let started = Instant::now();
        let (mutex, arrived) = &*self.stream;
        let mut stream = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        // Text that was searched already need not be searched again.
        let mut from = self.position;
        loop {
            let wanted = wanted.as_bytes();
            if let Some(at) = find(&stream.text[from..], wanted).map(|at| from + at) {
                let before = String::from_utf8_lossy(&stream.text[self.position..at]).into_owned();
                self.position = at + wanted.len();
                return Ok(before);
            }
            from = stream
                .text
                .len()
                .saturating_sub(wanted.len() - 1)
                .max(self.position);
            let waited = started.elapsed();
            if stream.ended || waited >= within {
                return Err(Timeout {
                    wanted: String::from_utf8_lossy(wanted).into_owned(),
                    waited,
                    ended: stream.ended,
                    tail: tail_of(&stream.text),
                });
            }
            stream = arrived
                .wait_timeout(stream, within - waited)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Everything the guest has printed.
    pub fn text(&self) -> String {
        let stream = self.stream.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&stream.text).into_owned()
    }

    /// The last lines, for failure messages.
    pub fn tail(&self) -> String {
        tail_of(self.text().as_bytes())
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

fn tail_of(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn wait_for_second_match_lies_behind_the_first() {
        let mut console = Console::of(Cursor::new(b"one login: two login: three".to_vec()));
        assert_eq!(console.wait_for("login:", SOON).unwrap(), "one ");
        assert_eq!(console.wait_for("login:", SOON).unwrap(), " two ");
        assert!(console.wait_for("login:", SOON).unwrap_err().ended);
    }

    #[test]
    fn wait_for_text_in_pieces_is_found() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut console = Console::of(reader);
        let typist = std::thread::spawn(move || {
            for piece in ["gue", "st", "# "] {
                writer.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        console.wait_for("guest#", SOON).unwrap();
        typist.join().unwrap();
    }

    #[test]
    fn wait_for_silence_times_out_and_shows_the_tail() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"last words\n").unwrap();
        let mut console = Console::of(reader);
        let error = console
            .wait_for("more", Duration::from_millis(50))
            .unwrap_err();
        assert!(!error.ended);
        assert!(error.to_string().contains("last words"), "{error}");
        drop(writer);
    }
}
