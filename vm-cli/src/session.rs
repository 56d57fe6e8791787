//! One run of a machine on this terminal.

use std::fs::File;
use std::io::{BufWriter, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use vm_core::Notices;
use vm_core::config::{SerialConfig, VmConfig};
use vm_debug::gdb::GdbServer;
use vm_debug::trace::TextTrace;
use vm_osal::terminal::{self, RawMode, Signal, Signals};
use vm_service::serial::Outlet;
use vm_service::{CharSink as _, SerialInput, Vm, VmHandle};

use crate::escape::{self, EscapeKey, Typed};
use crate::exit::{self, Exit};
use crate::monitor::{Action, Monitor};
use crate::symbols::Symbols;

/// Runs a machine to its end.
pub(crate) fn run(config: VmConfig) -> anyhow::Result<Exit> {
    let signals = Signals::take().context("cannot take over signals")?;
    restore_terminal_on_panic();
    let running = Arc::new(OnceLock::new());
    // From here on: a file that is opened below may be a pipe that nobody writes to.
    let ended_by = stop_on_signals(signals, running.clone());

    let to_terminal = |port: Option<&SerialConfig>| port == Some(&SerialConfig::Stdio);
    let serial = to_terminal(Some(&config.serial));
    let console = to_terminal(config.console.as_ref());
    let screen = (serial || console).then(|| Arc::new(Outlet::new(std::io::stdout())));
    let gdb = config.gdb.clone();
    let waits = gdb.as_ref().is_some_and(|gdb| gdb.wait);
    let gdb = gdb.map(|gdb| GdbServer::bind(&gdb.address)).transpose()?;
    let kernel = config.kernel.clone();
    let trace = config.trace.clone();
    let stats = config.stats;
    let mut builder = Vm::builder()
        .start_paused(waits)
        .notices(Notices::to(|line| eprintln!("vm-cli: {line}")))
        .config(config);
    if let Some(file) = trace {
        builder = builder.trace(trace_to(&file, kernel.clone())?);
    }
    if let Some(screen) = &screen {
        builder = match serial {
            true => builder.serial_sink(screen.clone()),
            false => builder.console_sink(screen.clone()),
        };
    }
    let mut vm = builder.build()?;
    let handle = vm.handle();
    eprintln!("vm-cli: {}", vm.accel());
    for place in vm.places() {
        eprintln!("vm-cli: serial port at {}", place.display());
    }
    if let Some(gdb) = gdb {
        serve_gdb(gdb, waits, &handle)?;
    }

    running.get_or_init(|| handle.clone());
    let mut raw = None;
    if let Some(screen) = &screen {
        let input = match serial {
            true => Some(handle.serial()),
            false => handle.console(),
        };
        let input = input.context("the machine has no such console")?.clone();
        let stdin = std::io::stdin();
        if terminal::is_terminal(&stdin) {
            eprintln!("vm-cli: Ctrl-A h for help, Ctrl-A x to quit");
            raw = Some(RawMode::enter(&stdin).context("cannot take over the terminal")?);
            let keyboard = Keyboard {
                input,
                screen: screen.clone(),
                handle: handle.clone(),
                symbols: Symbols::of(kernel),
            };
            spawn("keyboard", move || keyboard.read());
        } else {
            spawn("input", move || pass_through(&input));
        }
    }
    let outcome = vm.run();
    let statistics = stats.then(|| vm.statistics().to_vec());
    drop(vm);
    let failure = screen.and_then(|screen| {
        screen.finish();
        screen.failure()
    });
    drop(raw);
    for (vcpu, counts) in statistics.iter().flatten().enumerate() {
        for (name, count) in counts {
            eprintln!("vm-cli: CPU {vcpu}: {name}: {count}");
        }
    }
    let outcome = outcome?;
    if let Some(signal) = *ended_by.lock().unwrap_or_else(PoisonError::into_inner) {
        return Ok(Exit::of_signal(signal));
    }
    if let Some(message) = exit::message(outcome) {
        eprintln!("vm-cli: {message}");
    }
    if let Some(reason) = failure {
        eprintln!("vm-cli: not all of the guest's output was written: {reason}");
    }
    Ok(Exit::of_outcome(outcome))
}

/// A trace into a file, with the kernel's names where it has some.
fn trace_to(file: &Path, kernel: Option<PathBuf>) -> anyhow::Result<Arc<TextTrace>> {
    let out = File::create(file)
        .with_context(|| format!("cannot write the trace to {}", file.display()))?;
    let out = Box::new(BufWriter::with_capacity(1 << 20, out));
    Ok(Arc::new(TextTrace::new(out, Symbols::of(kernel).table())))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let started = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    started.expect("invariant: the host can start a thread");
}

/// Lets a debugger at the machine, which may wait for it.
fn serve_gdb(gdb: GdbServer, waits: bool, handle: &VmHandle) -> anyhow::Result<()> {
    let place = gdb.local_addr()?;
    match waits {
        true => eprintln!("vm-cli: the guest waits for gdb at {place}"),
        false => eprintln!("vm-cli: gdb can connect at {place}"),
    }
    let (kill, debugger) = (handle.clone(), handle.debugger().clone());
    let gdb = gdb.on_kill(move || kill.stop());
    spawn("gdb", move || {
        if let Err(error) = gdb.serve(&debugger) {
            eprintln!("vm-cli: {error}");
        }
    });
    Ok(())
}

/// A panic is our own mistake; the user still gets a usable terminal and an error code.
fn restore_terminal_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        report(panic);
        std::process::exit(Exit::HOST_ERROR.0.into());
    }));
}

