use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::testing::{Collect, Level};
use AccessWidth::Byte;

struct Port {
    uart: Ns16550,
    irq: Arc<Level>,
    sink: Arc<Collect>,
}

impl Port {
    fn new() -> Self {
        let (irq, sink) = (Arc::new(Level::default()), Arc::new(Collect::default()));
        Self {
            uart: Ns16550::new(irq.clone(), sink.clone()),
            irq,
            sink,
        }
    }
    fn get(&self, register: u64) -> u8 {
        self.uart.read(register, Byte) as u8
    }
    fn put(&self, register: u64, value: u8) {
        self.uart.write(register, Byte, u64::from(value));
    }
    /// Polls for characters.
    fn listen(&self) {
        for _ in 0..POLLS {
            self.get(LSR);
        }
    }
}

#[test]
fn reset_registers_read_as_the_data_sheet_says() {
    let port = Port::new();
    let read: Vec<u8> = [IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR]
        .map(|r| port.get(r))
        .into();
    assert_eq!(read, [0, 0x01, 0, 0, 0x60, 0xb0, 0]);
    port.put(SCR, 0x5a);
    port.put(LCR, 0x83);
    port.put(RBR_THR_DLL, 0x34);
    port.put(IER_DLM, 0x12);
    assert_eq!(
        (port.get(RBR_THR_DLL), port.get(IER_DLM), port.get(SCR)),
        (0x34, 0x12, 0x5a)
    );
    port.put(LCR, 0x03);
    assert_eq!(port.get(IER_DLM), 0);
    assert!(port.sink.take().is_empty());
    port.uart.reset();
    port.put(LCR, 0x80);
    assert_eq!(
        (port.get(RBR_THR_DLL), port.get(IER_DLM), port.get(SCR)),
        (12, 0, 0)
    );
}

