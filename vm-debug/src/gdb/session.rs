//! One debugger's session: from its connection to its end.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubError};
use vm_core::{DebugTarget, Resume, StopCause};

use super::target::{DebuggedMachine, stop_reason};

/// Longest packet either side sends, in bytes; the target description comes in pieces of it.
const PACKET_BYTES: usize = 16 << 10;
/// Bytes taken from the connection at once.
const INPUT_BYTES: usize = 4 << 10;
/// How long a stop of all virtual CPUs may take. They look at the order to stop every few microseconds.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often a running machine's session looks for input, in milliseconds.
const RUNNING_POLL_MS: u64 = 10;
/// How often a stopped machine's session looks whether the machine has ended.
const IDLE_POLL: Duration = Duration::from_millis(200);

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The debugger has left, or its connection broke.
    Detached,
    /// The debugger wants the machine to end.
    Killed,
    /// There is nothing left to debug.
    MachineEnded,
}

/// Serves one connection to its end. The machine is left stopped unless it has ended.
pub(super) fn run(target: &Arc<dyn DebugTarget>, stream: TcpStream) -> End {
    target.pause();
    let deadline = Instant::now() + STOP_LIMIT;
    loop {
        match target.wait(RUNNING_POLL_MS) {
            Some(StopCause::Ended(_)) => return End::MachineEnded,
            Some(_) => break,
            None if Instant::now() > deadline => return End::Detached,
            None => {}
        }
    }
    let Ok(wire) = Wire::new(stream) else {
        return End::Detached;
    };
    let mut machine = DebuggedMachine::new(target.clone());
    // What the debugger sent amiss has closed its connection, which is all that it needs to be told.
    converse(&mut machine, wire).unwrap_or(End::Detached)
}

/// Removes all break- and watchpoints and lets the machine run.
pub(super) fn let_go(target: &dyn DebugTarget) {
    // A connection that broke may have left the machine running.
    target.pause();
    while target.wait(RUNNING_POLL_MS).is_none() {}
    target.set_breakpoints(&[]);
    target.set_watchpoints(&[]);
    target.resume(&vec![Resume::Continue; target.vcpus() as usize]);
}

type Failed = GdbStubError<std::convert::Infallible, io::Error>;

fn converse(machine: &mut DebuggedMachine, wire: Wire) -> Result<End, Failed> {
    let stub = GdbStub::builder(wire)
        .packet_buffer_size(PACKET_BYTES)
        .build()
        .expect("invariant: the stub allocates its own packet buffer");
    let mut state = stub.run_state_machine(machine)?;
    loop {
        state = match state {
            GdbStubStateMachine::Idle(mut idle) => match idle.borrow_conn().next_waiting() {
                Input::Byte(byte) => {
                    let next = idle.incoming_data(machine, byte)?;
                    if machine.quits {
                        return Ok(End::Killed);
                    }
                    next
                }
                Input::Closed => return Ok(End::Detached),
                Input::Nothing => {
                    if matches!(machine.target().wait(0), Some(StopCause::Ended(_))) {
                        return Ok(End::MachineEnded);
                    }
                    idle.into()
                }
            },
            GdbStubStateMachine::Running(mut running) => {
                let byte = running.borrow_conn().next_at_once();
                match byte {
                    Input::Byte(byte) => running.incoming_data(machine, byte)?,
                    Input::Closed => return Ok(End::Detached),
                    Input::Nothing => match machine.target().wait(RUNNING_POLL_MS) {
                        Some(cause) => {
                            let reason = stop_reason(machine, cause);
                            running.report_stop(machine, reason)?
                        }
                        None => running.into(),
                    },
                }
            }
            // The stop is reported when it has happened, with its true cause.
            GdbStubStateMachine::CtrlCInterrupt(interrupted) => {
                machine.target().pause();
                interrupted.interrupt_handled(machine, None::<super::target::Reason>)?
            }
            GdbStubStateMachine::Disconnected(mut gone) => {
                let _ = gone.borrow_conn().flush();
                return Ok(match gone.get_reason() {
                    DisconnectReason::Disconnect => End::Detached,
                    DisconnectReason::Kill => End::Killed,
                    DisconnectReason::TargetExited(_) | DisconnectReason::TargetTerminated(_) => {
                        End::MachineEnded
                    }
                });
            }
        };
    }
}

/// What a connection has for us.
enum Input {
    Byte(u8),
    /// Nothing for now.
    Nothing,
    Closed,
}

/// A connection with buffers, so that a packet is one host call.
struct Wire {
    stream: TcpStream,
    input: VecDeque<u8>,
    output: Vec<u8>,
}

impl Wire {
    fn new(stream: TcpStream) -> io::Result<Self> {
        // An accepted socket may have inherited the listener's mode.
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE_POLL))?;
        Ok(Self {
            stream,
            input: VecDeque::new(),
            output: Vec::new(),
        })
    }

    /// The next byte, waited for a while.
    fn next_waiting(&mut self) -> Input {
        self.next(Self::fill)
    }

    /// The next byte, if it is there.
    fn next_at_once(&mut self) -> Input {
        self.next(|wire| {
            wire.stream.set_nonblocking(true)?;
            let filled = wire.fill();
            wire.stream.set_nonblocking(false)?;
            filled
        })
    }

    fn next(&mut self, fill: impl FnOnce(&mut Self) -> io::Result<usize>) -> Input {
        if self.input.is_empty() {
            // An acknowledgement may still be waiting for company.
            if self.flush().is_err() {
                return Input::Closed;
            }
            match fill(self) {
                Ok(0) => return Input::Closed,
                Ok(_) => {}
                Err(error) => {
                    return match error.kind() {
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                            Input::Nothing
                        }
                        _ => Input::Closed,
                    };
                }
            }
        }
        self.input.pop_front().map_or(Input::Nothing, Input::Byte)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; INPUT_BYTES];
        let count = io::Read::read(&mut self.stream, &mut bytes)?;
        self.input.extend(&bytes[..count]);
        Ok(count)
    }
}

impl Connection for Wire {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.output.push(byte);
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            io::Write::write_all(&mut self.stream, &self.output)?;
            self.output.clear();
        }
        Ok(())
    }
}
