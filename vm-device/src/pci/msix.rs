//! MSI-X: a function's table of messages (PCI Express Base 6.0, 7.7.2; PCI Local Bus 3.0, 6.8.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vm_core::AccessWidth;

use super::ConfigSpace;
use super::spec::msix::{
    CAPABILITY, CONTROL_ENABLE, CONTROL_MASK, ENTRY_BYTES, ENTRY_MASKED, MAX_VECTORS,
};
use crate::intc::MsiTarget;

/// One vector's message: address low and high, data, control.
type Entry = [u32; 4];

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct State {
    entries: Vec<Entry>,
    /// Vectors whose message waits for being unmasked, 64 a word.
    pending: Vec<u64>,
    masked: bool,
}

/// What a function has to save of it; the enable bit is in configuration space.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedMessages(State);

/// The messages of one function.
pub struct Msix {
    target: Arc<dyn MsiTarget>,
    enabled: AtomicBool,
    state: Mutex<State>,
}

impl Msix {
    /// A table of `vectors` vectors (1 to 2048) whose messages go to `target`. It is off and masked.
    ///
    /// # Panics
    /// With another number of vectors.
    pub fn new(vectors: u16, target: Arc<dyn MsiTarget>) -> Arc<Self> {
        assert!(
            (1..=MAX_VECTORS).contains(&vectors),
            "invariant: an MSI-X table has 1 to 2048 vectors"
        );
        let count = usize::from(vectors);
        Arc::new(Self {
            target,
            enabled: AtomicBool::new(false),
            state: Mutex::new(State {
                entries: vec![[0, 0, 0, ENTRY_MASKED]; count],
                pending: vec![0; count.div_ceil(64)],
                masked: false,
            }),
        })
    }

    /// Appends the capability to a function's configuration space: the table lies at `table` behind base address
    /// register `bar`, the pending bits at `pending`. Returns where its control register is, whose writes are for
    /// [`Msix::set_control`].
    pub fn add_capability(
        &self,
        config: &mut ConfigSpace,
        bar: u8,
        table: u32,
        pending: u32,
    ) -> u16 {
        let mut body = (self.vectors() - 1).to_le_bytes().to_vec();
        body.extend((table | u32::from(bar)).to_le_bytes());
        body.extend((pending | u32::from(bar)).to_le_bytes());
        let writable = (CONTROL_ENABLE | CONTROL_MASK).to_le_bytes();
        config.add_capability(CAPABILITY, &body, &writable) + 2
    }

    /// Vectors in the table.
    pub fn vectors(&self) -> u16 {
        self.state.lock().entries.len() as u16
    }

    /// Bytes of the table.
    pub fn table_bytes(&self) -> u64 {
        u64::from(self.vectors()) * ENTRY_BYTES
    }

    /// Whether messages are used, so that the function does not assert INTx.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// Applies the control register.
    pub fn set_control(&self, control: u16) {
        let mut state = self.state.lock();
        state.masked = control & CONTROL_MASK != 0;
        self.enabled
            .store(control & CONTROL_ENABLE != 0, Ordering::Release);
        for vector in 0..state.entries.len() {
            self.settle(&mut state, vector);
        }
    }

    /// Sends a message that waits and need not any more.
    fn settle(&self, state: &mut State, vector: usize) {
        let (word, bit) = (vector / 64, 1 << (vector % 64));
        let [low, high, data, control] = state.entries[vector];
        let masked = state.masked || control & ENTRY_MASKED != 0 || !self.is_enabled();
        if !masked && state.pending[word] & bit != 0 {
            state.pending[word] &= !bit;
            self.target
                .write(u64::from(high) << 32 | u64::from(low), data);
        }
    }

    /// Sends the message of a vector, or notes that it is to be sent when the vector is unmasked. Nothing happens while
    /// messages are off, or for a vector that there is not.
    pub fn raise(&self, vector: u16) {
        let mut state = self.state.lock();
        let vector = usize::from(vector);
        if self.is_enabled() && vector < state.entries.len() {
            state.pending[vector / 64] |= 1 << (vector % 64);
            self.settle(&mut state, vector);
        }
    }

    /// Reads the table at an offset within it. Accesses of four and eight bytes are allowed.
    pub fn read_table(&self, offset: u64, width: AccessWidth) -> u64 {
        let state = self.state.lock();
        let word = |at: u64| -> u64 {
            let entry = state.entries.get((at / ENTRY_BYTES) as usize);
            entry.map_or(0, |entry| entry[(at % ENTRY_BYTES / 4) as usize].into())
        };
        match width {
            AccessWidth::Word if offset.is_multiple_of(4) => word(offset),
            AccessWidth::Double if offset.is_multiple_of(8) => {
                word(offset) | word(offset + 4) << 32
            }
            _ => 0,
        }
    }

