//! The host's end of a guest's connections.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

use crate::launch::Launch;
use crate::limit;

/// Bytes that do not compress and are the same in every run (xorshift64).
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// SHA-256 of `bytes`, as `sha256sum` writes it.
pub fn sha256(bytes: &[u8]) -> String {
    sha256_of([bytes])
}

/// SHA-256 of all `pieces` behind each other, as `sha256sum` writes it.
pub fn sha256_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").expect("invariant: writing to a string does not fail");
    }
    text
}

/// Serves one connection on a port of its own.
///
/// # Panics
/// When the host has no port, or the connection does not come.
pub fn serve<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("invariant: bound").port();
    let server = std::thread::spawn(move || {
        let (connection, _) = listener.accept().expect("a connection");
        let patience = Some(limit(60));
        connection.set_read_timeout(patience).expect("a time limit");
        connection
            .set_write_timeout(patience)
            .expect("a time limit");
        serve(connection)
    });
    (port, server)
}

/// The machine with a network whose address the guest asks for before its shell.
pub fn networked(launch: Launch) -> Launch {
    Launch {
        network: true,
        ..launch.with_words("net=dhcp")
    }
}
