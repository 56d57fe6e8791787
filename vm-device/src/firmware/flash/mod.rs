//! A bank of parallel NOR flash with the Intel command set, as EDK2, U-Boot and Linux drive it.
//!
//! Two 16-bit chips work in step, so one state machine stands for both: commands are taken from the lowest byte
//! of a write, and what a chip answers appears in both 16-bit lanes. A PC has one chip of eight bits, whose answer appears in
//! every byte. Every operation is finished before its last
//! write returns, so the ready bit is always set. Locking a sector is accepted and has no effect.

mod contents;
mod save;
pub mod spec;

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::{AccessWidth, GuestPhysAddr};
use vm_mem::{GuestMemory, MemoryError};

pub use save::SavedState;

use crate::BusDevice;
use contents::Contents;
use spec::*;

/// Where the cells of a bank are kept beyond the life of the virtual machine.
pub trait FlashStore: Send + Sync {
    /// Puts `cells` at `offset` bytes from the bank's start.
    ///
    /// # Errors
    /// When they cannot be kept; the guest sees a failed program or erase operation.
    fn write(&self, offset: u64, cells: &[u8]) -> io::Result<()>;
}

/// A bank in a host file, which grows as sectors are programmed.
pub struct FileStore {
    file: Mutex<File>,
}

impl FileStore {
    /// Keeps a bank in a file that is open for writing.
    pub fn new(file: File) -> Self {
        Self {
            file: Mutex::new(file),
        }
    }
}

impl FlashStore for FileStore {
    fn write(&self, offset: u64, cells: &[u8]) -> io::Result<()> {
        let mut file = self.file.lock();
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(cells)
    }
}

/// What a guest may do to a bank.
pub enum FlashAccess {
    /// Only read; programming and erasing fail.
    ReadOnly,
    /// Change it until the virtual machine ends.
    Volatile,
    /// Change it in a store for good, which holds the bank's image already.
    Stored(Box<dyn FlashStore>),
}

/// Why a bank could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The image is larger than the bank.
    #[error(
        "a flash image of {image_bytes} bytes does not fit a bank of {bank_bytes}; use a smaller image"
    )]
    ImageTooLong {
        /// Length of the image.
        image_bytes: u64,
        /// Size of the bank.
        bank_bytes: u64,
    },
    /// The geometry is not one that the chips can have.
    #[error(
        "a flash bank of {bank_bytes} bytes in sectors of {sector_bytes} cannot be built; \
         both must be powers of two, with 1 to 65536 sectors of 4 KiB to 16 MiB"
    )]
    BadGeometry {
        /// Size of the bank.
        bank_bytes: u64,
        /// Size of a sector.
        sector_bytes: u64,
    },
    /// The host would not give the memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What chips the bank is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Two of 16 bits, side by side.
    Pair,
    /// One of 8 bits.
    ///
    /// DEVIATION: clearing its status clears the ready bit, too, as in QEMU: OVMF takes a bank for flash only if the status
    /// then reads as zero.
    Single,
}

/// What a read returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Mode {
    Array,
    Status,
    Identifier,
    Query,
}

/// What the next write means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Awaits {
    Command,
    ProgramData,
    EraseConfirm,
    LockConfirm,
    BufferCount,
    /// `left` bytes for the buffer, which stands for the cells from `start` once the first has come.
    BufferData {
        left: u64,
        start: Option<u64>,
        cells: Vec<u8>,
    },
    BufferConfirm {
        start: u64,
        cells: Vec<u8>,
    },
}

struct State {
    mode: Mode,
    awaits: Awaits,
    status: u8,
}

impl State {
    const POWER_ON: Self = Self {
        mode: Mode::Array,
        awaits: Awaits::Command,
        status: SR_READY,
    };
}

/// A flash bank. Array reads take no lock.
pub struct Flash {
    contents: Contents,
    writable: bool,
    kind: Kind,
    state: Mutex<State>,
    /// Whether `state.mode` is [`Mode::Array`].
    array: AtomicBool,
}

impl Flash {
    /// A bank of the `virt` machine at `base` that holds `image`, and is erased from its end on.
    ///
    /// # Errors
    /// When the image is too long or the host refuses the memory.
    pub fn virt(
        base: GuestPhysAddr,
        image: &[u8],
        access: FlashAccess,
    ) -> Result<Self, FlashError> {
        Self::new(base, VIRT_BANK_BYTES, VIRT_SECTOR_BYTES, image, access)
    }

