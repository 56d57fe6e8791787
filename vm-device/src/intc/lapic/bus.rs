//! What all local APICs, I/O APICs and message-signalled interrupts of a machine go through.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use vm_core::IrqLine;

use super::Core;
use super::spec::{BROADCAST, XAPIC_BROADCAST, mode, msi};
use crate::intc::{ExternalController, MsiTarget};

/// An interrupt on its way to local APICs (Intel SDM 3A, 11.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// For whom.
    pub to: Destination,
    /// Delivery mode ([`mode`]).
    pub mode: u8,
    /// Vector.
    pub vector: u8,
    /// Its end is broadcast.
    pub level: bool,
    /// Asserted, as all but one message of mode INIT are.
    pub assert: bool,
}

/// For whom a message is (Intel SDM 3A, 11.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The APIC with this id; [`BROADCAST`] for all.
    Physical(u32),
    /// The APICs whose logical destination register matches.
    Logical(u32),
    /// All.
    All,
    /// All but the one with this id.
    Others(u32),
}

impl Destination {
    /// Of an eight-bit destination field, as I/O APICs, messages and xAPIC mode have it: all ones is everyone.
    pub fn narrow(destination: u32, logical: bool) -> Self {
        match (destination, logical) {
            (XAPIC_BROADCAST, false) => Self::Physical(BROADCAST),
            (_, false) => Self::Physical(destination),
            (_, true) => Self::Logical(destination),
        }
    }
}

/// Is told of the end of level-triggered interrupts: an I/O APIC.
pub trait EoiListener: Send + Sync {
    /// A virtual CPU ended the interrupt of `vector`.
    fn end_of_interrupt(&self, vector: u8);
}

/// The router of one machine. It keeps nobody alive: APICs that were dropped get nothing.
#[derive(Default)]
pub struct ApicBus {
    apics: ArcSwap<Vec<Weak<Core>>>,
    listeners: ArcSwap<Vec<Weak<dyn EoiListener>>>,
    /// Held while one of the lists is replaced.
    changing: Mutex<()>,
    /// Where the search for a destination of the lowest priority begins.
    turn: AtomicUsize,
    external: OnceLock<Weak<dyn ExternalController>>,
}

impl ApicBus {
    /// A router without APICs. [`super::LocalApic::new`] and [`crate::intc::ioapic::IoApic::new`] join it.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn join(&self, apic: &Arc<Core>) {
        let _changing = self.changing.lock();
        let mut apics = Vec::clone(&self.apics.load());
        apics.push(Arc::downgrade(apic));
        self.apics.store(Arc::new(apics));
    }

    /// Names who is told of the end of level-triggered interrupts.
    pub fn listen(&self, listener: Weak<dyn EoiListener>) {
        let _changing = self.changing.lock();
        let mut listeners = Vec::clone(&self.listeners.load());
        listeners.push(listener);
        self.listeners.store(Arc::new(listeners));
    }

    /// Names the controller whose output drives [`Self::lint`] 0. The first that is named stays.
    pub fn set_external(&self, external: Weak<dyn ExternalController>) {
        // A second call is a machine that is wired twice; what was first goes on.
        let _ = self.external.set(external);
    }

    pub(super) fn external(&self) -> Option<Arc<dyn ExternalController>> {
        self.external.get()?.upgrade()
    }

    /// The line to input LINT0 (0) or LINT1 (any other `pin`) of every local APIC: a PC has the 8259s at LINT0 and NMI at
    /// LINT1.
    pub fn lint(self: &Arc<Self>, pin: usize) -> Arc<dyn IrqLine> {
        Arc::new(Lint {
            bus: Arc::downgrade(self),
            pin: pin.min(1),
        })
    }

    fn each(&self, mut act: impl FnMut(&Core)) {
        for apic in self.apics.load().iter().filter_map(Weak::upgrade) {
            act(&apic);
        }
    }

    /// Brings a message to its destinations. One without any is dropped.
    pub fn deliver(&self, message: &Message) {
        if message.mode == mode::LOWEST {
            return self.deliver_to_lowest(message);
        }
        self.each(|apic| {
            if apic.matches(message.to) {
                apic.accept(message);
            }
        });
    }

    /// To the matching APIC whose processor priority is lowest, each in turn among equals (11.6.2.4).
    fn deliver_to_lowest(&self, message: &Message) {
        let apics = self.apics.load();
        let start = self.turn.load(Ordering::Relaxed);
        let candidates = (0..apics.len()).filter_map(|step| {
            let at = (start + step) % apics.len();
            let apic = apics[at].upgrade()?;
            let priority = apic.arbitration_priority()?;
            apic.matches(message.to)
                .then_some((priority, step, at, apic))
        });
        let Some((_, _, at, apic)) =
            candidates.min_by_key(|&(priority, step, ..)| (priority, step))
        else {
            return;
        };
        self.turn.store(at + 1, Ordering::Relaxed);
        apic.accept(message);
    }

    pub(super) fn broadcast_eoi(&self, vector: u8) {
        let listeners = self.listeners.load();
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            listener.end_of_interrupt(vector);
        }
    }
}

impl MsiTarget for ApicBus {
    /// A message-signalled interrupt (Intel SDM 3A, 11.11). The destination's bits above the eighth may be in address
    /// bits 11:5, as hypervisors of today agree on where there is no interrupt remapping.
    fn write(&self, address: u64, data: u32) {
        if address >> 20 != msi::ADDRESS {
            return;
        }
        let destination = (address >> 12 & 0xff | (address >> 5 & 0x7f) << 8) as u32;
        let logical = address & msi::LOGICAL != 0;
        let asked = (data >> 8 & 7) as u8;
        // The hint means something for logical destinations only.
        let hinted = logical && address & msi::REDIRECTION_HINT != 0 && asked == mode::FIXED;
        self.deliver(&Message {
            to: Destination::narrow(destination, logical),
            mode: if hinted { mode::LOWEST } else { asked },
            vector: data as u8,
            level: data & msi::LEVEL != 0,
            assert: data & (msi::LEVEL | msi::ASSERT) != msi::LEVEL,
        });
    }
}

struct Lint {
    bus: Weak<ApicBus>,
    pin: usize,
}

impl IrqLine for Lint {
    fn set(&self, high: bool) {
        if let Some(bus) = self.bus.upgrade() {
            bus.each(|apic| apic.set_lint(self.pin, high));
        }
    }
}
