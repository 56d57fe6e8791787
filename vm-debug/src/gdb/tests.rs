//! The protocol, byte by byte, on a machine that does what the test says.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vm_core::{
    Figure, GuestPhysAddr, GuestVirtAddr, NoRam, NoRegister, Resume, Statistic, Unmapped, VcpuId,
    Watchpoint,
};

use super::*;

/// RAM of the scripted machine.
const RAM: std::ops::Range<u64> = 0x1000..0x3000;

struct Inner {
    registers: Vec<BTreeMap<String, u64>>,
    ram: Vec<u8>,
    stop: Option<StopCause>,
    /// Whether it has ended, which nothing undoes.
    ended: bool,
    breakpoints: Vec<GuestVirtAddr>,
    watchpoints: Vec<Watchpoint>,
    /// Every order to go on, in order.
    resumed: Vec<Vec<Resume>>,
    /// Why the machine stops when all its virtual CPUs go on.
    next_stop: Option<StopCause>,
}

/// Two virtual CPUs that stop for what the test says.
struct Scripted {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Scripted {
    fn new() -> Arc<Self> {
        let registers = (0..2)
            .map(|vcpu: u64| {
                let x = (0..32).map(|n| (format!("x{n}"), n * 0x101));
                let f = (0..32).map(|n| (format!("f{n}"), n));
                let other = [
                    ("pc", 0x1000 + vcpu * 0x100),
                    ("fflags", 1),
                    ("frm", 2),
                    ("fcsr", 0x41),
                    ("priv", 1),
                    ("sstatus", 0x2_0000_0120),
                    ("satp", 8 << 60),
                ];
                let other = other.map(|(name, value)| (name.to_owned(), value));
                x.chain(f).chain(other).collect()
            })
            .collect();
        Arc::new(Self {
            inner: Mutex::new(Inner {
                registers,
                ram: (0..RAM.end - RAM.start).map(|n| n as u8).collect(),
                stop: None,
                ended: false,
                breakpoints: Vec::new(),
                watchpoints: Vec::new(),
                resumed: Vec::new(),
                next_stop: None,
            }),
            changed: Condvar::new(),
        })
    }

    fn stop(&self, cause: StopCause) {
        self.inner.lock().unwrap().stop.get_or_insert(cause);
        self.changed.notify_all();
    }

    fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        f(&mut self.inner.lock().unwrap())
    }

