//! Registers and structures of NVM Express (NVM Express Base Specification 1.4).

/// Vendor and device: QEMU's controller.
pub const ID: (u16, u16) = (0x1b36, 0x0010);
/// Class of an NVM Express controller.
pub const CLASS: u32 = 0x01_0802;
/// Base address register of the registers (2.1.10).
pub const BAR: u8 = 0;
/// Bytes behind it.
pub const BAR_BYTES: u64 = 0x4000;
/// Base address register of the messages' table.
pub const MESSAGES_BAR: u8 = 4;
/// Bytes behind it.
pub const MESSAGES_BAR_BYTES: u64 = 0x1000;
/// Where the pending bits lie behind it.
pub const MESSAGES_PENDING: u64 = 0x800;

/// Controller registers (3.1).
pub mod reg {
    /// Capabilities, 64 bits.
    pub const CAPABILITIES: u64 = 0x00;
    /// Version.
    pub const VERSION: u64 = 0x08;
    /// Sets bits of the interrupt mask.
    pub const MASK_SET: u64 = 0x0c;
    /// Clears bits of the interrupt mask.
    pub const MASK_CLEAR: u64 = 0x10;
    /// Configuration.
    pub const CONFIGURATION: u64 = 0x14;
    /// Status.
    pub const STATUS: u64 = 0x1c;
    /// Sizes of the admin queues.
    pub const ADMIN_SIZES: u64 = 0x24;
    /// Admin submission queue, 64 bits.
    pub const ADMIN_SUBMISSION: u64 = 0x28;
    /// Admin completion queue, 64 bits.
    pub const ADMIN_COMPLETION: u64 = 0x30;
    /// First doorbell; a submission queue's, then its completion queue's, four bytes each.
    pub const DOORBELLS: u64 = 0x1000;
}
/// Entries that a queue can have.
pub const QUEUE_ENTRIES: u32 = 1024;
/// Queues of each kind, the admin ones included.
pub const QUEUES: usize = 17;
/// Capabilities: sizes less one, contiguous queues, ten seconds to get ready, the NVM command set, pages of 4 KiB.
pub const CAPABILITIES_VALUE: u64 = (QUEUE_ENTRIES as u64 - 1) | 1 << 16 | 20 << 24 | 1 << 37;
/// The version: 1.4.
pub const VERSION_VALUE: u32 = 0x0001_0400;
/// Configuration: enabled.
pub const ENABLE: u32 = 1 << 0;
/// Configuration: the shutdown that is asked for.
pub const SHUTDOWN: u32 = 3 << 14;
/// Status: ready.
pub const READY: u32 = 1 << 0;
/// Status: the controller has failed.
pub const FATAL: u32 = 1 << 1;
/// Status: shutdown is complete.
pub const SHUTDOWN_DONE: u32 = 2 << 2;
/// Base-2 logarithm of the pages that a command can move.
pub const TRANSFER_PAGES: u8 = 7;
/// Bytes of a command.
pub const COMMAND_BYTES: u64 = 64;
/// Bytes of a completion.
pub const COMPLETION_BYTES: u64 = 16;
/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 512;
/// Asynchronous event requests that wait at once.
pub const EVENTS: u8 = 4;

/// Admin commands (5).
pub mod admin {
    /// Delete I/O submission queue.
    pub const DELETE_SUBMISSION: u8 = 0x00;
    /// Create I/O submission queue.
    pub const CREATE_SUBMISSION: u8 = 0x01;
    /// Get log page.
    pub const LOG: u8 = 0x02;
    /// Delete I/O completion queue.
    pub const DELETE_COMPLETION: u8 = 0x04;
    /// Create I/O completion queue.
    pub const CREATE_COMPLETION: u8 = 0x05;
    /// Identify.
    pub const IDENTIFY: u8 = 0x06;
    /// Abort.
    pub const ABORT: u8 = 0x08;
    /// Set features.
    pub const SET_FEATURES: u8 = 0x09;
    /// Get features.
    pub const GET_FEATURES: u8 = 0x0a;
    /// Asynchronous event request.
    pub const EVENT: u8 = 0x0c;
}
/// Features (5.21.1).
pub mod feature {
    /// Volatile write cache.
    pub const WRITE_CACHE: u8 = 0x06;
    /// Number of queues.
    pub const QUEUES: u8 = 0x07;
    /// Those that are remembered without effect: arbitration, power, temperature, error recovery, coalescing, vectors,
    /// atomicity, events.
    pub const KEPT: [u8; 8] = [0x01, 0x02, 0x04, 0x05, 0x08, 0x09, 0x0a, 0x0b];
}
/// Commands of the NVM command set (6).
pub mod nvm {
    /// Flush.
    pub const FLUSH: u8 = 0x00;
    /// Write.
    pub const WRITE: u8 = 0x01;
    /// Read.
    pub const READ: u8 = 0x02;
    /// Write zeroes.
    pub const WRITE_ZEROES: u8 = 0x08;
    /// Dataset management.
    pub const DATASET: u8 = 0x09;
    /// Read and write, in double word 12: for good before it ends.
    pub const FORCE_ACCESS: u32 = 1 << 30;
    /// Dataset management, in double word 11: deallocate.
    pub const DEALLOCATE: u32 = 1 << 2;
}
/// Status codes with their type in bits 10:8 (4.6.1).
pub mod status {
    /// Success.
    pub const SUCCESS: u16 = 0;
    /// No such command.
    pub const BAD_OPCODE: u16 = 0x01;
    /// A field is wrong.
    pub const BAD_FIELD: u16 = 0x02;
    /// Memory could not be accessed.
    pub const TRANSFER: u16 = 0x04;
    /// No such namespace.
    pub const BAD_NAMESPACE: u16 = 0x0b;
    /// A list of regions is wrong.
    pub const BAD_OFFSET: u16 = 0x13;
    /// Past the end.
    pub const OUT_OF_RANGE: u16 = 0x80;
    /// No such completion queue.
    pub const BAD_COMPLETION: u16 = 0x100;
    /// No such queue, or there is one already.
    pub const BAD_QUEUE: u16 = 0x101;
    /// A queue cannot have that size.
    pub const BAD_SIZE: u16 = 0x102;
    /// Too many event requests.
    pub const EVENT_LIMIT: u16 = 0x105;
    /// No such vector.
    pub const BAD_VECTOR: u16 = 0x108;
    /// No such log page.
    pub const BAD_LOG: u16 = 0x109;
    /// The queue is still used.
    pub const IN_USE: u16 = 0x10c;
    /// The storage failed to write.
    pub const WRITE_FAULT: u16 = 0x280;
    /// The storage failed to read.
    pub const READ_FAULT: u16 = 0x281;
    /// The namespace cannot be written.
    pub const READ_ONLY: u16 = 0x282;
}
