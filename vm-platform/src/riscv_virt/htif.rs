//! The host-target interface of RISC-V test programs: words `tohost` and `fromhost` in RAM.
//!
//! As the Spike simulator and riscv-tests use it: the top byte of `tohost` is a device, the next a command, the
//! rest data. Device 0: data with bit 0 set ends the run with code data >> 1. Device 1, command 1 prints a character.

use std::sync::Arc;
use std::time::Duration;

use vm_boot::image::HtifSymbols;
use vm_core::GuestPhysAddr;

use super::board::Virt;
use crate::machine::Outcome;
use crate::machine::board::Poll;
use crate::machine::control::Event;
use crate::machine::shared::Shared;

/// How often the words are looked at.
const POLL: Duration = Duration::from_micros(500);

/// The two words of a program that has the symbol `tohost`.
pub(super) fn poll(symbols: HtifSymbols, machine: &Arc<Shared<Virt>>) -> Option<Poll> {
    let htif = Htif {
        tohost: symbols.tohost?,
        fromhost: symbols.fromhost,
        machine: machine.clone(),
    };
    Some(Poll {
        every: POLL,
        look: Box::new(move || htif.poll()),
    })
}

struct Htif {
    tohost: GuestPhysAddr,
    fromhost: Option<GuestPhysAddr>,
    machine: Arc<Shared<Virt>>,
}

impl Htif {
    fn word(&self, addr: GuestPhysAddr) -> Option<u64> {
        let mut bytes = [0; 8];
        let memory = self.machine.engine.memory();
        memory.read(addr, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn set(&self, addr: GuestPhysAddr, value: u64) {
        // Both words were found in RAM before; a program that moved them has only itself to blame.
        let memory = self.machine.engine.memory();
        let _ = memory.write(addr, &value.to_le_bytes());
    }

    /// Serves what the program has put into `tohost`.
    fn poll(&self) {
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
                self.machine.control.raise(Event::End(outcome));
            }
            (1, 1) => {
                self.machine.serial.write(&[data as u8]);
                self.set(self.tohost, 0);
                if let Some(fromhost) = self.fromhost {
                    self.set(fromhost, 1 << 56 | 1 << 48);
                }
            }
            _ => self.set(self.tohost, 0),
        }
    }
}