    /// A bank of `bank_bytes` bytes in equal sectors at `base` that holds `image`, and is erased from its end on.
    ///
    /// # Errors
    /// When the image is too long, no chips have that geometry, or the host refuses the memory.
    pub fn new(
        base: GuestPhysAddr,
        bank_bytes: u64,
        sector_bytes: u64,
        image: &[u8],
        access: FlashAccess,
    ) -> Result<Self, FlashError> {
        Self::made(base, bank_bytes, sector_bytes, image, access, Kind::Pair)
    }

    /// A bank of a PC at `base`, whose bytes are a multiple of [`PC_SECTOR_BYTES`], its sectors': OVMF's variables, below
    /// its code, below 4 GiB.
    ///
    /// # Errors
    /// When the image is too long, `bank_bytes` is no such number, or the host refuses the memory.
    pub fn pc(
        base: GuestPhysAddr,
        bank_bytes: u64,
        image: &[u8],
        access: FlashAccess,
    ) -> Result<Self, FlashError> {
        Self::made(
            base,
            bank_bytes,
            PC_SECTOR_BYTES,
            image,
            access,
            Kind::Single,
        )
    }

    fn made(
        base: GuestPhysAddr,
        bank_bytes: u64,
        sector_bytes: u64,
        image: &[u8],
        access: FlashAccess,
        kind: Kind,
    ) -> Result<Self, FlashError> {
        let whole = match kind {
            Kind::Pair => bank_bytes.is_power_of_two(),
            Kind::Single => bank_bytes.is_multiple_of(PC_SECTOR_BYTES),
        };
        let possible = whole
            && sector_bytes.is_power_of_two()
            && (1 << 12..=1 << 24).contains(&sector_bytes)
            && (1..=1 << 16).contains(&(bank_bytes / sector_bytes));
        if !possible {
            return Err(FlashError::BadGeometry {
                bank_bytes,
                sector_bytes,
            });
        }
        let image_bytes = image.len() as u64;
        if image_bytes > bank_bytes {
            return Err(FlashError::ImageTooLong {
                image_bytes,
                bank_bytes,
            });
        }
        let (writable, store) = match access {
            FlashAccess::ReadOnly => (false, None),
            FlashAccess::Volatile => (true, None),
            FlashAccess::Stored(store) => (true, Some(store)),
        };
        Ok(Self {
            contents: Contents::new(base, bank_bytes, sector_bytes, image, store)?,
            writable,
            kind,
            state: Mutex::new(State::POWER_ON),
            array: AtomicBool::new(true),
        })
    }

    /// The cells at their guest-physical addresses, for executing in place. A virtual CPU may fetch from it
    /// directly (programming and erasing go through [`GuestMemory::write`], so translated code is dropped), but
    /// its loads and stores must come to the device: they depend on the mode, and sectors that were never
    /// programmed may read as zeros here.
    pub fn memory(&self) -> &GuestMemory {
        self.contents.memory()
    }

    /// Bytes of address space.
    pub fn range_bytes(&self) -> u64 {
        self.contents.bytes()
    }

    /// The bus word that the chips answer at `index` when not in array mode.
    fn answer(&self, state: &State, index: u64) -> u32 {
        let lane = match state.mode {
            Mode::Array | Mode::Status => u16::from(state.status),
            // Beyond codes 0 and 1 each sector has its lock bits at 2; none is ever locked.
            Mode::Identifier => match index & 0xff {
                0 => ID_MANUFACTURER,
                1 => ID_DEVICE,
                _ => 0,
            },
            Mode::Query => u16::from(query(
                index,
                self.contents.bytes(),
                self.contents.sector_bytes(),
            )),
        };
        match self.kind {
            Kind::Pair => u32::from(lane) | u32::from(lane) << 16,
            Kind::Single => u32::from(lane as u8) * 0x0101_0101,
        }
    }

    fn command(&self, state: &mut State, command: u8) {
        state.awaits = Awaits::Command;
        match command {
            READ_STATUS => state.mode = Mode::Status,
            READ_ID => state.mode = Mode::Identifier,
            READ_QUERY => state.mode = Mode::Query,
            CLEAR_STATUS if self.kind == Kind::Single => state.status = 0,
            CLEAR_STATUS => state.status = SR_READY,
            PROGRAM | PROGRAM_ALTERNATE => state.expect(Awaits::ProgramData),
            BUFFERED_PROGRAM => state.expect(Awaits::BufferCount),
            ERASE => state.expect(Awaits::EraseConfirm),
            LOCK_SETUP => state.expect(Awaits::LockConfirm),
            // READ_ARRAY, READ_ARRAY_AMD; a code without meaning leaves the chips readable as well.
            _ => state.mode = Mode::Array,
        }
    }