    /// Waits for the machine to become what the test expects.
    fn until(&self, what: impl Fn(&Inner) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.with(|inner| what(inner)) {
            assert!(Instant::now() < deadline, "the machine did not get there");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl DebugTarget for Scripted {
    fn arch(&self) -> GuestArch {
        GuestArch::Riscv64
    }
    fn vcpus(&self) -> u32 {
        2
    }
    fn pause(&self) {
        self.stop(StopCause::Paused);
    }
    fn resume(&self, how: &[Resume]) {
        let next = self.with(|inner| {
            inner.resumed.push(how.to_vec());
            inner.stop = None;
            let stepper = how.iter().position(|how| *how == Resume::Step);
            match stepper {
                Some(vcpu) => {
                    *inner.registers[vcpu].get_mut("pc").unwrap() += 4;
                    Some(StopCause::Stepped(VcpuId(vcpu as u32)))
                }
                None => inner.next_stop.take(),
            }
        });
        if let Some(cause) = next {
            self.stop(cause);
        }
    }
    fn wait(&self, timeout_ms: u64) -> Option<StopCause> {
        let inner = self.inner.lock().unwrap();
        let timeout = Duration::from_millis(timeout_ms);
        let running = |inner: &mut Inner| inner.stop.is_none() && !inner.ended;
        let (inner, _) = self
            .changed
            .wait_timeout_while(inner, timeout, running)
            .unwrap();
        if inner.ended {
            return Some(StopCause::Ended(0));
        }
        inner.stop
    }
    fn read_register(&self, vcpu: VcpuId, name: &str) -> Result<u64, NoRegister> {
        self.with(|inner| inner.registers[vcpu.0 as usize].get(name).copied())
            .ok_or_else(|| NoRegister(name.to_owned()))
    }
    fn write_register(&self, vcpu: VcpuId, name: &str, value: u64) -> Result<(), NoRegister> {
        self.with(|inner| {
            let known = inner.registers[vcpu.0 as usize]
                .get_mut(name)
                .filter(|_| name != "x0");
            known.map(|known| *known = value)
        })
        .ok_or_else(|| NoRegister(name.to_owned()))
    }
    fn read_memory(
        &self,
        _vcpu: VcpuId,
        addr: GuestVirtAddr,
        into: &mut [u8],
    ) -> Result<(), Unmapped> {
        for (offset, byte) in into.iter_mut().enumerate() {
            let at = addr.raw().wrapping_add(offset as u64);
            if !RAM.contains(&at) {
                return Err(Unmapped(GuestVirtAddr(at)));
            }
            *byte = self.with(|inner| inner.ram[(at - RAM.start) as usize]);
        }
        Ok(())
    }
    fn write_memory(
        &self,
        _vcpu: VcpuId,
        addr: GuestVirtAddr,
        from: &[u8],
    ) -> Result<(), Unmapped> {
        for (offset, byte) in from.iter().enumerate() {
            let at = addr.raw().wrapping_add(offset as u64);
            if !RAM.contains(&at) {
                return Err(Unmapped(GuestVirtAddr(at)));
            }
            self.with(|inner| inner.ram[(at - RAM.start) as usize] = *byte);
        }
        Ok(())
    }
    /// RAM is where it is, and at the same place behind the first GiB.
    fn read_physical(&self, addr: GuestPhysAddr, into: &mut [u8]) -> Result<(), NoRam> {
        let virt = GuestVirtAddr(addr.raw().wrapping_sub(1 << 30));
        let read = self.read_memory(VcpuId(0), virt, into);
        read.map_err(|_| NoRam(addr))
    }
    fn write_physical(&self, addr: GuestPhysAddr, from: &[u8]) -> Result<(), NoRam> {
        let virt = GuestVirtAddr(addr.raw().wrapping_sub(1 << 30));
        let written = self.write_memory(VcpuId(0), virt, from);
        written.map_err(|_| NoRam(addr))
    }
    fn reset(&self) {
        self.with(|inner| inner.registers[0].insert("pc".to_owned(), 0x2000));
    }
    fn set_breakpoints(&self, at: &[GuestVirtAddr]) {
        self.with(|inner| inner.breakpoints = at.to_vec());
    }
    fn set_watchpoints(&self, watch: &[Watchpoint]) {
        self.with(|inner| inner.watchpoints = watch.to_vec());
    }
    fn is_idle(&self, vcpu: VcpuId) -> bool {
        vcpu.0 == 1
    }
    fn statistics(&self, vcpu: VcpuId) -> Vec<Statistic> {
        vec![("exceptions".into(), Figure::Count(7 + u64::from(vcpu.0)))]
    }
}

/// A stub on a machine.
struct Bench {
    machine: Arc<Scripted>,
    address: SocketAddr,
    server: Option<JoinHandle<Result<(), GdbError>>>,
    killed: Arc<AtomicBool>,
}

impl Bench {
    fn start(kills: bool) -> Self {
        let machine = Scripted::new();
        let mut server = GdbServer::bind("0").unwrap();
        let killed = Arc::new(AtomicBool::new(false));
        if kills {
            let (killed, machine) = (killed.clone(), machine.clone());
            server = server.on_kill(move || {
                killed.store(true, Ordering::SeqCst);
                machine.with(|inner| inner.ended = true);
            });
        }
        let address = server.local_addr().unwrap();
        let target: Arc<dyn DebugTarget> = machine.clone();
        let server = std::thread::spawn(move || server.serve(&target));
        Self {
            machine,
            address,
            server: Some(server),
            killed,
        }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Client { stream }
    }

    /// Waits for the server to return.
    fn join(&mut self) {
        self.server.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.machine.with(|inner| inner.ended = true);
            self.machine.changed.notify_all();
            let _ = server.join();
        }
    }
}

struct Client {
    stream: TcpStream,
}

impl Client {
    fn send(&mut self, packet: &str) {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.raw(format!("${packet}#{sum:02x}").as_bytes());
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(1) => Some(byte[0]),
            _ => None,
        }
    }

    /// The next packet, run-length encoding undone (GDB manual, E.1).
    fn receive(&mut self) -> String {
        while self.byte().expect("the connection is open") != b'$' {}
        let mut text = Vec::new();
        loop {
            match self.byte().expect("the connection is open") {
                b'#' => break,
                b'*' => {
                    let count = self.byte().unwrap() - 29;
                    let last = *text.last().unwrap();
                    text.extend(std::iter::repeat_n(last, count.into()));
                }
                byte => text.push(byte),
            }
        }
        self.byte();
        self.byte();
        self.raw(b"+");
        String::from_utf8_lossy(&text).into_owned()
    }

    fn ask(&mut self, packet: &str) -> String {
        self.send(packet);
        self.receive()
    }

    fn ends(mut self) -> bool {
        while let Some(byte) = self.byte() {
            assert_eq!(byte, b'+', "nothing but acknowledgements comes");
        }
        true
    }
}

#[test]
fn address_every_form_splits() {
    let cases = [
        ("1234", Some(("127.0.0.1", 1234))),
        (":1234", Some(("127.0.0.1", 1234))),
        ("tcp::1234", Some(("127.0.0.1", 1234))),
        ("tcp:0.0.0.0:9", Some(("0.0.0.0", 9))),
        ("localhost:80", Some(("localhost", 80))),
        ("[::1]:80", Some(("::1", 80))),
        ("", None),
        ("+80", None),
        ("host", None),
        ("host:70000", None),
    ];
    for (text, expected) in cases {
        assert_eq!(split_address(text), expected, "{text}");
    }
}

#[test]
fn bind_port_in_use_says_so() {
    let first = GdbServer::bind("0").unwrap();
    let port = first.local_addr().unwrap().port().to_string();
    let error = GdbServer::bind(&port).err().unwrap().to_string();
    assert!(error.contains(&port) && error.contains("in use"), "{error}");
}

#[test]
fn attach_running_machine_stops_it() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("?"), "T05thread:01;");
    assert_eq!(bench.machine.wait(0), Some(StopCause::Paused));
}

