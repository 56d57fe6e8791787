//! The monitor: a look at a machine that stands still.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use vm_core::{DebugTarget, GuestVirtAddr, Resume, VcpuId};
use vm_debug::report;
use vm_debug::symbols::SymbolTable;
use vm_service::{KeyError, VmHandle};

/// How long virtual CPUs may take to stand still.
const PAUSE_MS: u64 = 2000;
const PROMPT: &str = "(vm) ";
const COMMANDS: &str = "\
cpus            every CPU: where it is and what it waits for
registers [N]   the registers of CPU N, or of all
statistics [N]  what the engine has counted
screenshot FILE a picture of the display, as PNG
key KEY ...     press keys one after the other: a, A, ret, f10, ctrl-alt-delete
continue        let the guest go on (also Ctrl-D)
reset           reset the machine and go on
quit            end the machine
help            this help
";

/// What the user wants done with the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// The guest goes on.
    Continue,
    /// It starts anew.
    Reset,
    /// It ends.
    Quit,
}

/// An open monitor. The guest stands still as long as it is open.
pub(crate) struct Monitor {
    target: Arc<dyn DebugTarget>,
    symbols: Option<Arc<SymbolTable>>,
    /// Display and keyboard.
    handle: Option<VmHandle>,
    line: String,
    /// Whether the guest really stands still.
    still: bool,
}

impl Monitor {
    /// Stops the guest.
    pub(crate) fn open(
        target: Arc<dyn DebugTarget>,
        symbols: Option<Arc<SymbolTable>>,
        handle: Option<VmHandle>,
    ) -> Self {
        target.pause();
        let still = target.wait(PAUSE_MS).is_some();
        Self {
            target,
            symbols,
            handle,
            line: String::new(),
            still,
        }
    }

    /// What is shown first.
    pub(crate) fn greeting(&self) -> String {
        if !self.still {
            return format!("\n[monitor: the guest does not stand still]\n{PROMPT}");
        }
        let cpus = self.cpus();
        format!("\n[monitor: the guest waits; help for help, continue to go on]\n{cpus}{PROMPT}")
    }

