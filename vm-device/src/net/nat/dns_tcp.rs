//! The name server's TCP side (RFC 7766): messages behind a length of two bytes. Each connection of the guest has a
//! thread that asks a resolver, or the host itself, question by question.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vm_osal::net::{LocalEnd, Stream, local_pair};

use super::dns::Resolvers;
use super::dns_message::{HEADER_BYTES, Rcode, answer, is_answer_to, is_failure, look_up};

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
    pub(super) fn connect(&self, resolvers: &mut Resolvers, now: Instant) -> Option<Stream> {
        let connections = Arc::clone(&self.connections);
        if connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let own_look_up = resolvers.own_look_up();
        let resolvers = resolvers.get(now).to_vec();
        let start = || -> io::Result<Stream> {
            let (guests, ours) = local_pair(IDLE)?;
            let connections = Arc::clone(&connections);
            std::thread::Builder::new()
                .name("nat-dns-tcp".into())
                .spawn(move || {
                    // The guest ending the connection is the normal end.
                    let _ = serve(ours, &resolvers, own_look_up);
                    connections.fetch_sub(1, Ordering::Relaxed);
                })?;
            Ok(guests)
        };
        let started = start();
        if started.is_err() {
            connections.fetch_sub(1, Ordering::Relaxed);
        }
        started.ok()
    }
}

fn serve(mut guest: LocalEnd, resolvers: &[SocketAddr], own_look_up: bool) -> io::Result<()> {
    let mut upstream = None;
    loop {
        let question = read_message(&mut guest)?;
        if question.len() < HEADER_BYTES {
            return Ok(());
        }
        let answer = match ask(&mut upstream, resolvers, &question) {
            Some(answer) => answer,
            None if own_look_up => look_up(&question, MESSAGE_BYTES_MAX),
            None => answer(&question, Rcode::ServerFailure, &[], MESSAGE_BYTES_MAX),
        };
        write_message(&mut guest, &answer)?;
    }
}

/// Asks over the connection that stands, or over new ones to each resolver in turn until one can tell.
fn ask(
    upstream: &mut Option<TcpStream>,
    resolvers: &[SocketAddr],
    question: &[u8],
) -> Option<Vec<u8>> {
    if let Some(mut stream) = upstream.take()
        && let Ok(answer) = exchange(&mut stream, question)
        && !is_failure(&answer)
    {
        *upstream = Some(stream);
        return Some(answer);
    }
    let mut failure = None;
    for resolver in resolvers {
        let connected = || {
            let stream = TcpStream::connect_timeout(resolver, CONNECT_WAIT)?;
            stream.set_read_timeout(Some(ANSWER_WAIT))?;
            stream.set_write_timeout(Some(ANSWER_WAIT))?;
            io::Result::Ok(stream)
        };
        let Ok(mut stream) = connected() else {
            continue;
        };
        match exchange(&mut stream, question) {
            Ok(answer) if is_failure(&answer) => failure = failure.or(Some(answer)),
            Ok(answer) => {
                *upstream = Some(stream);
                return Some(answer);
            }
            Err(_) => {}
        }
    }
    failure
}

fn exchange(stream: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    write_message(stream, question)?;
    let answer = read_message(stream)?;
    match is_answer_to(&answer, question) {
        true => Ok(answer),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
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