#[test]
fn description_lists_the_registers_that_exist() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert!(
        client
            .ask("qSupported:swbreak+")
            .contains("qXfer:features:read+")
    );
    let mut xml = String::new();
    loop {
        let piece = client.ask(&format!(
            "qXfer:features:read:target.xml:{:x},800",
            xml.len()
        ));
        match piece.split_at(1) {
            ("m", more) => xml.push_str(more),
            (end, _) => break assert_eq!(end, "l"),
        }
    }
    for expected in [
        "<architecture>riscv:rv64</architecture>",
        "<reg name=\"sp\" bitsize=\"64\" regnum=\"2\" type=\"data_ptr\"/>",
        "<reg name=\"pc\" bitsize=\"64\" regnum=\"32\" type=\"code_ptr\"/>",
        "<reg name=\"ft0\" bitsize=\"64\" regnum=\"33\"",
        "<reg name=\"fcsr\" bitsize=\"32\" regnum=\"68\"",
        "<reg name=\"sstatus\" bitsize=\"64\" regnum=\"321\"",
        "regnum=\"4161\"",
    ] {
        assert!(xml.contains(expected), "{expected} in {xml}");
    }
    assert!(!xml.contains("mstatus"), "{xml}");
    assert!(
        client
            .ask("qXfer:features:read:other.xml:0,80")
            .starts_with('E')
    );
}

