use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vm_device::chardev::CharInput;

use super::*;

/// Collects what was written, in pieces.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<Vec<u8>>>>);

impl std::io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Typed(Mutex<mpsc::Sender<Vec<u8>>>);

impl CharInput for Typed {
    fn offer(&self, bytes: &[u8]) -> usize {
        self.0.lock().send(bytes.to_vec()).unwrap();
        bytes.len()
    }

    fn on_ready(&self, _ready: Arc<dyn Fn() + Send + Sync>) {}
}

fn port() -> (SerialInput, mpsc::Receiver<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel();
    (
        SerialInput::new(Arc::new(Typed(Mutex::new(sender)))),
        receiver,
    )
}

const WITHIN: Duration = Duration::from_secs(10);

#[test]
fn outlet_single_bytes_are_written_together_and_none_is_lost() {
    let pieces = Pieces::default();
    let outlet = Outlet::new(pieces.clone());
    for byte in 0..=255_u8 {
        outlet.write(&[byte]);
    }
    outlet.finish();
    outlet.write(b"late");
    let pieces = pieces.0.lock();
    assert_eq!(pieces.concat(), (0..=255).collect::<Vec<u8>>());
    assert!(pieces.len() < 128, "{} writes for 256 bytes", pieces.len());
}

#[test]
fn outlet_flush_waits_for_what_was_printed() {
    let pieces = Pieces::default();
    let outlet = Outlet::new(pieces.clone());
    outlet.write(b"x");
    outlet.flush();
    assert_eq!(pieces.0.lock().concat(), b"x");
}

#[test]
fn outlet_reader_that_went_away_is_a_failure_and_no_hang() {
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let outlet = Outlet::new(writer);
    outlet.write(b"x");
    outlet.flush();
    assert!(outlet.failure().is_some());
    outlet.write(&vec![0; 4 << 20]);
    outlet.finish();
}

#[test]
fn outlet_stuck_reader_makes_the_guest_wait_until_hurried() {
    let (_reader, writer) = UnixStream::pair().unwrap();
    let outlet = Arc::new(Outlet::new(writer));
    let guest = outlet.clone();
    let thread = std::thread::spawn(move || {
        for _ in 0..64 {
            guest.write(&[0; 64 << 10]);
        }
    });
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(100) {
        assert!(!thread.is_finished(), "4 MiB went nowhere");
        std::thread::sleep(Duration::from_millis(5));
    }
    outlet.hurry();
    thread.join().unwrap();
    drop(_reader);
}

#[test]
fn file_line_gets_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = SerialLine::open(&SerialConfig::File(path.clone())).unwrap();
    line.sink().write(b"hello");
    line.finish();
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
}

#[test]
fn file_line_in_a_missing_folder_names_it() {
    let error = SerialLine::open(&SerialConfig::File("/nonexistent/log".into()));
    let text = error.err().unwrap().to_string();
    assert!(text.contains("file:/nonexistent/log"), "{text}");
}

#[test]
fn pty_line_carries_both_directions() {
    let mut line = SerialLine::open(&SerialConfig::Pty).unwrap();
    let (port, typed) = port();
    line.start_input(port);
    let mut program = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(line.place().unwrap())
        .unwrap();
    line.sink().write(b"out");
    let mut bytes = [0; 3];
    program.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"out");
    program.write_all(b"in").unwrap();
    assert_eq!(typed.recv_timeout(WITHIN).unwrap(), b"in");
}

#[test]
fn unix_line_keeps_output_for_the_first_client_and_serves_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let config = SerialConfig::Unix(path.clone());
    let mut line = SerialLine::open(&config).unwrap();
    let (port, typed) = port();
    line.start_input(port);
    line.sink().write(b"early ");
    for word in ["one", "two"] {
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(WITHIN)).unwrap();
        client.write_all(word.as_bytes()).unwrap();
        // What was typed has arrived, so the client is known.
        assert_eq!(typed.recv_timeout(WITHIN).unwrap(), word.as_bytes());
        line.sink().write(word.as_bytes());
        let expected = if word == "one" { "early one" } else { "two" };
        let mut bytes = vec![0; expected.len()];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, expected.as_bytes());
        drop(client);
    }
    assert!(
        SerialLine::open(&config)
            .err()
            .unwrap()
            .to_string()
            .contains("another program")
    );
    drop(line);
    assert!(!path.exists());
}

#[test]
fn unix_line_replaces_a_dead_socket_but_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(SerialLine::open(&SerialConfig::Unix(path.clone())).is_ok());
    std::fs::write(&path, "precious").unwrap();
    assert!(SerialLine::open(&SerialConfig::Unix(path.clone())).is_err());
    assert_eq!(std::fs::read(path).unwrap(), b"precious");
}
