//! The user's terminal: raw mode that is always undone, pseudo-terminals, and the signals that end a program.

mod pty;
mod raw;
mod signals;

pub use pty::Pty;
pub use raw::{RawMode, is_terminal, restore};
pub use signals::{Signal, Signals};