#[test]
fn registers_read_and_written_by_number_and_all_at_once() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    let all = client.ask("g");
    assert_eq!(all.len(), 33 * 16);
    assert_eq!(&all[16..32], "0101000000000000");
    assert_eq!(&all[32 * 16..], "0010000000000000");
    assert_eq!(
        client.ask("p42"),
        "0200000000000000".replace("02", "01")[..8]
    );
    assert_eq!(client.ask("p141"), "2001000002000000");
    assert!(client.ask("p45").starts_with('E'), "no such register");
    assert_eq!(client.ask("P20=8877665544332211"), "OK");
    assert_eq!(client.ask("p20"), "8877665544332211");
    assert_eq!(client.ask("P0=0100000000000000"), "E16");
    assert_eq!(client.ask("P20=88"), "E16");
    // What `g` gave may be written back, x0 included.
    let changed = format!("{}{}", &all[..16], all[16..].replace("0101", "aaaa"));
    assert_eq!(client.ask(&format!("G{changed}")), "OK");
    assert_eq!(client.ask("p1"), "aaaa000000000000");
    assert_eq!(client.ask(&format!("Gff{}", &all[2..])), "E16");
    assert_eq!(client.ask("G00"), "E16");
}

#[test]
fn memory_at_the_end_of_ram_is_cut_off() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("m1000,4"), "00010203");
    assert_eq!(client.ask("m2ffe,8"), "feff");
    assert_eq!(client.ask("m3000,8"), "E0e");
    assert_eq!(client.ask("mffffffffffffffff,10"), "E0e");
    assert_eq!(client.ask("M1001,2:aabb"), "OK");
    assert_eq!(client.ask("m1000,4"), "00aabb03");
    assert_eq!(client.ask("M2fff,2:aabb"), "E0e");
    assert_eq!(client.ask("X1000,1:z"), "OK");
    assert_eq!(client.ask("m1000,1"), "7a");
}

#[test]
fn threads_are_virtual_cpus() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert!(
        client
            .ask("qSupported:multiprocess+")
            .contains("multiprocess+")
    );
    assert_eq!(client.ask("qfThreadInfo"), "mp01.01,p01.02");
    assert_eq!(client.ask("T2"), "OK");
    assert!(client.ask("T3").starts_with('E'));
    assert_eq!(client.ask("Hgp1.2"), "OK");
    assert_eq!(client.ask("p20"), "0011000000000000");
    let info = client.ask("qThreadExtraInfo,p1.2");
    let text: Vec<u8> = (0..info.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&info[at..at + 2], 16).unwrap())
        .collect();
    assert_eq!(text, b"CPU 1, waiting");
    // A thread that does not exist has neither registers nor memory.
    client.send("Hgp1.9");
    client.receive();
    client.send("p20");
    client.receive();
    assert_eq!(client.ask("Hgp1.1"), "OK");
    assert_eq!(client.ask("p20"), "0010000000000000");
}

#[test]
fn step_of_one_thread_leaves_the_others_as_asked() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("vCont?"), "vCont;c;C;s;S");
    assert_eq!(client.ask("vCont;s:2"), "T05thread:02;");
    assert_eq!(client.ask("vCont;s:1;c"), "T05thread:01;");
    assert_eq!(client.ask("vCont;S05:1;C05:2"), "T05thread:01;");
    let resumed = bench.machine.with(|inner| inner.resumed.clone());
    assert_eq!(
        resumed,
        [
            [Resume::Stay, Resume::Step],
            [Resume::Step, Resume::Continue],
            [Resume::Step, Resume::Continue],
        ]
    );
    assert_eq!(client.ask("p20"), "0810000000000000");
}

