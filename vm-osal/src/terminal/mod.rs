//! The user's terminal: raw mode that is always undone, its size, pseudo-terminals, and the signals that a program
//! answers or ends by.

mod crash;
mod pty;
mod raw;
mod signals;

pub use crash::restore_on_crash;
pub use pty::Pty;
pub use raw::{RawMode, is_terminal, restore, size};
pub use signals::{Signal, Signals, ignore_file_size_limit};
