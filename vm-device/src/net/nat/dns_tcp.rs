//! The name server's TCP side (RFC 7766): messages behind a length of two bytes. Each connection of the guest has a
//! thread that asks a resolver, or the host itself, question by question.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::dns::look_up;

const CONNECTIONS_MAX: usize = 8;
const CONNECT_WAIT: Duration = Duration::from_secs(2);
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long a guest may keep an idle connection (RFC 7766, 6.2.3: a few seconds).
const IDLE: Duration = Duration::from_secs(20);
const MESSAGE_BYTES_MAX: usize = 0xffff;

#[derive(Default)]
pub(super) struct DnsTcp {
    connections: Arc<AtomicUsize>,
}

impl DnsTcp {
    /// Starts a connection and gives the guest's end of it; `None` when there are too many.
    pub(super) fn connect(&self, resolvers: &[SocketAddr]) -> Option<OwnedFd> {
        let connections = Arc::clone(&self.connections);
        if connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let resolvers = resolvers.to_vec();
        let start = || -> io::Result<OwnedFd> {
            let (ours, guests) = UnixStream::pair()?;
            guests.set_nonblocking(true)?;
            ours.set_read_timeout(Some(IDLE))?;
            ours.set_write_timeout(Some(IDLE))?;
            let connections = Arc::clone(&connections);
            std::thread::Builder::new()
                .name("nat-dns-tcp".into())
                .spawn(move || {
                    // The guest ending the connection is the normal end.
                    let _ = serve(ours, &resolvers);
                    connections.fetch_sub(1, Ordering::Relaxed);
                })?;
            Ok(guests.into())
        };
        let started = start();
        if started.is_err() {
            connections.fetch_sub(1, Ordering::Relaxed);
        }
        started.ok()
    }
}

fn serve(mut guest: UnixStream, resolvers: &[SocketAddr]) -> io::Result<()> {
    let mut upstream = None;
    loop {
        let question = read_message(&mut guest)?;
        if question.len() < 12 {
            return Ok(());
        }
        let answer = match ask(&mut upstream, resolvers, &question) {
            Some(answer) => answer,
            None => look_up(&question, MESSAGE_BYTES_MAX),
        };
        write_message(&mut guest, &answer)?;
    }
}

/// Asks over the connection that stands, or over new ones to each resolver in turn.
fn ask(
    upstream: &mut Option<TcpStream>,
    resolvers: &[SocketAddr],
    question: &[u8],
) -> Option<Vec<u8>> {
    if let Some(mut stream) = upstream.take()
        && let Ok(answer) = exchange(&mut stream, question)
    {
        *upstream = Some(stream);
        return Some(answer);
    }
    resolvers.iter().find_map(|resolver| {
        let mut stream = TcpStream::connect_timeout(resolver, CONNECT_WAIT).ok()?;
        stream.set_read_timeout(Some(ANSWER_WAIT)).ok()?;
        stream.set_write_timeout(Some(ANSWER_WAIT)).ok()?;
        let answer = exchange(&mut stream, question).ok()?;
        *upstream = Some(stream);
        Some(answer)
    })
}

fn exchange(stream: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    write_message(stream, question)?;
    read_message(stream)
}

fn read_message(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    from.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    from.read_exact(&mut message)?;
    Ok(message)
}

fn write_message(to: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    to.write_all(&[&length.to_be_bytes()[..], message].concat())
}