/// The steps of Linux `autoconfig()` that tell a 16550A from its relatives.
#[test]
fn autoconfig_linux_finds_a_16550a() {
    let port = Port::new();
    port.put(IER_DLM, 0);
    assert_eq!(port.get(IER_DLM) & 0x0f, 0);
    port.put(IER_DLM, 0x0f);
    assert_eq!(port.get(IER_DLM) & 0x0f, 0x0f);
    port.put(IER_DLM, 0xff);
    assert_eq!(
        port.get(IER_DLM),
        0x0f,
        "no XScale UUE, no 16750 sleep bits"
    );
    port.put(IER_DLM, 0);
    port.put(MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
    assert_eq!(port.get(MSR) & 0xf0, 0x90);
    port.put(MCR, 0);
    port.put(LCR, 0);
    assert_eq!(port.get(IIR_FCR) & 0xc0, 0, "FIFOs are off");
    port.put(IIR_FCR, FCR_ENABLE);
    assert_eq!(port.get(IIR_FCR) >> 6, 3, "16550A");
    port.put(LCR, 0xbf);
    assert_ne!(port.get(IIR_FCR), 0, "no EFR: not a 16650");
    port.put(LCR, 0x80);
    port.put(IIR_FCR, 0x21);
    assert_eq!(port.get(IIR_FCR) >> 5, 6, "no 64-byte FIFO: not a 16750");
}

/// The registers of Linux `serial_reg.h`, as numbers.
#[test]
fn registers_sit_where_drivers_expect_them() {
    let port = Port::new();
    port.put(3, 0x83);
    port.put(0, 0x11);
    port.put(1, 0x22);
    assert_eq!((port.get(0), port.get(1)), (0x11, 0x22));
    port.put(3, 0x03);
    port.put(2, 0x01);
    port.put(1, 0x01);
    port.put(7, 0x77);
    port.uart.offer(b"x");
    assert_eq!(
        [1, 2, 3, 5, 6, 7].map(|r| port.get(r)),
        [0x01, 0xc4, 0x03, 0x61, 0xb0, 0x77]
    );
    assert_eq!(port.get(0), b'x');
    port.put(0, b'y');
    port.put(4, 0x1b);
    assert_eq!((port.get(4), port.sink.take()), (0x1b, b"y".to_vec()));
}

#[test]
fn thr_write_is_sent_and_interrupts_once_until_identified() {
    let port = Port::new();
    assert_eq!(port.get(IIR_FCR), IIR_NONE);
    port.put(IER_DLM, IER_ETBEI);
    assert!(port.irq.high(), "empty when enabled");
    assert_eq!(port.get(IIR_FCR), IIR_THRE);
    assert!(!port.irq.high(), "identification served it");
    assert_eq!(port.get(IIR_FCR), IIR_NONE);
    for &byte in b"ok" {
        port.put(RBR_THR_DLL, byte);
    }
    assert_eq!(port.sink.take(), b"ok");
    assert!(port.irq.high());
    assert_eq!(port.get(LSR), LSR_THRE | LSR_TEMT);
    assert!(port.irq.high(), "only IIR serves THRE");
    port.put(IER_DLM, 0);
    assert!(!port.irq.high());
    port.put(IER_DLM, IER_ETBEI);
    assert_eq!(
        port.get(IIR_FCR),
        IIR_THRE,
        "enabling again interrupts again (Linux THRE test)"
    );
    port.put(IER_DLM, IER_ETBEI);
    assert_eq!(port.get(IIR_FCR), IIR_NONE, "no change, no interrupt");
}

#[test]
fn receive_below_and_at_trigger_gives_timeout_then_data() {
    let port = Port::new();
    port.put(IIR_FCR, FCR_ENABLE | 0x40);
    port.put(IER_DLM, IER_ERBFI);
    assert_eq!(port.uart.offer(b"abc"), 3);
    assert!(port.irq.high());
    assert_eq!(port.get(IIR_FCR), IIR_FIFOS | IIR_TIMEOUT);
    assert_eq!(port.uart.offer(b"d"), 1);
    assert_eq!(port.get(IIR_FCR), IIR_FIFOS | IIR_DATA);
    assert_eq!(port.get(RBR_THR_DLL), b'a');
    assert_eq!(port.get(IIR_FCR), IIR_FIFOS | IIR_TIMEOUT);
    assert_eq!([(); 3].map(|()| port.get(RBR_THR_DLL)), *b"bcd");
    assert!(!port.irq.high());
    assert_eq!(port.get(LSR) & LSR_DR, 0);
}

#[test]
fn receive_without_interrupt_enable_only_sets_data_ready() {
    let port = Port::new();
    port.listen();
    assert_eq!(port.uart.offer(b"xy"), 1, "one character without FIFOs");
    assert!(!port.irq.high());
    assert_eq!(port.get(LSR), LSR_DR | LSR_THRE | LSR_TEMT);
    assert_eq!(port.get(RBR_THR_DLL), b'x');
    assert_eq!(port.get(LSR) & LSR_DR, 0);
}

#[test]
fn cause_order_is_line_data_thre_modem() {
    let port = Port::new();
    port.put(IIR_FCR, FCR_ENABLE);
    port.put(IER_DLM, 0x0f);
    port.put(MCR, MCR_LOOP);
    for _ in 0..=FIFO_CHARS {
        port.put(RBR_THR_DLL, 7);
    }
    let cause = |port: &Port| port.get(IIR_FCR) & 0x0f;
    assert_eq!(cause(&port), IIR_LINE);
    assert_eq!(port.get(LSR), LSR_DR | LSR_OE | LSR_THRE | LSR_TEMT);
    assert_eq!(cause(&port), IIR_DATA);
    port.put(IIR_FCR, FCR_ENABLE | FCR_CLEAR_RX);
    assert_eq!(cause(&port), IIR_THRE);
    assert_eq!(cause(&port), IIR_MODEM);
    assert!(port.irq.high());
    assert_eq!(port.get(MSR), MSR_DCTS | MSR_DDSR | MSR_DDCD);
    assert_eq!(cause(&port), IIR_NONE);
    assert!(!port.irq.high());
}

#[test]
fn loopback_returns_characters_and_keeps_them_from_the_sink() {
    let port = Port::new();
    port.put(IIR_FCR, FCR_ENABLE);
    port.put(MCR, MCR_LOOP);
    port.put(RBR_THR_DLL, b'L');
    assert_eq!(port.uart.offer(b"no"), 0);
    assert_eq!(port.get(RBR_THR_DLL), b'L');
    assert!(port.sink.take().is_empty());
}

#[test]
fn loopback_ring_indicator_reports_only_its_trailing_edge() {
    let port = Port::new();
    port.put(MCR, MCR_LOOP | MCR_OUT1 | MCR_OUT2 | MCR_RTS | MCR_DTR);
    assert_eq!(port.get(MSR), 0xf0);
    port.put(MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS | MCR_DTR);
    assert_eq!(port.get(MSR), 0xb0 | MSR_TERI);
    assert_eq!(port.get(MSR), 0xb0);
}

#[test]
fn overrun_without_fifos_keeps_the_new_character() {
    let port = Port::new();
    port.put(MCR, MCR_LOOP);
    port.put(RBR_THR_DLL, 1);
    port.put(RBR_THR_DLL, 2);
    assert_eq!(port.get(LSR) & LSR_OE, LSR_OE);
    assert_eq!(port.get(LSR) & LSR_OE, 0, "reading clears it");
    assert_eq!(port.get(RBR_THR_DLL), 2);
}

#[test]
fn break_shows_when_it_reaches_the_top() {
    let port = Port::new();
    port.put(IIR_FCR, FCR_ENABLE);
    port.put(IER_DLM, IER_ELSI);
    port.listen();
    port.uart.offer(b"a");
    port.uart.receive_break();
    assert!(!port.irq.high());
    assert_eq!(port.get(LSR), LSR_DR | LSR_THRE | LSR_TEMT | LSR_FIFO_ERROR);
    assert_eq!(port.get(RBR_THR_DLL), b'a');
    assert!(port.irq.high());
    assert_eq!(
        port.get(LSR),
        LSR_DR | LSR_BI | LSR_THRE | LSR_TEMT | LSR_FIFO_ERROR
    );
    assert!(!port.irq.high());
    assert_eq!(port.get(LSR), LSR_DR | LSR_THRE | LSR_TEMT);
    assert_eq!(port.get(RBR_THR_DLL), 0);
}

#[test]
fn offer_cut_short_is_called_back_when_drained() {
    let port = Port::new();
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    port.uart.on_ready(Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    port.put(IIR_FCR, FCR_ENABLE);
    port.listen();
    assert_eq!(port.uart.offer(&[b'z'; 20]), FIFO_CHARS);
    for _ in 1..FIFO_CHARS {
        port.get(RBR_THR_DLL);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    port.get(RBR_THR_DLL);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    port.get(LSR);
    assert_eq!(calls.load(Ordering::Relaxed), 1, "told once");
    assert_eq!(port.uart.offer(&[0; 16]), 16);
    for _ in 0..FIFO_CHARS {
        port.get(RBR_THR_DLL);
    }
    assert_eq!(
        calls.load(Ordering::Relaxed),
        1,
        "that offer was not cut short"
    );
    port.put(MCR, MCR_LOOP);
    assert_eq!(port.uart.offer(b"a"), 0);
    port.get(LSR);
    assert_eq!(calls.load(Ordering::Relaxed), 1, "loopback has no room");
    port.put(MCR, 0);
    assert_eq!(
        calls.load(Ordering::Relaxed),
        2,
        "leaving loopback makes room"
    );
    assert_eq!(port.uart.offer(&[0; 17]), 16);
    port.uart.reset();
    port.listen();
    assert_eq!(
        calls.load(Ordering::Relaxed),
        2,
        "what was typed before comes first"
    );
    for _ in 0..FIFO_CHARS {
        port.get(RBR_THR_DLL);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3, "a reset forgets nobody");
}

#[test]
fn take_received_reads_as_the_guest_does_and_makes_room() {
    let port = Port::new();
    let waiting = Arc::new(Mutex::new(b"root\n".to_vec()));
    let uart = Arc::new(port.uart);
    let (offered, weak) = (waiting.clone(), Arc::downgrade(&uart));
    uart.on_ready(Arc::new(move || {
        let mut waiting = offered.lock();
        let taken = weak.upgrade().map_or(0, |uart| uart.offer(&waiting));
        waiting.drain(..taken);
    }));
    uart.write(IER_DLM, Byte, u64::from(IER_ERBFI));
    assert!(!port.irq.high());
    // Without FIFOs there is room for one.
    let taken = uart.offer(&waiting.lock());
    assert_eq!(taken, 1);
    waiting.lock().drain(..taken);
    assert!(port.irq.high());
    let mut bytes = [0; 3];
    assert_eq!(uart.take_received(&mut bytes), 3);
    assert_eq!(&bytes, b"roo");
    assert!(port.irq.high(), "there is more");
    assert_eq!(uart.take_received(&mut bytes), 2);
    assert_eq!(&bytes[..2], b"t\n");
    assert!(!port.irq.high());
    assert_eq!(uart.take_received(&mut bytes), 0);
}

#[test]
fn fifo_mode_switch_clears_received_characters_and_keeps_them_for_a_guest_that_listens() {
    let port = Port::new();
    port.put(IIR_FCR, FCR_ENABLE);
    port.listen();
    port.uart.offer(b"abc");
    port.put(IIR_FCR, FCR_ENABLE);
    assert_eq!(port.get(LSR) & LSR_DR, LSR_DR, "no switch");
    port.put(IIR_FCR, FCR_CLEAR_RX);
    assert_eq!(port.get(LSR) & LSR_DR, 0);
    assert_eq!(port.get(IIR_FCR), IIR_NONE);
    assert_eq!(port.get(RBR_THR_DLL), 0);
    port.listen();
    assert_eq!(port.uart.offer(b"d"), 0, "behind those");
    assert_eq!([(); 3].map(|()| port.get(RBR_THR_DLL)), *b"abc");
    assert_eq!(port.uart.offer(b"d"), 1);
}

/// What Linux does before it takes characters: `autoconfig()`, then `serial8250_do_startup()`.
#[test]
fn input_from_before_the_driver_is_lost_neither_by_its_probing_nor_by_its_start() {
    let port = Port::new();
    let (typed, sent) = (b"typed while nothing listened", AtomicU32::new(0));
    let offer = || {
        let at = sent.load(Ordering::Relaxed);
        let taken = port.uart.offer(&typed[at as usize..]);
        sent.store(at + taken as u32, Ordering::Relaxed);
    };
    offer();
    assert_eq!(sent.load(Ordering::Relaxed), 0);
    for (register, value) in [
        (IER_DLM, 0x0f),
        (IER_DLM, 0),
        (IIR_FCR, FCR_ENABLE),
        (IER_DLM, 0x0f),
        (IER_DLM, 0),
        (IIR_FCR, FCR_ENABLE | FCR_CLEAR_RX),
        (IIR_FCR, 0),
    ] {
        port.put(register, value);
        offer();
    }
    for register in [LSR, RBR_THR_DLL, IIR_FCR, MSR, LSR, RBR_THR_DLL] {
        port.get(register);
        offer();
    }
    port.put(IIR_FCR, FCR_ENABLE);
    port.put(IER_DLM, IER_ERBFI | IER_ELSI);
    let mut got = Vec::new();
    while port.irq.high() && got.len() < typed.len() {
        got.push(port.get(RBR_THR_DLL));
        offer();
    }
    assert_eq!(got, typed);
}

#[test]
fn restore_of_a_save_continues_alike() {
    let port = Port::new();
    port.put(LCR, 0x83);
    port.put(RBR_THR_DLL, 1);
    port.put(IER_DLM, 2);
    port.put(LCR, 0x03);
    port.put(IIR_FCR, FCR_ENABLE | 0x80);
    port.put(IER_DLM, 0x0f);
    port.put(SCR, 9);
    port.put(MCR, MCR_RTS);
    port.uart.offer(b"q");
    port.uart.receive_break();
    let saved = port.uart.save();
    let other = Port::new();
    other.uart.restore(saved.clone()).unwrap();
    assert_eq!(other.uart.save(), saved);
    assert!(other.irq.high());
    for register in [
        IIR_FCR,
        RBR_THR_DLL,
        LSR,
        IIR_FCR,
        MSR,
        MCR,
        SCR,
        LCR,
        IER_DLM,
    ] {
        assert_eq!(
            other.get(register),
            port.get(register),
            "register {register}"
        );
    }
    let stale = SavedState {
        version: 0,
        ..saved.clone()
    };
    assert!(matches!(
        other.uart.restore(stale),
        Err(crate::state::RestoreError::Version { .. })
    ));
    let long = SavedState {
        rx: vec![(0, 0); 17],
        ..saved
    };
    assert!(other.uart.restore(long).is_err());
}

/// The UART behind a real PLIC, and a driver that claims, does something, and completes.
struct Wired {
    uart: Ns16550,
    plic: crate::intc::plic::Plic,
}

impl Wired {
    const SOURCE: u32 = 10;
    const CLAIM: u64 = 0x20_0004;

    fn new() -> Self {
        let plic = crate::intc::plic::Plic::new(96, vec![Arc::new(Level::default())]);
        let uart = Ns16550::new(plic.source(Self::SOURCE), Arc::new(Collect::default()));
        plic.write(4 * u64::from(Self::SOURCE), AccessWidth::Word, 1);
        plic.write(0x2000, AccessWidth::Word, 1 << Self::SOURCE);
        Self { uart, plic }
    }

    /// Polls so often; returns the interrupts that were claimed, each served by `serve`.
    fn claims(&self, polls: u32, mut serve: impl FnMut(&Ns16550)) -> u32 {
        let claims = (0..polls).filter(|_| {
            let source = self.plic.read(Self::CLAIM, AccessWidth::Word);
            if source != 0 {
                serve(&self.uart);
                self.plic.write(Self::CLAIM, AccessWidth::Word, source);
            }
            source != 0
        });
        claims.count() as u32
    }
}

#[test]
fn thre_of_a_driver_that_never_reads_iir_is_one_interrupt_a_character() {
    let wired = Wired::new();
    wired.uart.write(IER_DLM, Byte, u64::from(IER_ETBEI));
    assert_eq!(wired.claims(20, |_| {}), 1, "enabled while empty");
    wired.uart.write(RBR_THR_DLL, Byte, 1);
    assert_eq!(wired.claims(20, |_| {}), 1, "one character");
    // Further characters are sent by the handler, between claim and completion: none of their interrupts is lost.
    let mut left = 5;
    wired.uart.write(RBR_THR_DLL, Byte, 1);
    let claims = wired.claims(20, |uart| {
        if left > 0 {
            left -= 1;
            uart.write(RBR_THR_DLL, Byte, 1);
        }
    });
    assert_eq!((claims, left), (6, 0));
}

#[test]
fn received_characters_stay_a_level_for_a_driver_that_never_reads_iir() {
    let wired = Wired::new();
    wired
        .uart
        .write(IER_DLM, Byte, u64::from(IER_ETBEI | IER_ERBFI));
    assert_eq!(wired.claims(20, |_| {}), 1, "the transmitter");
    wired.uart.write(IIR_FCR, Byte, u64::from(FCR_ENABLE));
    assert_eq!(wired.uart.offer(b"abc"), 3);
    assert_eq!(wired.claims(5, |_| {}), 5, "nobody reads them");
    let read = |uart: &Ns16550| {
        uart.read(RBR_THR_DLL, Byte);
    };
    assert_eq!(wired.claims(20, read), 3, "one each");
}

#[test]
fn thre_of_a_driver_that_reads_iir_is_a_level_as_the_data_sheet_says() {
    let wired = Wired::new();
    wired.uart.read(IIR_FCR, Byte);
    wired.uart.write(IER_DLM, Byte, u64::from(IER_ETBEI));
    assert_eq!(wired.claims(5, |_| {}), 5);
    let identify = |uart: &Ns16550| {
        uart.read(IIR_FCR, Byte);
    };
    assert_eq!(wired.claims(5, identify), 1);
}

proptest::proptest! {
    #[test]
    fn fuzz_any_script_leaves_line_and_cause_agreeing(script in crate::testing::script(), input in proptest::prelude::any::<Vec<u8>>()) {
        let port = Port::new();
        for part in script.chunks(16) {
            crate::fuzzing::drive(&port.uart, RANGE_BYTES, part);
            port.uart.offer(&input);
            proptest::prop_assert!(port.uart.state.lock().rx.len() <= FIFO_CHARS);
            let line = port.irq.high();
            let (level, identifies) = {
                let state = port.uart.state.lock();
                (state.level(), state.identifies)
            };
            proptest::prop_assert_eq!(line, level);
            let pending = port.get(IIR_FCR) & 1 == 0;
            proptest::prop_assert!(!identifies || line == pending);
        }
    }
}