    fn change(&self, state: &mut State, error: u8, operation: impl FnOnce(&Contents) -> bool) {
        state.status |= SR_READY;
        if !self.writable {
            state.status |= error | SR_LOCKED;
        } else if !operation(&self.contents) {
            state.status |= error;
        }
    }

    /// Takes one bus write: a command, or what the last command waits for.
    fn cycle(&self, state: &mut State, offset: u64, data: &[u8]) {
        let code = data[0];
        match std::mem::replace(&mut state.awaits, Awaits::Command) {
            Awaits::Command => self.command(state, code),
            Awaits::ProgramData => {
                self.change(state, SR_PROGRAM, |contents| contents.program(offset, data));
            }
            Awaits::EraseConfirm if code == CONFIRM => {
                self.change(state, SR_ERASE, |contents| contents.erase(offset));
            }
            Awaits::LockConfirm if code != READ_ARRAY => {}
            Awaits::BufferCount if (u64::from(code) + 1) * BUS_BYTES <= BUFFER_BYTES => {
                let left = (u64::from(code) + 1) * BUS_BYTES;
                let cells = vec![0xff; BUFFER_BYTES as usize];
                state.awaits = Awaits::BufferData {
                    left,
                    start: None,
                    cells,
                };
            }
            Awaits::BufferData { left, start, cells } => {
                state.fill_buffer(left, start, cells, offset, data);
            }
            Awaits::BufferConfirm { start, cells } if code == CONFIRM => {
                self.change(state, SR_PROGRAM, |contents| {
                    contents.program(start, &cells)
                });
            }
            // The way out of a sequence is reading the array; anything else is an error besides.
            _ if code == READ_ARRAY => state.mode = Mode::Array,
            _ => state.improper_sequence(),
        }
    }

    fn publish_mode(&self, state: &State) {
        self.array
            .store(state.mode == Mode::Array, Ordering::Release);
    }
}

impl State {
    fn expect(&mut self, awaits: Awaits) {
        self.awaits = awaits;
        self.mode = Mode::Status;
    }

    fn improper_sequence(&mut self) {
        self.status |= SR_ERASE | SR_PROGRAM;
    }

    /// Puts one write into the write buffer, whose window the first write chooses.
    fn fill_buffer(
        &mut self,
        left: u64,
        start: Option<u64>,
        mut cells: Vec<u8>,
        offset: u64,
        data: &[u8],
    ) {
        let start = start.unwrap_or(offset / BUFFER_BYTES * BUFFER_BYTES);
        let bytes = data.len() as u64;
        let within = offset.wrapping_sub(start);
        if within
            .checked_add(bytes)
            .is_none_or(|end| end > BUFFER_BYTES)
        {
            return self.improper_sequence();
        }
        cells[within as usize..][..data.len()].copy_from_slice(data);
        self.awaits = match left.checked_sub(bytes) {
            None | Some(0) => Awaits::BufferConfirm { start, cells },
            Some(left) => Awaits::BufferData {
                left,
                start: Some(start),
                cells,
            },
        };
    }
}

impl BusDevice for Flash {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let mut bytes = [0; 8];
        let part = &mut bytes[..width.bytes() as usize];
        if !self.array.load(Ordering::Acquire) {
            let state = self.state.lock();
            if state.mode != Mode::Array {
                for (at, byte) in (offset..).zip(part) {
                    let word = self.answer(&state, at / BUS_BYTES);
                    *byte = (word >> (at % BUS_BYTES * 8)) as u8;
                }
                return u64::from_le_bytes(bytes);
            }
        }
        self.contents.read(offset, part);
        u64::from_le_bytes(bytes)
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let mut state = self.state.lock();
        let bytes = value.to_le_bytes();
        let data = &bytes[..width.bytes() as usize];
        // An access wider than the bus reaches the chips as several.
        for (at, part) in (offset..)
            .step_by(BUS_BYTES as usize)
            .zip(data.chunks(BUS_BYTES as usize))
        {
            self.cycle(&mut state, at, part);
        }
        self.publish_mode(&state);
    }

    /// Back to reading the array; the cells stay.
    fn reset(&self) {
        let mut state = self.state.lock();
        *state = State::POWER_ON;
        self.publish_mode(&state);
    }
}

#[cfg(test)]
mod tests;
