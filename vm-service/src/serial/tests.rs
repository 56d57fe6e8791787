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
    let outlet = Outlet::new(pieces.clone()).unwrap();
    for byte in 0..=255_u8 {
        outlet.write(&[byte]);
    }
    outlet.finish();
    outlet.write(b"late");
    let pieces = pieces.0.lock();
    assert_eq!(pieces.concat(), (0..=255).collect::<Vec<u8>>());
    assert!(pieces.len() < 128, "{} writes for 256 bytes", pieces.len());
}

/// A line that tells nobody anything.
fn open(config: &SerialConfig) -> Result<SerialLine, VmError> {
    SerialLine::open(config, &Notices::default())
}

#[test]
fn outlet_reader_that_went_away_is_a_failure_and_no_hang() {
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let outlet = Outlet::new(writer).unwrap();
    outlet.write(b"x");
    let started = Instant::now();
    while outlet.failure().is_none() {
        assert!(started.elapsed() < WITHIN);
        std::thread::sleep(Duration::from_millis(1));
    }
    outlet.write(&vec![0; 4 << 20]);
    outlet.finish();
}

/// Prints in pieces until the outlet is full, and further on, so that the last bytes are `last`.
fn print_much(outlet: &dyn CharSink, last: &[u8]) {
    for _ in 0..48 {
        outlet.write(&[b'x'; 64 << 10]);
    }
    outlet.write(last);
}

#[test]
fn outlet_that_nobody_reads_holds_the_guest_once_and_keeps_the_newest() {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let outlet = Outlet::new(writer).unwrap();
    let started = Instant::now();
    print_much(&outlet, b"first");
    let once = started.elapsed();
    assert!(once >= Duration::from_secs(1), "a reader gets a chance");
    let started = Instant::now();
    print_much(&outlet, b"last words");
    assert!(started.elapsed() < once, "the guest is held once only");
    assert!(outlet.dropped() > 0);
    // A reader that comes late gets what was on its way, and then the newest.
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    outlet.finish();
    drop(outlet);
    let bytes = reader.join().unwrap().unwrap();
    assert!(bytes.ends_with(b"xlast words"));
    assert!(bytes.len() > 1 << 20, "{} bytes", bytes.len());
}

#[test]
fn outlet_slow_reader_gets_everything() {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let outlet = Outlet::new(writer).unwrap();
    let reader = std::thread::spawn(move || {
        let (mut count, mut bytes) = (0, vec![0; 256 << 10]);
        while let Ok(more @ 1..) = reader.read(&mut bytes) {
            count += more;
            std::thread::sleep(Duration::from_millis(10));
        }
        count
    });
    print_much(&outlet, b"");
    outlet.finish();
    assert_eq!(outlet.dropped(), 0);
    drop(outlet);
    assert_eq!(reader.join().unwrap(), 48 * (64 << 10));
}

#[test]
fn outlet_stop_lets_a_waiting_guest_go_and_ends_soon() {
    let (_reader, writer) = UnixStream::pair().unwrap();
    let outlet = Arc::new(Outlet::new(writer).unwrap());
    let guest = outlet.clone();
    let thread = std::thread::spawn(move || print_much(&*guest, b""));
    let started = Instant::now();
    while outlet.waiting_bytes() < outlet::MOST_WAITING_BYTES {
        assert!(started.elapsed() < WITHIN);
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = Instant::now();
    outlet.hurry();
    thread.join().unwrap();
    outlet.finish();
    assert!(started.elapsed() < Duration::from_millis(900));
    assert!(outlet.dropped() > 0);
}

#[test]
fn outlet_end_with_an_unread_pipe_comes_by_itself() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let outlet = Outlet::new(writer).unwrap();
    outlet.write(&[b'x'; 100_000]);
    let started = Instant::now();
    outlet.finish();
    assert!(started.elapsed() < WITHIN);
    assert!((1..100_000).contains(&outlet.dropped()));
}

