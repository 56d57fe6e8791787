//! Threads that the host may refuse.

use std::io;
use std::thread::{Builder, JoinHandle};

/// The host has no more threads for this program.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host cannot start the thread '{name}': {reason}; end other programs, or raise the limit of processes (ulimit -u)"
)]
pub struct NoThread {
    /// What the thread was to be called.
    pub name: String,
    /// What the host said.
    pub reason: io::Error,
}

/// Starts a thread with the standard library's stack.
///
/// # Errors
/// When the host refuses it.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, NoThread> {
    start(name, Builder::new(), work)
}

/// Starts a thread with a stack of `stack_bytes`.
///
/// # Errors
/// When the host refuses it.
pub fn spawn_with_stack<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, NoThread> {
    start(name, Builder::new().stack_size(stack_bytes), work)
}

fn start<T: Send + 'static>(
    name: &str,
    builder: Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, NoThread> {
    let started = builder.name(name.to_owned()).spawn(work);
    started.map_err(|reason| NoThread {
        name: name.to_owned(),
        reason,
    })
}
