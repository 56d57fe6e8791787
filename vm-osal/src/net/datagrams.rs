//! Datagrams (UDP), with the news of those that came to nothing.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::sockopt;

use super::Family;
use super::error_queue::{Trouble, keep_troubles, next_trouble};

/// Hops that the hosts of today let a packet pass (RFC 1340's value).
const HOPS_DEFAULT: u8 = 64;

/// What a socket has to tell.
#[derive(Debug)]
pub enum DatagramNews {
    /// A datagram of so many bytes from this peer.
    Datagram(usize, SocketAddr),
    /// A datagram that was sent came to nothing.
    Trouble(Trouble),
}

/// A socket that sends to and receives from anybody. No call blocks.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    family: Family,
    /// Hops of the datagrams to come.
    hops: u8,
}

impl Datagrams {
    /// Opens a socket at this address; port 0 lets the host choose.
    ///
    /// # Errors
    /// The address is taken or none of this host, or no descriptor is left.
    pub fn bind(at: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(at)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            family: Family::of(at.ip()),
            hops: HOPS_DEFAULT,
        })
    }

    /// As [`Self::bind`] at any address and port; [`Self::receive`] tells of troubles too.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn open(family: Family) -> io::Result<Self> {
        let datagrams = Self::bind(SocketAddr::new(family.unspecified(), 0))?;
        keep_troubles(&datagrams.socket, family)?;
        Ok(datagrams)
    }

    /// Where the socket is.
    ///
    /// # Errors
    /// What the host says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a datagram that passes at most `hops` routers, 1 or more.
    ///
    /// # Errors
    /// What the host says; the datagram is lost.
    pub fn send(&mut self, data: &[u8], to: SocketAddr, hops: u8) -> io::Result<()> {
        if hops != self.hops {
            match self.family {
                Family::V4 => sockopt::set_ip_ttl(&self.socket, hops.into())?,
                Family::V6 => sockopt::set_ipv6_unicast_hops(&self.socket, Some(hops))?,
            }
            self.hops = hops;
        }
        self.reply(data, to)
    }

    /// Sends a datagram that goes as far as usual.
    ///
    /// # Errors
    /// What the host says; the datagram is lost.
    pub fn reply(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        // An error that an earlier datagram met is told, once, in place of sending this one.
        match self.socket.send_to(data, to) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                self.socket.send_to(data, to).map(drop)
            }
            sent => sent.map(drop),
        }
    }

    /// The next datagram, put into `buffer`, or what became of one that was sent. `None` when there is nothing.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<DatagramNews> {
        // An error stands in the way of datagrams once; then the queue tells what it was about.
        for _ in 0..2 {
            match self.socket.recv_from(buffer) {
                Ok((bytes, from)) => return Some(DatagramNews::Datagram(bytes, from)),
                Err(_) => {
                    if let Some(trouble) = next_trouble(&self.socket) {
                        return Some(DatagramNews::Trouble(trouble));
                    }
                }
            }
        }
        None
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
