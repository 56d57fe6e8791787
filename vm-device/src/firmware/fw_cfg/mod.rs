//! The firmware configuration device: items by key and files by name for firmware and kernels. [`FwCfg`] answers as the
//! memory-mapped form, [`FwCfgPorts`] is a PC's ports onto the same.
//!
//! Items are read-only to the guest but for files that say otherwise; a DMA write to others ends with the error bit.

mod ports;
mod save;
pub mod spec;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use vm_core::{AccessWidth, GuestPhysAddr};
use vm_mem::GuestMemory;

pub use ports::{FwCfgPorts, PORT as FIRST_PORT, RANGE_BYTES as PORTS};
pub use save::SavedState;

use crate::BusDevice;
use spec::*;

/// Why a file could not be added.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FwCfgError {
    /// The name is empty, has a zero byte, or is too long.
    #[error("fw_cfg file name '{name}' must have 1 to 55 bytes, none of them zero")]
    BadName {
        /// The refused name.
        name: String,
    },
    /// The directory is full, or the file is 4 GiB or more.
    #[error("fw_cfg has no room for file '{name}': at most 256 files, each below 4 GiB")]
    NoRoom {
        /// The refused file's name.
        name: String,
    },
}

/// Is told of all bytes of an item after a write.
pub type Written = dyn Fn(&[u8]) + Send + Sync;
/// Prepares files when one of them is selected.
type Prepare = dyn Fn(&FwCfg) + Send + Sync;

#[derive(Default)]
struct Items {
    by_key: BTreeMap<u16, Arc<[u8]>>,
    /// Names in order of key.
    files: Vec<String>,
    /// Who is told of what the guest has written, by key, and what is there after power-on.
    written: BTreeMap<u16, (Arc<Written>, Arc<[u8]>)>,
}

impl Items {
    /// The file directory ("File Directory"): a count, then size, key, reserved and name of each file.
    fn directory(&self) -> Vec<u8> {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        for (key, name) in (KEY_FIRST_FILE..).zip(&self.files) {
            let bytes = self.by_key.get(&key).map_or(0, |contents| contents.len());
            directory.extend_from_slice(&(bytes as u32).to_be_bytes());
            directory.extend_from_slice(&key.to_be_bytes());
            directory.extend_from_slice(&[0; 2]);
            let mut field = [0; NAME_BYTES];
            field[..name.len()].copy_from_slice(name.as_bytes());
            directory.extend_from_slice(&field);
        }
        directory
    }
}

#[derive(Default)]
struct State {
    key: u16,
    /// Bytes of the selected item that were read or skipped.
    offset: usize,
    /// Upper half of the DMA register.
    dma_high: u32,
}

impl State {
    fn select(&mut self, key: u16) {
        self.key = key;
        self.offset = 0;
    }
}

/// A fw_cfg device with selector, data and DMA registers.
pub struct FwCfg {
    items: RwLock<Items>,
    state: Mutex<State>,
    ram: GuestMemory,
    prepare: OnceLock<(&'static [&'static str], Box<Prepare>)>,
}

impl FwCfg {
    /// A device with signature, feature bits and an empty directory, whose DMA goes to `ram`.
    pub fn new(ram: GuestMemory) -> Self {
        let device = Self {
            items: RwLock::default(),
            state: Mutex::default(),
            ram,
            prepare: OnceLock::new(),
        };
        device.add_bytes(KEY_SIGNATURE, b"QEMU".to_vec());
        device.add_u32(KEY_ID, ID_TRADITIONAL | ID_DMA);
        device.add_bytes(KEY_FILE_DIR, Items::default().directory());
        device
    }

    /// Adds or replaces the item of a key that is not a file's.
    pub fn add_bytes(&self, key: u16, bytes: Vec<u8>) {
        self.items.write().by_key.insert(key, bytes.into());
    }

    /// Adds or replaces a 16-bit little-endian item.
    pub fn add_u16(&self, key: u16, value: u16) {
        self.add_bytes(key, value.to_le_bytes().to_vec());
    }

