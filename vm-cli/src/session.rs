//! One run of a machine on this terminal.

use std::fs::File;
use std::io::{BufWriter, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use vm_core::Notices;
use vm_core::config::{EscapeKey, SerialConfig, VmConfig};
use vm_debug::gdb::GdbServer;
use vm_debug::trace::TextTrace;
use vm_osal::terminal::{self, RawMode, Signal, Signals};
use vm_service::serial::Outlet;
use vm_service::{SerialInput, Vm, VmHandle};

use crate::exit::{self, Exit};
use crate::keyboard::Keyboard;
use crate::say::{say, show};
use crate::symbols::Symbols;

/// Runs a machine to its end.
pub(crate) fn run(config: VmConfig) -> anyhow::Result<Exit> {
    let signals = Signals::take().context("cannot take over signals")?;
    terminal::restore_on_crash("vm-cli").context("cannot take over signals")?;
    terminal::ignore_file_size_limit();
    restore_terminal_on_panic();
    let running = Arc::new(OnceLock::new());
    let to_terminal = |port: Option<&SerialConfig>| port == Some(&SerialConfig::Stdio);
    let serial = to_terminal(config.serial.as_ref());
    let console = to_terminal(config.console.as_ref());
    // From here on: a file that is opened below may be a pipe that nobody writes to.
    let ended_by = answer_signals(signals, running.clone(), console)?;

    let screen = (serial || console).then(standard_output).transpose()?;
    let gdb = config.gdb.clone();
    let waits = gdb.as_ref().is_some_and(|gdb| gdb.wait);
    let gdb = gdb.map(|gdb| GdbServer::bind(&gdb.address)).transpose()?;
    let kernel = config.kernel.clone();
    let trace = config.trace.clone();
    let stats = config.stats;
    let escape = config.escape;
    let mut builder = Vm::builder()
        .start_paused(waits)
        .notices(Notices::to(|line| say(line)))
        .shown(Notices::to(show))
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
    say(vm.accel());
    for place in vm.places() {
        say(format_args!("serial port at {}", place.display()));
    }
    if let Some(gdb) = gdb {
        serve_gdb(gdb, waits, &handle)?;
    }

    if console {
        resize(&handle);
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
            announce(escape);
            raw = Some(RawMode::enter(&stdin).context("cannot take over the terminal")?);
            let keyboard = Keyboard {
                input,
                screen: screen.clone(),
                handle: handle.clone(),
                symbols: Symbols::of(kernel),
                escape,
            };
            vm_osal::spawn("keyboard", move || keyboard.read())?;
        } else {
            vm_osal::spawn("input", move || pass_through(&input))?;
        }
    }
    let outcome = vm.run();
    let statistics = stats.then(|| vm.statistics().to_vec());
    drop(vm);
    if let Some(screen) = &screen {
        screen.finish();
    }
    drop(raw);
    for (vcpu, counts) in statistics.iter().flatten().enumerate() {
        for (name, count) in counts {
            say(format_args!("CPU {vcpu}: {name}: {count}"));
        }
    }
    let outcome = outcome?;
    let ended_by = *ended_by.lock().unwrap_or_else(PoisonError::into_inner);
    match ended_by {
        Some(signal) => say(format_args!("ended by {}", signal.name())),
        None => exit::message(outcome).iter().for_each(say),
    }
    if let Some(screen) = &screen {
        tell_of_lost_output(screen);
    }
    Ok(ended_by.map_or_else(|| Exit::of_outcome(outcome), Exit::of_signal))
}

/// Standard output as the guest's screen.
fn standard_output() -> anyhow::Result<Arc<Outlet>> {
    // A descriptor of its own: a write that nobody ends must not hold the lock of Rust's.
    let out = std::io::stdout().as_fd().try_clone_to_owned();
    let out = out.context("cannot use standard output")?;
    Ok(Arc::new(Outlet::new(File::from(out))?))
}

fn tell_of_lost_output(screen: &Outlet) {
    match (screen.failure(), screen.dropped()) {
        (Some(reason), _) => say(format_args!(
            "not all of the guest's output was written: {reason}"
        )),
        (None, 0) => {}
        (None, bytes) => say(format_args!(
            "{bytes} bytes of the guest's output were dropped: nobody read them"
        )),
    }
}

/// Says which keys are not the guest's.
fn announce(escape: EscapeKey) {
    match escape.letter() {
        Some(letter) => say(format_args!(
            "Ctrl-{letter} h for help, Ctrl-{letter} x to quit"
        )),
        None => say(format_args!(
            "every key is the guest's (--escape none): 'kill {}' quits",
            std::process::id()
        )),
    }
}

/// Tells the guest the terminal's size.
fn resize(handle: &VmHandle) {
    if let Some((columns, rows)) = terminal::size(std::io::stdout()) {
        handle.resize_console(columns, rows);
    }
}

/// A trace into a file, with the kernel's names where it has some.
fn trace_to(file: &Path, kernel: Option<PathBuf>) -> anyhow::Result<Arc<TextTrace>> {
    let out = File::create(file)
        .with_context(|| format!("cannot write the trace to {}", file.display()))?;
    let out = Box::new(BufWriter::with_capacity(1 << 20, out));
    let (symbols, notices) = (Symbols::of(kernel).table(), Notices::to(|line| say(line)));
    Ok(Arc::new(TextTrace::new(out, symbols, notices)))
}

/// Lets a debugger at the machine, which may wait for it.
fn serve_gdb(gdb: GdbServer, waits: bool, handle: &VmHandle) -> anyhow::Result<()> {
    let place = gdb.local_addr()?;
    match waits {
        true => say(format_args!("the guest waits for gdb at {place}")),
        false => say(format_args!("gdb can connect at {place}")),
    }
    let (kill, debugger) = (handle.clone(), handle.debugger().clone());
    let gdb = gdb.on_kill(move || kill.stop());
    vm_osal::spawn("gdb", move || {
        if let Err(error) = gdb.serve(&debugger) {
            say(error);
        }
    })?;
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

/// Stops the machine at the first signal that asks for it and ends the program at the second; also at the first, when
/// there is no machine yet. Tells the guest's console, if it is this terminal, when the terminal changes its size.
fn answer_signals(
    signals: Signals,
    running: Arc<OnceLock<VmHandle>>,
    console: bool,
) -> anyhow::Result<Arc<Mutex<Option<Signal>>>> {
    let ended_by = Arc::new(Mutex::new(None));
    let first = ended_by.clone();
    vm_osal::spawn("signals", move || {
        loop {
            match (signals.wait(), running.get()) {
                (Signal::Resized, Some(handle)) if console => resize(handle),
                (Signal::Resized, _) => {}
                (signal, handle) => {
                    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                    let again = first.replace(signal).is_some();
                    drop(first);
                    match handle {
                        Some(handle) if !again => handle.stop(),
                        _ => {
                            terminal::restore();
                            std::process::exit(Exit::of_signal(signal).0.into());
                        }
                    }
                }
            }
        }
    })?;
    Ok(ended_by)
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