#[test]
fn breakpoints_reach_the_machine_when_it_runs() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("Z0,1100,2"), "OK");
    assert_eq!(client.ask("Z1,1200,4"), "OK");
    assert_eq!(client.ask("Z0,1100,2"), "OK", "a repeated one is the same");
    assert_eq!(client.ask("vCont;s:1"), "T05thread:01;");
    let breakpoints = || bench.machine.with(|inner| inner.breakpoints.clone());
    assert_eq!(breakpoints(), [], "a step needs none");
    let at = |vcpu| Some(StopCause::Breakpoint(VcpuId(vcpu)));
    bench.machine.with(|inner| inner.next_stop = at(1));
    assert_eq!(client.ask("vCont;c"), "T05thread:02;swbreak:;");
    assert_eq!(breakpoints(), [0x1100, 0x1200].map(GuestVirtAddr));
    bench.machine.with(|inner| {
        inner.next_stop = at(1);
        inner.registers[1].insert("pc".to_owned(), 0x1200);
    });
    assert_eq!(client.ask("z0,1100,2"), "OK");
    assert_eq!(client.ask("z0,1100,2"), "E16", "it is gone");
    assert_eq!(client.ask("c"), "T05thread:02;hwbreak:;");
    assert_eq!(breakpoints(), [GuestVirtAddr(0x1200)]);
}

#[test]
fn watchpoints_say_what_was_accessed() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("Z2,1000,0"), "E16", "nothing to watch");
    let kinds = [
        (2, vm_core::WatchKind::Write, true, "watch"),
        (3, vm_core::WatchKind::Read, false, "rwatch"),
        (4, vm_core::WatchKind::Access, false, "awatch"),
    ];
    for (number, kind, write, word) in kinds {
        assert_eq!(client.ask(&format!("Z{number},1010,8")), "OK");
        let addr = GuestVirtAddr(0x1014);
        bench.machine.with(|inner| {
            inner.next_stop = Some(StopCause::Watchpoint {
                vcpu: VcpuId(1),
                addr,
                write,
            });
        });
        assert_eq!(client.ask("vCont;c"), format!("T05thread:02;{word}:1014;"));
        let watched = Watchpoint {
            addr: GuestVirtAddr(0x1010),
            bytes: 8,
            kind,
        };
        assert_eq!(
            bench.machine.with(|inner| inner.watchpoints.clone()),
            [watched]
        );
        assert_eq!(client.ask(&format!("z{number},1010,8")), "OK");
    }
}

#[test]
fn interrupt_running_machine_reports_sigint() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    client.send("vCont;c");
    bench.machine.until(|inner| !inner.resumed.is_empty());
    client.raw(&[3]);
    assert_eq!(client.receive(), "T02thread:01;");
    assert_eq!(bench.machine.wait(0), Some(StopCause::Paused));
}

#[test]
fn detach_removes_stops_and_resumes_then_another_attaches() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("Z0,1100,2"), "OK");
    assert_eq!(client.ask("Z2,1000,8"), "OK");
    bench
        .machine
        .with(|inner| inner.next_stop = Some(StopCause::Breakpoint(VcpuId(0))));
    client.ask("vCont;c");
    assert_eq!(client.ask("D"), "OK");
    assert!(client.ends());
    bench.machine.until(|inner| inner.stop.is_none());
    bench.machine.with(|inner| {
        assert_eq!(inner.breakpoints, []);
        assert_eq!(inner.watchpoints, []);
        assert_eq!(inner.resumed.last().unwrap(), &[Resume::Continue; 2]);
    });
    assert_eq!(bench.connect().ask("?"), "T05thread:01;");
}

#[test]
fn broken_connection_lets_the_machine_run() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("Z0,1100,2"), "OK");
    client.send("vCont;c");
    bench.machine.until(|inner| !inner.breakpoints.is_empty());
    client.stream.shutdown(Shutdown::Both).unwrap();
    bench
        .machine
        .until(|inner| inner.breakpoints.is_empty() && inner.stop.is_none());
}

#[test]
fn kill_ends_the_machine_if_it_may() {
    let mut bench = Bench::start(true);
    let mut client = bench.connect();
    client.ask("?");
    client.send("k");
    bench.join();
    assert!(bench.killed.load(Ordering::SeqCst));

    let bench = Bench::start(false);
    let mut client = bench.connect();
    client.ask("?");
    client.send("k");
    bench.machine.until(|inner| inner.stop.is_none());
    assert!(client.ends());
}