    /// Adds or replaces a 32-bit little-endian item.
    pub fn add_u32(&self, key: u16, value: u32) {
        self.add_bytes(key, value.to_le_bytes().to_vec());
    }

    /// Adds or replaces a 64-bit little-endian item.
    pub fn add_u64(&self, key: u16, value: u64) {
        self.add_bytes(key, value.to_le_bytes().to_vec());
    }

    /// Adds a file such as `etc/table-loader` and lists it in the directory. A file of the same name is replaced
    /// and keeps its key.
    ///
    /// # Errors
    /// When the name does not fit a directory entry, the file does not fit its size field, or the directory is full.
    pub fn add_file(&self, name: &str, bytes: Vec<u8>) -> Result<(), FwCfgError> {
        if name.is_empty() || name.len() >= NAME_BYTES || name.contains('\0') {
            return Err(FwCfgError::BadName {
                name: name.to_owned(),
            });
        }
        let mut items = self.items.write();
        let place = items.files.iter().position(|file| file == name);
        let at = place.unwrap_or(items.files.len());
        if at >= MAX_FILES || u32::try_from(bytes.len()).is_err() {
            return Err(FwCfgError::NoRoom {
                name: name.to_owned(),
            });
        }
        if place.is_none() {
            items.files.push(name.to_owned());
        }
        items
            .by_key
            .insert(KEY_FIRST_FILE + at as u16, bytes.into());
        let directory = items.directory();
        items.by_key.insert(KEY_FILE_DIR, directory.into());
        Ok(())
    }

    /// Adds a file that the guest may write by DMA; its length stays. `written` is told of all its bytes after each write,
    /// and at a reset, which brings `bytes` back.
    ///
    /// # Errors
    /// As [`FwCfg::add_file`].
    pub fn add_writable_file(
        &self,
        name: &str,
        bytes: Vec<u8>,
        written: Arc<Written>,
    ) -> Result<(), FwCfgError> {
        self.add_file(name, bytes)?;
        let mut items = self.items.write();
        let at = items.files.iter().position(|file| file == name);
        if let Some(at) = at {
            let key = KEY_FIRST_FILE + at as u16;
            let first = items.by_key.get(&key).cloned().unwrap_or_default();
            items.written.insert(key, (written, first));
        }
        Ok(())
    }