    /// Takes typed bytes; returns what to show, and what the user wants done.
    pub(crate) fn typed(&mut self, bytes: &[u8]) -> (String, Option<Action>) {
        let mut shown = String::new();
        for &byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    shown.push('\n');
                    let line = std::mem::take(&mut self.line);
                    let (answer, action) = self.obey(&line);
                    shown.push_str(&answer);
                    if let Some(action) = action {
                        self.close(action);
                        return (shown, Some(action));
                    }
                    shown.push_str(PROMPT);
                }
                // Ctrl-D, Ctrl-C, Ctrl-U
                0x04 => {
                    shown.push('\n');
                    self.close(Action::Continue);
                    return (shown, Some(Action::Continue));
                }
                0x03 | 0x15 => {
                    self.line.clear();
                    let _ = write!(shown, "\n{PROMPT}");
                }
                0x08 | 0x7f => {
                    let erased = self.line.pop().map_or("", |_| "\x08 \x08");
                    shown.push_str(erased);
                }
                0x20..0x7f => {
                    self.line.push(char::from(byte));
                    shown.push(char::from(byte));
                }
                _ => {}
            }
        }
        (shown, None)
    }

    fn close(&self, action: Action) {
        if action != Action::Quit {
            let all = vec![Resume::Continue; self.target.vcpus() as usize];
            self.target.resume(&all);
        }
    }

    fn obey(&self, line: &str) -> (String, Option<Action>) {
        let mut words = line.split_whitespace();
        let Some(command) = words.next() else {
            return (String::new(), None);
        };
        const NAMES: [&str; 9] = [
            "cpus",
            "registers",
            "statistics",
            "screenshot",
            "key",
            "continue",
            "reset",
            "quit",
            "help",
        ];
        let known = NAMES.into_iter().find(|name| name.starts_with(command));
        match known {
            Some("screenshot") => return (self.screenshot(words.next()), None),
            Some("key") => return (self.keys(words), None),
            _ => {}
        }
        let cpu = match words.next().map(str::parse::<u32>) {
            None => None,
            Some(Ok(number)) if number < self.target.vcpus() => Some(number),
            Some(_) => {
                let last = self.target.vcpus() - 1;
                return (format!("give the number of a CPU, 0 to {last}\n"), None);
            }
        };
        match known {
            Some("continue") => return (String::new(), Some(Action::Continue)),
            Some("reset") => return (String::new(), Some(Action::Reset)),
            Some("quit") => return (String::new(), Some(Action::Quit)),
            _ => {}
        }
        let answer = match known {
            Some("help") => COMMANDS.to_owned(),
            Some(_) if !self.still => "the guest does not stand still\n".to_owned(),
            Some("cpus") => self.cpus(),
            Some("registers") => self.each(cpu, Self::registers),
            Some("statistics") => self.each(cpu, Self::statistics),
            _ => format!("unknown command '{command}': help lists them\n"),
        };
        (answer, None)
    }

    fn screenshot(&self, file: Option<&str>) -> String {
        let Some(file) = file else {
            return "name the file: screenshot FILE.png\n".to_owned();
        };
        let picture = self.handle.as_ref().and_then(VmHandle::picture);
        let Some(picture) = picture else {
            return "the machine shows no picture\n".to_owned();
        };
        match vm_service::write_png(&picture, Path::new(file)) {
            Ok(()) => format!("{file}: {} x {}\n", picture.width, picture.height),
            Err(error) => format!("{error}\n"),
        }
    }

    fn keys<'a>(&self, keys: impl Iterator<Item = &'a str>) -> String {
        for key in keys {
            let pressed = match &self.handle {
                Some(handle) => handle.press(key),
                None => Err(KeyError::NoKeyboard),
            };
            if let Err(error) = pressed {
                return format!("{error}\n");
            }
        }
        String::new()
    }

    fn each(&self, cpu: Option<u32>, show: fn(&Self, VcpuId) -> String) -> String {
        match cpu {
            Some(cpu) => show(self, VcpuId(cpu)),
            None => (0..self.target.vcpus())
                .map(|cpu| show(self, VcpuId(cpu)))
                .collect(),
        }
    }

    fn register(&self, cpu: VcpuId, name: &str) -> Option<u64> {
        self.target.read_register(cpu, name).ok()
    }

    fn cpus(&self) -> String {
        self.each(None, |monitor, cpu| {
            let pc = monitor.register(cpu, "pc").unwrap_or(0);
            let mode = match monitor.register(cpu, "priv") {
                Some(0) => "U",
                Some(1) => "S",
                Some(3) => "M",
                _ => "?",
            };
            let doing = match monitor.target.is_idle(cpu) {
                true => format!("waits for an interrupt{}", monitor.awaited(cpu)),
                false => "runs".to_owned(),
            };
            let place = monitor.place(GuestVirtAddr(pc));
            format!("CPU {}: pc {pc:#018x}{place} mode {mode}, {doing}\n", cpu.0)
        })
    }

    /// The function that an address is in, if the kernel's symbols are known.
    fn place(&self, addr: GuestVirtAddr) -> String {
        let place = self.symbols.as_ref().and_then(|table| table.lookup(addr));
        place.map_or_else(String::new, |place| format!(" <{place}>"))
    }

    /// The interrupts that would wake a CPU, from `mie` (RISC-V Priv 1.13, 3.1.9).
    fn awaited(&self, cpu: VcpuId) -> String {
        const SOURCES: [(u64, &str); 3] = [
            (1 << 1 | 1 << 3, "software"),
            (1 << 5 | 1 << 7, "timer"),
            (1 << 9 | 1 << 11, "external"),
        ];
        let Some(enabled) = self.register(cpu, "mie") else {
            return String::new();
        };
        let names: Vec<_> = SOURCES
            .into_iter()
            .filter(|(bits, _)| enabled & bits != 0)
            .map(|(_, name)| name)
            .collect();
        match names.is_empty() {
            true => " (none is enabled)".to_owned(),
            false => format!(" ({})", names.join(", ")),
        }
    }

    fn registers(&self, cpu: VcpuId) -> String {
        report::registers(&*self.target, cpu)
    }

    fn statistics(&self, cpu: VcpuId) -> String {
        let mut text = format!("CPU {}:\n", cpu.0);
        for (name, value) in self.target.statistics(cpu) {
            let _ = writeln!(text, "{value:>16} {name}");
        }
        text
    }
}

#[cfg(test)]
mod tests;