#[test]
fn outlet_target_without_room_is_tried_again_and_told_once() {
    /// A disk that is full for a while.
    struct Full(Pieces, u32);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1 = self.1.saturating_sub(1);
            match self.1 {
                0 => self.0.write(bytes),
                _ => Err(std::io::ErrorKind::StorageFull.into()),
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (pieces, (sender, told)) = (Pieces::default(), mpsc::channel());
    let trouble = move |error: &std::io::Error| sender.send(error.kind()).unwrap();
    let outlet = Outlet::with_trouble(Full(pieces.clone(), 3), Box::new(trouble)).unwrap();
    outlet.write(b"kept");
    assert_eq!(
        told.recv_timeout(WITHIN).unwrap(),
        std::io::ErrorKind::StorageFull
    );
    outlet.finish();
    assert_eq!(pieces.0.lock().concat(), b"kept");
    assert_eq!(outlet.failure(), None);
    assert!(told.try_recv().is_err(), "told once");
}

#[test]
fn file_line_gets_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = open(&SerialConfig::File(path.clone())).unwrap();
    line.sink().write(b"hello");
    line.finish();
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
}

#[test]
fn file_line_in_a_missing_folder_names_it() {
    let error = open(&SerialConfig::File("/nonexistent/log".into()));
    let text = error.err().unwrap().to_string();
    assert!(text.contains("file:/nonexistent/log"), "{text}");
}

#[test]
fn pty_line_carries_both_directions() {
    let mut line = open(&SerialConfig::Pty).unwrap();
    let (port, typed) = port();
    line.start_input(port).unwrap();
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
fn pty_line_that_nobody_opened_ends_by_itself() {
    let line = open(&SerialConfig::Pty).unwrap();
    line.sink().write(&[b'x'; 20_000]);
    let started = Instant::now();
    line.finish();
    assert!(started.elapsed() < WITHIN);
}

/// A unix line with its socket's path.
fn unix_line(dir: &tempfile::TempDir) -> (SerialLine, PathBuf, mpsc::Receiver<Vec<u8>>) {
    let path = dir.path().join("s");
    let mut line = open(&SerialConfig::Unix(path.clone())).unwrap();
    let (port, typed) = port();
    line.start_input(port).unwrap();
    (line, path, typed)
}

#[test]
fn unix_line_client_that_does_not_read_holds_the_guest_once_and_no_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (line, path, typed) = unix_line(&dir);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"here").unwrap();
    assert_eq!(typed.recv_timeout(WITHIN).unwrap(), b"here");
    let started = Instant::now();
    print_much(&*line.sink(), b"");
    print_much(&*line.sink(), b"");
    assert!(started.elapsed() < WITHIN);
    let started = Instant::now();
    line.sink().hurry();
    line.finish();
    assert!(started.elapsed() < Duration::from_millis(900));
}

#[test]
fn unix_line_without_a_client_holds_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (line, _, _typed) = unix_line(&dir);
    let started = Instant::now();
    print_much(&*line.sink(), b"");
    line.finish();
    assert!(started.elapsed() < Duration::from_millis(900));
}

#[test]
fn unix_line_client_that_has_shut_down_its_half_gets_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let (line, path, typed) = unix_line(&dir);
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(WITHIN)).unwrap();
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(typed.recv_timeout(WITHIN).unwrap(), b"question");
    std::thread::sleep(Duration::from_millis(20));
    line.sink().write(b"answer");
    let mut bytes = [0; 6];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"answer");
}

#[test]
fn unix_line_next_client_is_served_while_the_guest_reads_nothing() {
    /// A guest that reads nothing.
    struct Deaf;
    impl CharInput for Deaf {
        fn offer(&self, _: &[u8]) -> usize {
            0
        }
        fn on_ready(&self, _: Arc<dyn Fn() + Send + Sync>) {}
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut line = open(&SerialConfig::Unix(path.clone())).unwrap();
    let port = SerialInput::new(Arc::new(Deaf));
    line.start_input(port.clone()).unwrap();
    let mut first = UnixStream::connect(&path).unwrap();
    first.write_all(&[b'x'; 150_000]).unwrap();
    drop(first);
    let mut second = UnixStream::connect(&path).unwrap();
    second.set_read_timeout(Some(WITHIN)).unwrap();
    line.sink().write(b"for you");
    let mut bytes = [0; 7];
    second.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"for you");
    assert_eq!(port.waiting_bytes(), 150_000, "nothing typed is lost");
}

#[test]
fn unix_line_keeps_output_for_the_first_client_and_serves_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let config = SerialConfig::Unix(path.clone());
    let mut line = open(&config).unwrap();
    let (port, typed) = port();
    line.start_input(port).unwrap();
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
        open(&config)
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
    assert!(open(&SerialConfig::Unix(path.clone())).is_ok());
    std::fs::write(&path, "precious").unwrap();
    assert!(open(&SerialConfig::Unix(path.clone())).is_err());
    assert_eq!(std::fs::read(path).unwrap(), b"precious");
}