    /// Names who prepares `files`, such as tables that depend on what firmware has set up, whenever the guest selects one of
    /// them. Their lengths do not change, as the directory may have been read before. The first that is named stays.
    pub fn on_select(
        &self,
        files: &'static [&'static str],
        prepare: impl Fn(&FwCfg) + Send + Sync + 'static,
    ) {
        // A second call is a machine that is wired twice; what was first goes on.
        let _ = self.prepare.set((files, Box::new(prepare)));
    }

    /// Selects an item.
    fn select_key(&self, key: u16) {
        if let Some((files, prepare)) = self.prepare.get()
            && let Some(name) = self.file_name(key)
            && files.contains(&name.as_str())
        {
            prepare(self);
        }
        self.state.lock().select(key);
    }

    fn file_name(&self, key: u16) -> Option<String> {
        let at = key.checked_sub(KEY_FIRST_FILE)?;
        self.items.read().files.get(usize::from(at)).cloned()
    }

    fn item(&self, key: u16) -> Arc<[u8]> {
        self.items
            .read()
            .by_key
            .get(&key)
            .cloned()
            .unwrap_or_default()
    }

    /// The next bytes of the selected item, first byte lowest; zeros past its end.
    fn read_data(&self, width: AccessWidth) -> u64 {
        let mut state = self.state.lock();
        let item = self.item(state.key);
        let rest = item.get(state.offset..).unwrap_or_default();
        let count = rest.len().min(width.bytes() as usize);
        let mut bytes = [0; 8];
        bytes[..count].copy_from_slice(&rest[..count]);
        state.offset += count;
        u64::from_le_bytes(bytes)
    }

    /// Carries out the FWCfgDmaAccess at `at` ("Guest-side DMA Interface"). A structure outside RAM cannot even
    /// be told that it failed.
    fn transfer(&self, at: GuestPhysAddr) {
        let mut access = [0; ACCESS_BYTES];
        if self.ram.read(at, &mut access).is_err() {
            return;
        }
        let access = u128::from_be_bytes(access);
        let control = (access >> 96) as u32;
        let bytes = (access >> 64) as u32 as usize;
        let to = GuestPhysAddr(access as u64);
        let result = if self.copy(control, bytes, to) {
            0
        } else {
            CONTROL_ERROR
        };
        // The structure was RAM a moment ago; there is nobody else to tell.
        let _ = self.ram.write(at, &result.to_be_bytes());
    }

    /// False when part of `to` is not RAM, or the guest wants to write an item.
    fn copy(&self, control: u32, bytes: usize, to: GuestPhysAddr) -> bool {
        if control & CONTROL_SELECT != 0 {
            self.select_key((control >> 16) as u16);
        }
        let mut state = self.state.lock();
        let (key, offset) = (state.key, state.offset);
        let item = self.item(state.key);
        let rest = item.get(state.offset..).unwrap_or_default();
        let present = &rest[..rest.len().min(bytes)];
        if control & (CONTROL_READ | CONTROL_SKIP | CONTROL_WRITE) != 0 {
            state.offset += present.len();
        }
        // RAM is written without the lock: a write over code reaches the virtual CPUs.
        drop(state);
        if control & CONTROL_READ != 0 {
            let zeros_from = to.wrapping_add(present.len() as u64);
            self.ram.write(to, present).is_ok() && self.clear(zeros_from, bytes - present.len())
        } else {
            control & CONTROL_WRITE == 0 || self.store(key, offset, bytes, to)
        }
    }

    /// Writes an item from `offset` on; false when it cannot be written, is too short, or part of `from` is not RAM.
    fn store(&self, key: u16, offset: usize, bytes: usize, from: GuestPhysAddr) -> bool {
        let mut items = self.items.write();
        let (Some((written, _)), Some(item)) = (items.written.get(&key), items.by_key.get(&key))
        else {
            return false;
        };
        let (written, mut contents) = (written.clone(), item.to_vec());
        let end = offset.saturating_add(bytes);
        let Some(part) = contents.get_mut(offset..end) else {
            return false;
        };
        if self.ram.read(from, part).is_err() {
            return false;
        }
        items.by_key.insert(key, contents.clone().into());
        drop(items);
        written(&contents);
        true
    }

    /// Past its end an item reads as zeros.
    fn clear(&self, mut to: GuestPhysAddr, mut bytes: usize) -> bool {
        const ZEROS: [u8; 4096] = [0; 4096];
        while bytes > 0 {
            let part = bytes.min(ZEROS.len());
            if self.ram.write(to, &ZEROS[..part]).is_err() {
                return false;
            }
            to = to.wrapping_add(part as u64);
            bytes -= part;
        }
        true
    }
}

impl BusDevice for FwCfg {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        match offset {
            DATA..DATA_END => self.read_data(width),
            DMA.. => u64::from_le_bytes(DMA_SIGNATURE) >> ((offset - DMA) * 8).min(63),
            _ => 0,
        }
    }

    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        match (offset, width) {
            (SELECTOR, AccessWidth::Half) => self.select_key((value as u16).swap_bytes()),
            (DMA, AccessWidth::Word) => {
                self.state.lock().dma_high = (value as u32).swap_bytes();
            }
            (DMA_LOW, AccessWidth::Word) => {
                let high = std::mem::take(&mut self.state.lock().dma_high);
                let low = (value as u32).swap_bytes();
                self.transfer(GuestPhysAddr(u64::from(high) << 32 | u64::from(low)));
            }
            (DMA, AccessWidth::Double) => self.transfer(GuestPhysAddr(value.swap_bytes())),
            // The data register is read-only.
            _ => {}
        }
    }

    fn reset(&self) {
        *self.state.lock() = State::default();
        let mut items = self.items.write();
        let written = items.written.clone();
        for (key, (_, first)) in &written {
            items.by_key.insert(*key, first.clone());
        }
        drop(items);
        written.values().for_each(|(told, first)| told(first));
    }
}

#[cfg(test)]
mod tests;
