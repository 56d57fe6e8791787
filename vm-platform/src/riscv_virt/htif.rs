//! The host-target interface of RISC-V test programs: words `tohost` and `fromhost` in RAM.
//!
//! As the Spike simulator and riscv-tests use it: the top byte of `tohost` is a device, the next a command, the
//! rest data. Device 0: data with bit 0 set ends the run with code data >> 1. Device 1, command 1 prints a character.

use std::sync::Arc;

use vm_boot::image::HtifSymbols;
use vm_core::GuestPhysAddr;

use super::config::Outcome;
use super::control::{Event, Shared};

/// Polls the two words.
pub(super) struct Htif {
    tohost: GuestPhysAddr,
    fromhost: Option<GuestPhysAddr>,
    shared: Arc<Shared>,
}

impl Htif {
    /// For a program that has the symbol `tohost`.
    pub(super) fn new(symbols: HtifSymbols, shared: Arc<Shared>) -> Option<Self> {
        Some(Self {
            tohost: symbols.tohost?,
            fromhost: symbols.fromhost,
            shared,
        })
    }

    fn word(&self, addr: GuestPhysAddr) -> Option<u64> {
        let mut bytes = [0; 8];
        self.shared.engine.memory().read(addr, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn set(&self, addr: GuestPhysAddr, value: u64) {
        // Both words were found in RAM before; a program that moved them has only itself to blame.
        let _ = self
            .shared
            .engine
            .memory()
            .write(addr, &value.to_le_bytes());
    }

    /// Serves what the program has put into `tohost`.
    pub(super) fn poll(&mut self) {
        let Some(request) = self.word(self.tohost).filter(|&word| word != 0) else {
            return;
        };
        let (device, command, data) = (request >> 56, request >> 48 & 0xff, request << 16 >> 16);
        match (device, command) {
            (0, 0) if data & 1 == 1 => {
                let code = data >> 1;
                let outcome = match code {
                    0 => Outcome::PoweredOff,
                    code => Outcome::Failed(u16::try_from(code).unwrap_or(u16::MAX)),
                };
                self.shared.raise(Event::End(outcome));
            }
            (1, 1) => {
                self.shared.serial.write(&[data as u8]);
                self.set(self.tohost, 0);
                if let Some(fromhost) = self.fromhost {
                    self.set(fromhost, 1 << 56 | 1 << 48);
                }
            }
            _ => self.set(self.tohost, 0),
        }
    }
}
