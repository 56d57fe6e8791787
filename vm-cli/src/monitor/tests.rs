use std::sync::Mutex;

use vm_core::{
    Figure, GuestArch, GuestPhysAddr, GuestVirtAddr, NoRam, NoRegister, Statistic, StopCause,
    Unmapped, Watchpoint,
};

use super::*;
use vm_debug::symbols::{Symbol, SymbolKind};

/// Two CPUs: one runs, one waits for its timer.
#[derive(Default)]
struct Machine {
    paused: Mutex<bool>,
}

impl DebugTarget for Machine {
    fn arch(&self) -> GuestArch {
        GuestArch::Riscv64
    }
    fn vcpus(&self) -> u32 {
        2
    }
    fn pause(&self) {
        *self.paused.lock().unwrap() = true;
    }
    fn resume(&self, how: &[Resume]) {
        assert_eq!(how, [Resume::Continue; 2]);
        *self.paused.lock().unwrap() = false;
    }
    fn wait(&self, _timeout_ms: u64) -> Option<StopCause> {
        Some(StopCause::Paused)
    }
    fn read_register(&self, vcpu: VcpuId, name: &str) -> Result<u64, NoRegister> {
        match name {
            "pc" => Ok(0x8000_0000 + u64::from(vcpu.0)),
            "priv" => Ok(1),
            "mie" => Ok(1 << 5),
            "x2" => Ok(0xabcd),
            _ => Err(NoRegister(name.to_owned())),
        }
    }
    fn write_register(&self, _: VcpuId, name: &str, _: u64) -> Result<(), NoRegister> {
        Err(NoRegister(name.to_owned()))
    }
    fn read_memory(&self, _: VcpuId, addr: GuestVirtAddr, _: &mut [u8]) -> Result<(), Unmapped> {
        Err(Unmapped(addr))
    }
    fn write_memory(&self, _: VcpuId, addr: GuestVirtAddr, _: &[u8]) -> Result<(), Unmapped> {
        Err(Unmapped(addr))
    }
    fn read_physical(&self, addr: GuestPhysAddr, _: &mut [u8]) -> Result<(), NoRam> {
        Err(NoRam(addr))
    }
    fn write_physical(&self, addr: GuestPhysAddr, _: &[u8]) -> Result<(), NoRam> {
        Err(NoRam(addr))
    }
    fn reset(&self) {}
    fn set_breakpoints(&self, _: &[GuestVirtAddr]) {}
    fn set_watchpoints(&self, _: &[Watchpoint]) {}
    fn is_idle(&self, vcpu: VcpuId) -> bool {
        vcpu.0 == 1
    }
    fn statistics(&self, _: VcpuId) -> Vec<Statistic> {
        vec![("guest instructions retired".into(), Figure::Count(12345))]
    }
}

fn open() -> (Arc<Machine>, Monitor) {
    let machine = Arc::new(Machine::default());
    let monitor = Monitor::open(machine.clone(), None, None);
    (machine, monitor)
}

fn answer(line: &str) -> String {
    let (_, mut monitor) = open();
    let (text, action) = monitor.typed(format!("{line}\r").as_bytes());
    assert_eq!(action, None, "{line}");
    text
}

#[test]
fn open_stops_the_guest_and_shows_every_cpu() {
    let (machine, monitor) = open();
    assert!(*machine.paused.lock().unwrap());
    let text = monitor.greeting();
    assert!(
        text.contains("CPU 0: pc 0x0000000080000000 mode S, runs"),
        "{text}"
    );
    assert!(text.contains("CPU 1: pc 0x0000000080000001 mode S, waits for an interrupt (timer)"));
}

#[test]
fn cpus_with_symbols_name_the_function() {
    let symbol = Symbol {
        name: "idle".to_owned(),
        addr: GuestVirtAddr(0x7fff_fff0),
        bytes: 0x100,
        kind: SymbolKind::Function,
        global: true,
    };
    let table = SymbolTable::new(GuestArch::Riscv64, vec![symbol]);
    let monitor = Monitor::open(Arc::new(Machine::default()), Some(Arc::new(table)), None);
    assert!(
        monitor.greeting().contains("<idle+0x10>"),
        "{}",
        monitor.greeting()
    );
}

#[test]
fn commands_may_be_shortened_and_name_a_cpu() {
    assert!(answer("registers").contains("x2/sp 000000000000abcd"));
    assert_eq!(answer("reg 1").matches("CPU").count(), 1);
    assert!(answer("stat 0").contains("12345 guest instructions retired"));
    assert!(answer("help").contains("statistics [N]"));
    assert!(answer("reg 2").contains("0 to 1"));
    assert!(answer("key a").contains("no keyboard"));
    assert!(answer("screenshot").contains("name the file"));
    assert!(answer("screenshot x.png").contains("no picture"));
    assert!(answer("fly").contains("unknown command 'fly'"));
}

#[test]
fn editing_keys_change_the_line() {
    let (_, mut monitor) = open();
    let (text, _) = monitor.typed(b"fly\x7f\x7f\x7fcpus\r");
    assert!(text.contains("CPU 1"), "{text}");
    let (text, _) = monitor.typed(b"fly\x15cpus\r");
    assert!(text.contains("CPU 1"), "{text}");
}

#[test]
fn continue_and_reset_let_the_guest_go_on_and_quit_does_not() {
    for (line, action, paused) in [
        (&b"continue\r"[..], Action::Continue, false),
        (b"\x04", Action::Continue, false),
        (b"reset\r", Action::Reset, false),
        (b"quit\r", Action::Quit, true),
    ] {
        let (machine, mut monitor) = open();
        assert_eq!(monitor.typed(line).1, Some(action));
        assert_eq!(*machine.paused.lock().unwrap(), paused);
    }
}
