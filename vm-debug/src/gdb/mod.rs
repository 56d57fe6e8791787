//! The GDB remote stub (GDB manual, appendix E): serves one debugger at a time over TCP.

mod monitor;
mod registers;
mod riscv;
mod session;
mod target;
mod x86;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use vm_core::{DebugTarget, GuestArch, StopCause};

use session::End;

/// Where the stub listens when only a port is given: debuggers own the guest, so other hosts are kept out.
const DEFAULT_HOST: &str = "127.0.0.1";
/// How often a waiting stub looks whether its machine has ended.
const IDLE_POLL: Duration = Duration::from_millis(50);

/// Why the stub cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum GdbError {
    /// The address cannot be read.
    #[error(
        "'{0}' is no address for gdb to connect to; give PORT, HOST:PORT or tcp::PORT, such as 1234"
    )]
    Address(String),
    /// Another program listens there.
    #[error(
        "gdb's address {0} is in use by another program; choose another port, or 0 for a free one"
    )]
    InUse(String),
    /// The host refused the address.
    #[error("cannot listen for gdb on {address}: {reason}; choose another address")]
    Listen {
        /// The address.
        address: String,
        /// What the host said.
        reason: std::io::Error,
    },
    /// The listening socket failed.
    #[error("gdb can no longer connect: {0}; start the machine again")]
    Accept(std::io::Error),
    /// The stub has no register description for this guest.
    #[error("gdb cannot debug {0} guests; leave the debugger out")]
    Arch(GuestArch),
}

/// A stub that listens for debuggers.
pub struct GdbServer {
    listener: TcpListener,
    on_kill: Box<dyn Fn() + Send + Sync>,
    kills: bool,
}

impl GdbServer {
    /// Listens on `PORT`, `:PORT`, `HOST:PORT` or, as QEMU writes it, `tcp:HOST:PORT`. Without a host it is the
    /// loopback interface; port 0 is a free one, see [`GdbServer::local_addr`].
    ///
    /// # Errors
    /// When the text is no address, the port is in use, or the host refuses the address.
    pub fn bind(address: &str) -> Result<Self, GdbError> {
        let (host, port) =
            split_address(address).ok_or_else(|| GdbError::Address(address.to_owned()))?;
        match TcpListener::bind((host, port)) {
            Ok(listener) => Ok(Self::new(listener)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                Err(GdbError::InUse(format!("{host}:{port}")))
            }
            Err(reason) => Err(GdbError::Listen {
                address: format!("{host}:{port}"),
                reason,
            }),
        }
    }

    /// Serves on a socket that listens already.
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            on_kill: Box::new(|| ()),
            kills: false,
        }
    }

    /// What gdb's `kill` and `monitor quit` do, usually [ending the machine]. Without it, they do what `detach` does.
    ///
    /// [ending the machine]: vm_core::StopCause::Ended
    #[must_use]
    pub fn on_kill(mut self, kill: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_kill = Box::new(kill);
        self.kills = true;
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the host does not say.
    pub fn local_addr(&self) -> Result<SocketAddr, GdbError> {
        self.listener.local_addr().map_err(GdbError::Accept)
    }

    /// Serves one debugger after the other until the machine ends; blocks, so it wants a thread of its own.
    ///
    /// A debugger that connects stops the machine; one that detaches, or whose connection breaks, takes its
    /// breakpoints along and lets the machine run on.
    ///
    /// # Errors
    /// When the guest's architecture has no register description or the socket fails.
    pub fn serve(&self, target: &Arc<dyn DebugTarget>) -> Result<(), GdbError> {
        if !registers::describes(target.arch()) {
            return Err(GdbError::Arch(target.arch()));
        }
        self.listener
            .set_nonblocking(true)
            .map_err(GdbError::Accept)?;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => match session::run(target, stream) {
                    End::Detached => session::let_go(&**target),
                    End::Killed if self.kills => (self.on_kill)(),
                    End::Killed => session::let_go(&**target),
                    End::MachineEnded => return Ok(()),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if matches!(target.wait(0), Some(StopCause::Ended(_))) {
                        return Ok(());
                    }
                    std::thread::sleep(IDLE_POLL);
                }
                // The client was gone before it was accepted, or the host is short of something for now.
                Err(error) if is_passing(error.kind()) => std::thread::sleep(IDLE_POLL),
                Err(error) => return Err(GdbError::Accept(error)),
            }
        }
    }
}

/// Serves debuggers of `target` on `listener` until the machine ends; see [`GdbServer::serve`].
///
/// # Errors
/// When the guest's architecture has no register description or the socket fails.
pub fn serve(target: Arc<dyn DebugTarget>, listener: TcpListener) -> Result<(), GdbError> {
    GdbServer::new(listener).serve(&target)
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

fn split_address(text: &str) -> Option<(&str, u16)> {
    let text = text.strip_prefix("tcp:").unwrap_or(text);
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let host = if host.is_empty() { DEFAULT_HOST } else { host };
    // `u16::from_str` takes a sign, which is no part of a port.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests;