/// Stops the machine at the first signal and ends the program at the second; also at the first, when there is no
/// machine yet.
fn stop_on_signals(
    signals: Signals,
    running: Arc<OnceLock<VmHandle>>,
) -> Arc<Mutex<Option<Signal>>> {
    let ended_by = Arc::new(Mutex::new(None));
    let first = ended_by.clone();
    spawn("signals", move || {
        let signal = signals.wait();
        *first.lock().unwrap_or_else(PoisonError::into_inner) = Some(signal);
        let signal = match running.get() {
            Some(handle) => {
                handle.stop();
                signals.wait()
            }
            None => signal,
        };
        terminal::restore();
        std::process::exit(Exit::of_signal(signal).0.into());
    });
    ended_by
}

/// Types standard input as it is. Its end only means that nothing more is typed.
fn pass_through(input: &SerialInput) {
    let mut stdin = std::io::stdin().lock();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stdin.read(&mut bytes) {
        if !input.send(&bytes[..count]) {
            break;
        }
    }
}

/// The user at a terminal in raw mode.
struct Keyboard {
    input: SerialInput,
    screen: Arc<Outlet>,
    handle: VmHandle,
    symbols: Symbols,
}

impl Keyboard {
    fn say(&self, text: &str) {
        self.screen.write(text.as_bytes());
    }

    fn read(mut self) {
        let mut key = EscapeKey::default();
        let mut monitor: Option<Monitor> = None;
        let mut stdin = std::io::stdin().lock();
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = stdin.read(&mut bytes) {
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let (taken, typed) = key.take(rest);
                rest = &rest[taken..];
                match typed {
                    None => {}
                    Some(Typed::Quit) => self.handle.stop(),
                    Some(Typed::Reset) => {
                        self.say("\n[reset]\n");
                        self.handle.reset();
                    }
                    Some(Typed::Help) => self.say(&format!("\n{}", escape::HELP)),
                    Some(Typed::Monitor) if monitor.is_none() => {
                        let opened =
                            Monitor::open(self.handle.debugger().clone(), self.symbols.table());
                        self.say(&opened.greeting());
                        monitor = Some(opened);
                    }
                    Some(Typed::Monitor) => {}
                    Some(Typed::Text(text)) => match &mut monitor {
                        // A guest that has not read 64 KiB of typing is not going to.
                        None => {
                            self.input.try_send(&text);
                        }
                        Some(open) => {
                            let (answer, action) = open.typed(&text);
                            self.say(&answer);
                            match action {
                                None => {}
                                Some(Action::Continue) => monitor = None,
                                Some(Action::Quit) => self.handle.stop(),
                                Some(Action::Reset) => {
                                    self.handle.reset();
                                    monitor = None;
                                }
                            }
                        }
                    },
                }
            }
        }
    }
}
