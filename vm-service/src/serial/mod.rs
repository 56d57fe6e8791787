//! What serial ports and consoles can be connected to on the host.
//!
//! Every kind buffers what the guest prints (a port hands over a byte at a time) and writes it by the rule of the
//! [`Outlet`]; [`SerialLine::finish`] writes what is left.

mod outlet;
mod unix;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_core::Notices;
use vm_core::config::SerialConfig;
use vm_device::chardev::{CharSink, NoSink};
use vm_osal::NoThread;
use vm_osal::terminal::Pty;

use crate::transcript::Transcript;
use crate::{SerialInput, VmError};

pub use outlet::Outlet;
use unix::{SocketFile, UnixLine};

/// Starts feeding a port's input from the host.
type StartInput = Box<dyn FnOnce(SerialInput) -> Result<(), NoThread> + Send>;

/// One serial port's connection.
pub(crate) struct SerialLine {
    sink: Arc<dyn CharSink>,
    outlet: Option<Arc<Outlet>>,
    start_input: Option<StartInput>,
    /// Where programs find the other end, when the host chose it.
    place: Option<PathBuf>,
    _socket: Option<SocketFile>,
}

impl SerialLine {
    /// Connects to what a configuration names; standard output without its input.
    pub(crate) fn open(config: &SerialConfig, notices: &Notices) -> Result<Self, VmError> {
        let failed = |reason| failed(config, &reason);
        match config {
            SerialConfig::Null => Ok(Self::to(Arc::new(NoSink))),
            SerialConfig::Stdio => Ok(Self::through(Outlet::new(std::io::stdout())?.into())),
            SerialConfig::File(path) => {
                let file = File::create(path).map_err(failed)?;
                let (path, notices) = (path.clone(), notices.clone());
                let trouble = move |reason: &io::Error| {
                    notices.say(&format!(
                        "cannot write to {}: {reason}; the guest goes on, and the newest 1 MiB of its output waits \
                         for room",
                        path.display()
                    ));
                };
                let outlet = Outlet::with_trouble(file, Box::new(trouble))?;
                Ok(Self::through(outlet.into()))
            }
            SerialConfig::Unix(path) => {
                let line = UnixLine::bind(path).map_err(failed)?;
                Ok(Self {
                    _socket: Some(SocketFile(path.clone())),
                    ..Self::through(line.outlet()).with_input(move |port| line.serve(port))
                })
            }
            SerialConfig::Pty => {
                let pty = Arc::new(Pty::open().map_err(failed)?);
                let reader = PtyEnd(pty.clone());
                let outlet = Outlet::new(PtyEnd(pty.clone()))?;
                Ok(Self {
                    place: Some(pty.path().to_owned()),
                    ..Self::through(outlet.into())
                        .with_input(move |port| spawn_reader(reader, port))
                })
            }
        }
    }

    /// A line to something that an embedding program brought.
    pub(crate) fn to(sink: Arc<dyn CharSink>) -> Self {
        Self {
            sink,
            outlet: None,
            start_input: None,
            place: None,
            _socket: None,
        }
    }

    fn through(outlet: Arc<Outlet>) -> Self {
        Self {
            outlet: Some(outlet.clone()),
            ..Self::to(outlet)
        }
    }

    fn with_input(
        self,
        start: impl FnOnce(SerialInput) -> Result<(), NoThread> + Send + 'static,
    ) -> Self {
        Self {
            start_input: Some(Box::new(start)),
            ..self
        }
    }

    /// Keeps what is printed from now on, for who waits for it.
    pub(crate) fn keep_text(&mut self) -> Arc<Transcript> {
        let transcript = Transcript::of(self.sink.clone());
        self.sink = transcript.clone();
        transcript
    }

    pub(crate) fn sink(&self) -> Arc<dyn CharSink> {
        self.sink.clone()
    }

    pub(crate) fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }

    pub(crate) fn start_input(&mut self, port: SerialInput) -> Result<(), NoThread> {
        match self.start_input.take() {
            Some(start) => start(port),
            None => Ok(()),
        }
    }

    /// Writes what is left.
    pub(crate) fn finish(&self) {
        if let Some(outlet) = &self.outlet {
            outlet.finish();
        }
    }
}

fn failed(config: &SerialConfig, reason: &std::io::Error) -> VmError {
    VmError::Serial {
        to: config.to_string(),
        reason: match reason.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program listens there; choose another path".to_owned()
            }
            _ => reason.to_string(),
        },
    }
}

struct PtyEnd(Arc<Pty>);

impl Read for PtyEnd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for PtyEnd {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Types what arrives from `source` until it or the machine ends.
pub(crate) fn spawn_reader(
    mut source: impl Read + Send + 'static,
    port: SerialInput,
) -> Result<(), NoThread> {
    // The thread sleeps in a read that nothing ends; it is left behind at the end of the machine.
    let thread = move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = source.read(&mut bytes) {
            if !port.send(&bytes[..count]) {
                break;
            }
        }
    };
    vm_osal::spawn("serial-in", thread).map(drop)
}

#[cfg(test)]
mod tests;
