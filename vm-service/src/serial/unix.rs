//! A socket that one client at a time connects to.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use vm_device::chardev::CharSink;

use crate::SerialInput;

/// Output that is kept for the first client.
const KEPT_BYTES: usize = 64 << 10;

#[derive(Default)]
struct Output {
    client: Option<UnixStream>,
    kept: VecDeque<u8>,
}

/// A listening socket with the client that is connected.
pub(super) struct UnixLine {
    listener: UnixListener,
    output: Mutex<Output>,
}

impl UnixLine {
    /// Listens at `path`. A socket that nobody listens at any more is replaced.
    pub(super) fn bind(path: &Path) -> io::Result<Arc<Self>> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        Ok(Arc::new(Self {
            listener,
            output: Mutex::default(),
        }))
    }

    /// Serves clients, one after the other, on a thread that the end of the process ends.
    pub(super) fn serve(self: Arc<Self>, port: SerialInput) {
        let weak = Arc::downgrade(&self);
        let listener = self.listener.try_clone();
        let thread = move || {
            let Ok(listener) = listener else { return };
            while let Ok((mut client, _)) = listener.accept() {
                let Some(line) = weak.upgrade() else { return };
                line.greet(&client);
                drop(line);
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    if !port.send(&bytes[..count]) {
                        return;
                    }
                }
                let Some(line) = weak.upgrade() else { return };
                line.output.lock().client = None;
            }
        };
        let started = std::thread::Builder::new()
            .name("serial-in".into())
            .spawn(thread);
        started.expect("invariant: the host can start a thread");
    }

    fn greet(&self, client: &UnixStream) {
        let mut output = self.output.lock();
        let kept: Vec<u8> = output.kept.drain(..).collect();
        output.client = client.try_clone().ok();
        drop(output);
        self.write(&kept);
    }
}

fn is_stale(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    socket && UnixStream::connect(path).is_err_and(refused)
}

impl CharSink for UnixLine {
    fn write(&self, bytes: &[u8]) {
        let mut output = self.output.lock();
        if let Some(client) = &mut output.client {
            if client.write_all(bytes).is_ok() {
                return;
            }
            output.client = None;
        }
        output.kept.extend(bytes);
        let excess = output.kept.len().saturating_sub(KEPT_BYTES);
        output.kept.drain(..excess);
    }
}

/// A socket's file, removed when this is dropped. It is apart from the line because who keeps the machine's parts, a
/// debugger say, keeps the line's output, too.
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // The file may have been removed by somebody else.
        let _ = std::fs::remove_file(&self.0);
    }
}
