//! Moves bytes between the host's end of a connection and the two halves of ours.

use std::io::{ErrorKind, IoSliceMut};

use vm_osal::net::Stream;

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

/// Sends what the guest sent.
pub(super) fn write(host: &Stream, recv: &mut RecvHalf) -> Io {
    while !recv.is_drained() {
        match host.send(recv.pending().0) {
            Ok(0) => return Io::Full,
            Ok(bytes) => recv.consume(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Io::Full,
            Err(_) => return Io::Broken,
        }
    }
    Io::Done
}

/// Takes what is there for the guest, as far as there is room.
pub(super) fn read(host: &Stream, send: &mut SendHalf, may_grow: bool) -> Io {
    let (first, second) = send.room();
    match host.receive(&mut [IoSliceMut::new(first), IoSliceMut::new(second)]) {
        Ok(0) => Io::End,
        Ok(bytes) => {
            send.commit(bytes);
            if may_grow {
                send.grow();
            }
            Io::Done
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Io::Full,
        Err(_) => Io::Broken,
    }
}
