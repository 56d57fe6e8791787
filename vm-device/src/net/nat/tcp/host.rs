//! The host's end of a connection: a non-blocking stream socket.

use std::net::SocketAddrV4;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};

use super::recv::RecvHalf;
use super::send::SendHalf;

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Io {
    /// Everything that could be moved was.
    Done,
    /// The socket takes no more at present.
    Full,
    /// The peer will send no more.
    End,
    /// The connection is broken.
    Broken,
}

pub(super) struct HostStream {
    fd: OwnedFd,
}

impl HostStream {
    /// Begins to connect.
    pub(super) fn connect(to: SocketAddrV4) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&fd, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self::from(fd)),
            Err(error) => Err(error),
        }
    }

    /// How a connection attempt ended, once the socket is writable.
    pub(super) fn outcome(&self) -> Result<(), Errno> {
        sockopt::socket_error(&self.fd).and_then(|outcome| outcome)
    }

    /// Sends what the guest sent.
    pub(super) fn write(&self, recv: &mut RecvHalf) -> Io {
        while !recv.is_drained() {
            match rustix::net::send(&self.fd, recv.pending().0, SendFlags::NOSIGNAL) {
                Ok(0) | Err(Errno::AGAIN) => return Io::Full,
                Ok(bytes) => recv.consume(bytes),
                Err(Errno::INTR) => {}
                Err(_) => return Io::Broken,
            }
        }
        Io::Done
    }

    /// Takes what is there for the guest, as far as there is room.
    pub(super) fn read(&self, send: &mut SendHalf, may_grow: bool) -> Io {
        let (first, second) = send.room();
        let mut parts = [
            std::io::IoSliceMut::new(first),
            std::io::IoSliceMut::new(second),
        ];
        match rustix::io::readv(&self.fd, &mut parts) {
            Ok(0) => Io::End,
            Ok(bytes) => {
                send.commit(bytes);
                if may_grow {
                    send.grow();
                }
                Io::Done
            }
            Err(Errno::AGAIN | Errno::INTR) => Io::Full,
            Err(_) => Io::Broken,
        }
    }

    /// Tells the peer that the guest sends no more.
    pub(super) fn finish(&self) {
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
    }

    /// Ends the connection so that the peer notices the failure: a reset instead of an orderly end.
    pub(super) fn abort(self) {
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }
}

impl From<OwnedFd> for HostStream {
    fn from(fd: OwnedFd) -> Self {
        // Not possible for a Unix socket, and not needed there.
        let _ = sockopt::set_tcp_nodelay(&fd, true);
        Self { fd }
    }
}

impl AsFd for HostStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
