//! Registers of the 16550A (National Semiconductor PC16550D data sheet, June 1995, section 8).

/// Bytes of address space: eight one-byte registers.
pub const RANGE_BYTES: u64 = 8;
/// Characters that the receiver FIFO holds (8.11).
pub const FIFO_CHARS: usize = 16;

/// Receiver buffer (read), transmitter holding (write); divisor latch low byte when DLAB is set (table II).
pub const RBR_THR_DLL: u64 = 0;
/// Interrupt enable (8.7); divisor latch high byte when DLAB is set.
pub const IER_DLM: u64 = 1;
/// Interrupt identification (read, 8.6), FIFO control (write, 8.5).
pub const IIR_FCR: u64 = 2;
/// Line control (8.1).
pub const LCR: u64 = 3;
/// Modem control (8.8).
pub const MCR: u64 = 4;
/// Line status (8.4).
pub const LSR: u64 = 5;
/// Modem status (8.9).
pub const MSR: u64 = 6;
/// Scratchpad (8.10).
pub const SCR: u64 = 7;

/// IER: received data available.
pub const IER_ERBFI: u8 = 1 << 0;
/// IER: transmitter holding register empty.
pub const IER_ETBEI: u8 = 1 << 1;
/// IER: receiver line status.
pub const IER_ELSI: u8 = 1 << 2;
/// IER: modem status.
pub const IER_EDSSI: u8 = 1 << 3;
/// IER: bits that exist on a 16550 (bits 4-7 always read zero).
pub const IER_MASK: u8 = 0x0f;

/// IIR: no interrupt is pending.
pub const IIR_NONE: u8 = 0x01;
/// IIR: modem status changed (priority 4).
pub const IIR_MODEM: u8 = 0x00;
/// IIR: transmitter holding register empty (priority 3).
pub const IIR_THRE: u8 = 0x02;
/// IIR: received data available or trigger level reached (priority 2).
pub const IIR_DATA: u8 = 0x04;
/// IIR: characters wait in the FIFO below the trigger level (priority 2).
pub const IIR_TIMEOUT: u8 = 0x0c;
/// IIR: receiver line status (priority 1).
pub const IIR_LINE: u8 = 0x06;
/// IIR: FIFOs are enabled.
pub const IIR_FIFOS: u8 = 0xc0;

/// FCR: enable both FIFOs.
pub const FCR_ENABLE: u8 = 1 << 0;
/// FCR: clear the receiver FIFO (resets itself).
pub const FCR_CLEAR_RX: u8 = 1 << 1;
/// Receiver trigger level for FCR bits 7:6 (8.5).
pub const FCR_TRIGGER: [usize; 4] = [1, 4, 8, 14];

/// LCR: divisor latch access.
pub const LCR_DLAB: u8 = 1 << 7;

/// MCR: data terminal ready.
pub const MCR_DTR: u8 = 1 << 0;
/// MCR: request to send.
pub const MCR_RTS: u8 = 1 << 1;
/// MCR: auxiliary output 1.
pub const MCR_OUT1: u8 = 1 << 2;
/// MCR: auxiliary output 2.
pub const MCR_OUT2: u8 = 1 << 3;
/// MCR: local loopback.
pub const MCR_LOOP: u8 = 1 << 4;
/// MCR: bits that exist.
pub const MCR_MASK: u8 = 0x1f;

/// LSR: data ready.
pub const LSR_DR: u8 = 1 << 0;
/// LSR: overrun error.
pub const LSR_OE: u8 = 1 << 1;
/// LSR: break interrupt.
pub const LSR_BI: u8 = 1 << 4;
/// LSR: transmitter holding register empty.
pub const LSR_THRE: u8 = 1 << 5;
/// LSR: transmitter empty.
pub const LSR_TEMT: u8 = 1 << 6;
/// LSR: an error is somewhere in the receiver FIFO.
pub const LSR_FIFO_ERROR: u8 = 1 << 7;

/// MSR: clear to send changed.
pub const MSR_DCTS: u8 = 1 << 0;
/// MSR: data set ready changed.
pub const MSR_DDSR: u8 = 1 << 1;
/// MSR: ring indicator went from on to off.
pub const MSR_TERI: u8 = 1 << 2;
/// MSR: data carrier detect changed.
pub const MSR_DDCD: u8 = 1 << 3;
/// MSR: clear to send.
pub const MSR_CTS: u8 = 1 << 4;
/// MSR: data set ready.
pub const MSR_DSR: u8 = 1 << 5;
/// MSR: ring indicator.
pub const MSR_RI: u8 = 1 << 6;
/// MSR: data carrier detect.
pub const MSR_DCD: u8 = 1 << 7;
/// MSR: the four inputs of a cable whose other end is there.
pub const MSR_CONNECTED: u8 = MSR_CTS | MSR_DSR | MSR_DCD;

/// Divisor after power-on: 9600 baud from the PC's 1.8432 MHz crystal. The data sheet leaves it undefined;
/// Linux divides by it before setting it.
pub const DLL_RESET: u8 = 12;