#[test]
fn end_of_the_machine_ends_session_and_server() {
    let mut bench = Bench::start(false);
    let mut client = bench.connect();
    bench
        .machine
        .with(|inner| inner.next_stop = Some(StopCause::Ended(4)));
    assert_eq!(client.ask("vCont;c"), "W04");
    bench.join();
}

#[test]
fn end_of_the_stopped_machine_closes_the_connection() {
    let mut bench = Bench::start(false);
    let mut client = bench.connect();
    client.ask("?");
    bench.machine.with(|inner| inner.ended = true);
    assert!(client.ends());
    bench.join();
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

/// What a monitor command prints, in hexadecimal, and how it ends.
fn monitor(client: &mut Client, command: &str) -> (String, String) {
    client.send(&format!("qRcmd,{}", hex(command)));
    let mut text = String::new();
    loop {
        let reply = client.receive();
        match reply.strip_prefix('O') {
            Some("K") | None => return (text, reply),
            Some(more) => text.push_str(more),
        }
    }
}

#[test]
fn monitor_reset_and_registers_reach_the_machine() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    let (registers, _) = monitor(&mut client, "regs");
    assert!(registers.contains(&hex("pc 0000000000001000")));
    assert!(registers.contains(&hex("satp 8000000000000000")));
    monitor(&mut client, "reset");
    let (registers, _) = monitor(&mut client, "regs");
    assert!(registers.contains(&hex("pc 0000000000002000")));
    assert_eq!(client.ask("?"), "T05thread:01;");
}

#[test]
fn monitor_phys_chooses_what_addresses_mean() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    assert_eq!(client.ask("m1001,2"), "0102");
    monitor(&mut client, "phys on");
    assert_eq!(client.ask("m40001001,2"), "0102");
    assert_eq!(client.ask("m1001,2"), "E0e");
    assert_eq!(client.ask("M40001001,1:7f"), "OK");
    monitor(&mut client, "phys off");
    assert_eq!(client.ask("m1001,2"), "7f02");
}

#[test]
fn monitor_quit_ends_the_machine() {
    let mut bench = Bench::start(true);
    let mut client = bench.connect();
    client.send(&format!("qRcmd,{}", hex("quit")));
    bench.join();
    assert!(bench.killed.load(Ordering::SeqCst));
}

#[test]
fn monitor_commands_answer_in_text() {
    let bench = Bench::start(false);
    let mut client = bench.connect();
    let mut ask = |command: &str| monitor(&mut client, command);
    assert_eq!(
        ask("stats"),
        (
            hex("CPU 0 exceptions: 7\nCPU 1 exceptions: 8\n"),
            "OK".to_owned()
        )
    );
    assert!(
        ask("frobnicate")
            .0
            .contains(&hex("no command 'frobnicate'"))
    );
}

#[test]
fn garbage_ends_at_most_its_own_session() {
    let bench = Bench::start(false);
    let huge = format!("m{}", "1".repeat(1 << 20));
    let packets = [
        "",
        "g",
        "m",
        "zz",
        "vCont;s",
        "vCont;",
        "vCont;c:p1.77",
        "vCont;r1,2:1",
        "Z9,1,1",
        "Z0",
        "Z2,,",
        "P",
        "P1=",
        "Pffffffffffffffffff=00",
        "pffffffffffffffff",
        "mffffffffffffffff,ffffffffffffffff",
        "M1000,ffff:00",
        "qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff",
        "Hgffffffffffffffffffff",
        "Hg-5",
        "qRcmd,zz",
        huge.as_str(),
    ];
    let framed = |packet: &str| {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        format!("${packet}#{sum:02x}").into_bytes()
    };
    let raw: [&[u8]; 5] = [b"$g#00", b"-", b"$g#xx", b"\x00\xff\xfe$$$$####", b"$g"];
    let cases = packets
        .iter()
        .map(|packet| framed(packet))
        .chain(raw.map(<[u8]>::to_vec));
    for bytes in cases {
        let mut client = bench.connect();
        // The stub may close before all is sent.
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = client.stream.read_to_end(&mut rest);
        assert_eq!(bench.connect().ask("?"), "T05thread:01;");
    }
}