    /// Writes the table at an offset within it.
    pub fn write_table(&self, offset: u64, width: AccessWidth, value: u64) {
        let parts: &[u64] = match width {
            AccessWidth::Word if offset.is_multiple_of(4) => &[0],
            AccessWidth::Double if offset.is_multiple_of(8) => &[0, 4],
            _ => return,
        };
        let mut state = self.state.lock();
        for &part in parts {
            let at = offset + part;
            let vector = (at / ENTRY_BYTES) as usize;
            let Some(entry) = state.entries.get_mut(vector) else {
                continue;
            };
            let value = (value >> (8 * part)) as u32;
            match (at % ENTRY_BYTES / 4) as usize {
                // A double word, aligned (7.7.2.5).
                0 => entry[0] = value & !3,
                3 => entry[3] = value & ENTRY_MASKED,
                field => entry[field] = value,
            }
            self.settle(&mut state, vector);
        }
    }

    /// Reads the pending bits at an offset within them.
    pub fn read_pending(&self, offset: u64, width: AccessWidth) -> u64 {
        let state = self.state.lock();
        let word = state
            .pending
            .get((offset / 8) as usize)
            .copied()
            .unwrap_or(0);
        let fits = offset % 8 + width.bytes() <= 8;
        if fits {
            word >> (8 * (offset % 8)) & width.mask()
        } else {
            0
        }
    }

    /// Off, masked, nothing pending.
    pub fn reset(&self) {
        let mut state = self.state.lock();
        self.enabled.store(false, Ordering::Release);
        state.masked = false;
        state.entries.fill([0, 0, 0, ENTRY_MASKED]);
        state.pending.fill(0);
    }

    /// Table and pending bits.
    pub fn save(&self) -> SavedMessages {
        SavedMessages(self.state.lock().clone())
    }

    /// Whether saved messages are of such a table.
    pub fn fits(&self, saved: &SavedMessages) -> bool {
        let SavedMessages(saved) = saved;
        let own = self.state.lock();
        (saved.entries.len(), saved.pending.len()) == (own.entries.len(), own.pending.len())
    }

    /// Puts messages back that [fit](Msix::fits); the control register comes with [`Msix::set_control`].
    pub fn restore(&self, saved: &SavedMessages) {
        if self.fits(saved) {
            self.state.lock().clone_from(&saved.0);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use AccessWidth::{Double, Word};

    /// Keeps the messages that it gets.
    #[derive(Default)]
    pub(crate) struct Mailbox(Mutex<Vec<(u64, u32)>>);
    impl Mailbox {
        pub(crate) fn take(&self) -> Vec<(u64, u32)> {
            std::mem::take(&mut self.0.lock())
        }
    }
    impl MsiTarget for Mailbox {
        fn write(&self, address: u64, data: u32) {
            self.0.lock().push((address, data));
        }
    }

    #[test]
    fn message_waits_for_each_mask() {
        let mailbox = Arc::new(Mailbox::default());
        let table = Msix::new(70, mailbox.clone());
        table.write_table(0x440, Double, 0xfee0_1003);
        table.write_table(0x448, Word, 0x41);
        assert_eq!(table.read_table(0x440, Double), 0xfee0_1000);
        assert_eq!(table.read_table(0x448, Double), 1 << 32 | 0x41);
        table.raise(68);
        table.set_control(0xc000);
        assert_eq!(table.read_pending(8, Double), 0, "it was off");
        table.raise(68);
        table.raise(70);
        assert_eq!(table.read_pending(8, Double), 1 << 4);
        table.write_table(0x44c, Word, 0);
        assert_eq!(mailbox.take(), []);
        table.set_control(0x8000);
        assert_eq!(mailbox.take(), [(0xfee0_1000, 0x41)]);
        assert_eq!(table.read_pending(8, Word), 0);
        table.raise(68);
        assert_eq!(mailbox.take(), [(0xfee0_1000, 0x41)]);
        table.write_table(0x44c, Word, 1);
        table.raise(68);
        let saved = table.save();
        table.reset();
        assert!(!table.is_enabled() && table.read_pending(8, Word) == 0);
        table.restore(&saved);
        table.set_control(0x8000);
        table.write_table(0x44c, Word, 0);
        assert_eq!(mailbox.take(), [(0xfee0_1000, 0x41)]);
        assert!(!Msix::new(2, mailbox).fits(&saved));
    }
}
