//! Registers of the local APIC (Intel SDM 3A, chapter 11).

/// Bytes of the memory-mapped window (11.4.1).
pub const WINDOW_BYTES: u64 = 0x1000;
/// Where the window is after power-on (11.4.1).
pub const DEFAULT_BASE: u64 = 0xfee0_0000;
/// Model-specific registers.
pub mod msr {
    /// IA32_APIC_BASE (11.4.4).
    pub const APIC_BASE: u32 = 0x1b;
    /// IA32_TSC_DEADLINE (11.5.4.1).
    pub const TSC_DEADLINE: u32 = 0x6e0;
    /// First of the x2APIC registers: this plus the register's number (11.12.1.2).
    pub const X2APIC_FIRST: u32 = 0x800;
    /// Last of the x2APIC registers.
    pub const X2APIC_LAST: u32 = 0x8ff;
}
/// Bits of IA32_APIC_BASE (11.4.4, 11.12.1).
pub mod base {
    /// This is the processor that boots.
    pub const BSP: u64 = 1 << 8;
    /// x2APIC mode.
    pub const X2APIC: u64 = 1 << 10;
    /// Globally enabled.
    pub const ENABLE: u64 = 1 << 11;
    /// Where the base's page number begins.
    pub const ADDRESS_SHIFT: u32 = 12;
}
/// Register numbers: a sixteenth of the offset in the window (11.4.1, table 11-1), and the offset from the first MSR
/// (11.12.1.2, table 11-6).
pub mod reg {
    /// Local APIC ID.
    pub const ID: u8 = 0x02;
    /// Version.
    pub const VERSION: u8 = 0x03;
    /// Task priority.
    pub const TPR: u8 = 0x08;
    /// Arbitration priority.
    pub const APR: u8 = 0x09;
    /// Processor priority.
    pub const PPR: u8 = 0x0a;
    /// End of interrupt.
    pub const EOI: u8 = 0x0b;
    /// Remote read.
    pub const RRD: u8 = 0x0c;
    /// Logical destination.
    pub const LDR: u8 = 0x0d;
    /// Destination format.
    pub const DFR: u8 = 0x0e;
    /// Spurious interrupt vector.
    pub const SVR: u8 = 0x0f;
    /// First of eight in-service registers.
    pub const ISR: u8 = 0x10;
    /// First of eight trigger mode registers.
    pub const TMR: u8 = 0x18;
    /// First of eight interrupt request registers.
    pub const IRR: u8 = 0x20;
    /// After the last interrupt request register, and the error status.
    pub const ESR: u8 = 0x28;
    /// Local vector of corrected machine checks.
    pub const LVT_CMCI: u8 = 0x2f;
    /// Interrupt command, low half; in x2APIC mode all of it.
    pub const ICR: u8 = 0x30;
    /// Interrupt command, high half.
    pub const ICR_HIGH: u8 = 0x31;
    /// First of six local vectors: timer, thermal, performance, LINT0, LINT1, error.
    pub const LVT_TIMER: u8 = 0x32;
    /// Local vector of the thermal sensor, the second of the six.
    pub const LVT_THERMAL: u8 = 0x33;
    /// Local vector of errors, the last of the six.
    pub const LVT_ERROR: u8 = 0x37;
    /// Timer's initial count.
    pub const INITIAL_COUNT: u8 = 0x38;
    /// Timer's current count.
    pub const CURRENT_COUNT: u8 = 0x39;
    /// Timer's divide configuration.
    pub const DIVIDE: u8 = 0x3e;
    /// Self interrupt, x2APIC mode only.
    pub const SELF_IPI: u8 = 0x3f;
}
/// The version register (11.4.8): an integrated APIC, seven local vectors, EOI broadcasts can be suppressed.
pub const VERSION: u32 = 0x14 | 6 << 16 | 1 << 24;

