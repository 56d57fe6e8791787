//! Connections: non-blocking stream sockets.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};

/// One end of a connection. No call blocks: one that would gives [`io::ErrorKind::WouldBlock`].
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
}

impl Stream {
    /// Begins to connect. The socket is writable once [`Self::connect_outcome`] has something to tell.
    ///
    /// # Errors
    /// What the host says at once: no route, no descriptor left.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let family = match to {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self::of(socket)),
            Err(error) => Err(error.into()),
        }
    }

    fn of(socket: OwnedFd) -> Self {
        // Not possible for a local pair, and not needed there.
        let _ = sockopt::set_tcp_nodelay(&socket, true);
        Self { socket }
    }

    /// How the attempt to connect ended, once the socket is writable.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect_outcome(&self) -> io::Result<()> {
        Ok(sockopt::socket_error(&self.socket).and_then(|outcome| outcome)?)
    }

    /// Sends as much of `data` as the host takes at present, and tells how many bytes that was.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`], or the connection is broken.
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(&self.socket, data, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => return Ok(sent?),
            }
        }
    }

    /// Takes what is there, as far as there is room, and tells how many bytes that was: none at the peer's end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`], or the connection is broken.
    pub fn receive(&self, into: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        loop {
            match rustix::io::readv(&self.socket, into) {
                Err(Errno::INTR) => {}
                received => return Ok(received?),
            }
        }
    }

    /// Tells the peer that nothing more will be sent.
    pub fn finish(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Ends the connection so that the peer notices a failure: a reset in place of an orderly end.
    pub fn abort(self) {
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

impl TryFrom<TcpStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::of(stream.into()))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The blocking end of a connection within this process.
#[derive(Debug)]
pub struct LocalEnd(UnixStream);

/// A connection within this process; the blocking end waits `patience` at most for each reading and writing.
///
/// # Errors
/// When the host has no descriptor left.
pub fn local_pair(patience: Duration) -> io::Result<(Stream, LocalEnd)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_read_timeout(Some(patience))?;
    far.set_write_timeout(Some(patience))?;
    Ok((Stream::of(near.into()), LocalEnd(far)))
}

impl Read for LocalEnd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for LocalEnd {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
