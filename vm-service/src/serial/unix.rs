//! A socket that one client at a time connects to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};
use vm_osal::NoThread;

use super::Outlet;
use crate::SerialInput;

#[derive(Default)]
struct Current {
    client: Option<Arc<UnixStream>>,
    /// No client will be served any more.
    closed: bool,
}

/// Who is connected.
#[derive(Default)]
struct Clients {
    current: Mutex<Current>,
    changed: Condvar,
}

impl Clients {
    /// Waits for a client; `None` at the end.
    fn wait(&self) -> Option<Arc<UnixStream>> {
        let mut current = self.current.lock();
        while current.client.is_none() && !current.closed {
            self.changed.wait(&mut current);
        }
        match current.closed {
            true => None,
            false => current.client.clone(),
        }
    }

    fn enter(&self, client: &Arc<UnixStream>) {
        self.current.lock().client = Some(client.clone());
        self.changed.notify_all();
    }

    fn leave(&self, client: &Arc<UnixStream>) {
        let mut current = self.current.lock();
        if current
            .client
            .as_ref()
            .is_some_and(|here| Arc::ptr_eq(here, client))
        {
            current.client = None;
        }
    }

    /// Ends every write, now and later.
    fn close(&self) {
        let mut current = self.current.lock();
        current.closed = true;
        if let Some(client) = current.client.take() {
            // It may have gone already.
            let _ = client.shutdown(Shutdown::Both);
        }
        drop(current);
        self.changed.notify_all();
    }
}

/// Writes to whoever is connected. What a client did not take before it went is for the next one.
struct ToClient(Arc<Clients>);

impl Write for ToClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while let Some(client) = self.0.wait() {
            match (&*client).write(bytes) {
                Ok(count) => return Ok(count),
                Err(_) => self.0.leave(&client),
            }
        }
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A listening socket with the client that is connected.
pub(super) struct UnixLine {
    listener: UnixListener,
    clients: Arc<Clients>,
    outlet: Arc<Outlet>,
}

impl UnixLine {
    /// Listens at `path`. A socket that nobody listens at any more is replaced.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let clients = Arc::new(Clients::default());
        let release = clients.clone();
        let outlet = Outlet::new(ToClient(clients.clone())).map_err(io::Error::other)?;
        let outlet = outlet.released_by(move || release.close());
        outlet.set_deserted(true);
        Ok(Self {
            listener,
            clients,
            outlet: Arc::new(outlet),
        })
    }

    pub(super) fn outlet(&self) -> Arc<Outlet> {
        self.outlet.clone()
    }

    /// Serves clients, one after the other, on a thread that the end of the process ends.
    pub(super) fn serve(self, port: SerialInput) -> Result<(), NoThread> {
        let Self {
            listener,
            clients,
            outlet,
        } = self;
        let outlet = Arc::downgrade(&outlet);
        let thread = move || {
            while let Ok((client, _)) = listener.accept() {
                let client = Arc::new(client);
                if !desert(&outlet, false) {
                    return;
                }
                clients.enter(&client);
                let goes_on = read_from(&client, &port);
                // A client that has shut down its half still reads ours.
                vm_osal::wait_for_hang_up(&*client);
                clients.leave(&client);
                if !desert(&outlet, true) || !goes_on {
                    return;
                }
            }
        };
        vm_osal::spawn("serial-in", thread).map(drop)
    }
}

/// Says whether a client is there; false when the machine has ended.
fn desert(outlet: &Weak<Outlet>, deserted: bool) -> bool {
    let outlet = outlet.upgrade();
    outlet.is_some_and(|outlet| {
        outlet.set_deserted(deserted);
        true
    })
}

/// Types what a client sends, up to the end of that; false when the machine has ended. What a client that has gone left
/// in the socket is typed however far the guest is behind, so that the next client need not wait for the guest.
fn read_from(client: &UnixStream, port: &SerialInput) -> bool {
    let mut bytes = [0; 4096];
    loop {
        if !port.wait_for_room(|| vm_osal::has_hung_up(client)) {
            return false;
        }
        match (&mut &*client).read(&mut bytes) {
            Ok(count @ 1..) => {
                if !port.type_ahead(&bytes[..count]) {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return true,
        }
    }
}

fn is_stale(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    let socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    socket && UnixStream::connect(path).is_err_and(refused)
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