/// Local vectors by their place in [`super::registers::Registers`]: register number less [`reg::LVT_TIMER`], CMCI last.
pub mod lvt {
    /// Timer.
    pub const TIMER: usize = 0;
    /// LINT0.
    pub const LINT0: usize = 3;
    /// Errors.
    pub const ERROR: usize = 5;
    /// Corrected machine checks.
    pub const CMCI: usize = 6;
    /// How many there are.
    pub const COUNT: usize = 7;
    /// Bits that can be written, by place (11.5.1, figure 11-8).
    pub const WRITABLE: [u32; COUNT] = [
        0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff, 0x1_07ff,
    ];
    /// Level-triggered (LINT0 and LINT1).
    pub const LEVEL: u32 = 1 << 15;
    /// A level-triggered interrupt was accepted and not ended yet.
    pub const REMOTE_IRR: u32 = 1 << 14;
    /// Masked.
    pub const MASKED: u32 = 1 << 16;
    /// Where the timer's mode is: 0 one-shot, 1 periodic, 2 TSC deadline.
    pub const TIMER_MODE_SHIFT: u32 = 17;
}
/// Bits of the spurious interrupt vector register (11.9).
pub mod svr {
    /// Enabled by software.
    pub const ENABLE: u32 = 1 << 8;
    /// The end of an interrupt is not broadcast.
    pub const SUPPRESS_EOI_BROADCAST: u32 = 1 << 12;
    /// Bits that can be written.
    pub const WRITABLE: u32 = 0xff | ENABLE | 1 << 9 | SUPPRESS_EOI_BROADCAST;
    /// After power-on.
    pub const RESET: u32 = 0xff;
}
/// Bits of the error status register (11.5.3).
pub mod esr {
    /// A vector below 16 was to be sent.
    pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    /// A vector below 16 was received.
    pub const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
    /// A register that does not exist was accessed.
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
}
/// Fields of the interrupt command register (11.6.1, 11.12.9).
pub mod icr {
    /// The destination is a logical one.
    pub const LOGICAL: u64 = 1 << 11;
    /// Assert, not de-assert.
    pub const ASSERT: u64 = 1 << 14;
    /// Level-triggered.
    pub const LEVEL: u64 = 1 << 15;
    /// Where the shorthand is: 0 none, 1 self, 2 all, 3 all others.
    pub const SHORTHAND_SHIFT: u32 = 18;
    /// Bits of the low half that can be written; delivery status is never pending here.
    pub const WRITABLE_LOW: u32 = 0x000c_cfff;
    /// Where the destination is in xAPIC mode.
    pub const DESTINATION_SHIFT: u32 = 56;
}
/// Delivery modes (11.5.1, 11.6.1).
pub mod mode {
    /// To all destinations.
    pub const FIXED: u8 = 0;
    /// To the one of the lowest priority.
    pub const LOWEST: u8 = 1;
    /// Non-maskable.
    pub const NMI: u8 = 4;
    /// INIT.
    pub const INIT: u8 = 5;
    /// Start-up.
    pub const STARTUP: u8 = 6;
    /// The vector comes from an external controller.
    pub const EXT_INT: u8 = 7;
}
/// Vectors below are reserved (11.5.2).
pub const FIRST_VECTOR: u8 = 16;
/// All bits of a destination in xAPIC mode: everyone (11.6.2.1).
pub const XAPIC_BROADCAST: u32 = 0xff;
/// The same in x2APIC mode (11.12.9).
pub const BROADCAST: u32 = u32::MAX;
/// The model of the destination format register that is not the cluster model (11.6.2.2).
pub const FLAT_MODEL: u32 = 0xf;

/// Fields of a message-signalled interrupt (11.11).
pub mod msi {
    /// Bits 31:20 of the address.
    pub const ADDRESS: u64 = 0xfee;
    /// Address: the destination is a logical one.
    pub const LOGICAL: u64 = 1 << 2;
    /// Address: to the one of the lowest priority.
    pub const REDIRECTION_HINT: u64 = 1 << 3;
    /// Data: assert, not de-assert.
    pub const ASSERT: u32 = 1 << 14;
    /// Data: level-triggered.
    pub const LEVEL: u32 = 1 << 15;
}
