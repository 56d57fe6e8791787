//! The registers of a local APIC and what follows from them alone.

use serde::{Deserialize, Serialize};

use super::spec::*;
use super::timer::Timer;

/// 256 bits, by vector.
pub(super) type Bits = [u32; 8];

/// Everything that the guest could tell apart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) base: u64,
    pub(super) tpr: u8,
    pub(super) ldr: u32,
    pub(super) dfr: u32,
    pub(super) svr: u32,
    pub(super) isr: Bits,
    pub(super) tmr: Bits,
    pub(super) irr: Bits,
    pub(super) esr: u32,
    /// Errors since the error status was last written.
    pub(super) errors: u32,
    pub(super) icr: u64,
    pub(super) lvt: [u32; lvt::COUNT],
    pub(super) timer: Timer,
    /// A message of mode ExtINT waits.
    pub(super) ext_int: bool,
    /// Levels of LINT0 and LINT1.
    pub(super) lint: [bool; 2],
    /// Where the virtual CPU was told to start.
    pub(super) startup: Option<u8>,
}

/// The highest vector of a set.
pub(super) fn highest(bits: &Bits) -> Option<u8> {
    let word = bits.iter().rposition(|&word| word != 0)?;
    Some((word * 32) as u8 + bits[word].ilog2() as u8)
}

pub(super) fn put(bits: &mut Bits, vector: u8, value: bool) {
    let (word, bit) = (usize::from(vector / 32), 1 << (vector % 32));
    if value {
        bits[word] |= bit;
    } else {
        bits[word] &= !bit;
    }
}

pub(super) fn has(bits: &Bits, vector: u8) -> bool {
    bits[usize::from(vector / 32)] >> (vector % 32) & 1 != 0
}

/// The logical id in x2APIC mode (11.12.10.2).
pub(super) const fn x2apic_ldr(id: u32) -> u32 {
    (id >> 4) << 16 | 1 << (id & 0xf)
}

impl Registers {
    /// After power-on (11.4.7.1).
    ///
    /// DEVIATION: LINT0 of the processor that boots passes the external controller on, as firmware sets it up on every
    /// PC and as QEMU has it; the manual has it masked. Kernels that are started without firmware count on it.
    pub(super) fn power_on(bootstrap: bool) -> Self {
        let mut lvt = [lvt::MASKED; lvt::COUNT];
        if bootstrap {
            lvt[lvt::LINT0] = u32::from(mode::EXT_INT) << 8;
        }
        Self {
            base: DEFAULT_BASE | base::ENABLE | if bootstrap { base::BSP } else { 0 },
            tpr: 0,
            ldr: 0,
            dfr: u32::MAX,
            svr: svr::RESET,
            isr: [0; 8],
            tmr: [0; 8],
            irr: [0; 8],
            esr: 0,
            errors: 0,
            icr: 0,
            lvt,
            timer: Timer::default(),
            ext_int: false,
            lint: [false; 2],
            startup: None,
        }
    }

    /// What an INIT leaves: all but base, id and the levels of its inputs (11.4.7.3). A start-up interrupt that came
    /// after the INIT waits for its virtual CPU.
    pub(super) fn init(&mut self, id: u32) {
        let fresh = Self::power_on(self.base & base::BSP != 0);
        *self = Self {
            base: self.base,
            lint: self.lint,
            startup: self.startup,
            ldr: if self.is_x2apic() { x2apic_ldr(id) } else { 0 },
            ..fresh
        };
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.base & base::ENABLE != 0
    }

    /// The first address of its window with bit 0; zero when there is none.
    pub(super) fn window(&self) -> u64 {
        let page = self.base >> base::ADDRESS_SHIFT << base::ADDRESS_SHIFT;
        match self.is_enabled() && !self.is_x2apic() {
            true => page | 1,
            false => 0,
        }
    }

    pub(super) fn is_x2apic(&self) -> bool {
        self.base & (base::ENABLE | base::X2APIC) == base::ENABLE | base::X2APIC
    }

    pub(super) fn is_software_enabled(&self) -> bool {
        self.svr & svr::ENABLE != 0
    }

    /// The processor priority (11.8.3.1).
    pub(super) fn ppr(&self) -> u8 {
        let serving = highest(&self.isr).unwrap_or(0);
        if self.tpr >> 4 >= serving >> 4 {
            self.tpr
        } else {
            serving & 0xf0
        }
    }

    /// The vector that may be taken now (11.8.4).
    pub(super) fn deliverable(&self) -> Option<u8> {
        if !self.is_enabled() || !self.is_software_enabled() {
            return None;
        }
        highest(&self.irr).filter(|vector| vector >> 4 > self.ppr() >> 4)
    }

    /// Whether the external controller's interrupt may be taken now.
    pub(super) fn external(&self) -> bool {
        if !self.is_enabled() {
            // Its input is the processor's INTR then (11.4.3).
            return self.lint[0];
        }
        let passes = |pin: usize| {
            let entry = self.lvt[lvt::LINT0 + pin];
            self.lint[pin] && entry & lvt::MASKED == 0 && mode_of(entry) == mode::EXT_INT
        };
        self.ext_int || passes(0) || passes(1)
    }

    /// Notes an error; true when it is the first of its kind since the status was written.
    pub(super) fn note_error(&mut self, error: u32) -> bool {
        let new = self.errors & error == 0;
        self.errors |= error;
        new
    }

    /// Requests an interrupt; false for a vector that does not exist.
    pub(super) fn request(&mut self, vector: u8, level: bool) -> bool {
        if vector < FIRST_VECTOR {
            return false;
        }
        put(&mut self.irr, vector, true);
        put(&mut self.tmr, vector, level);
        true
    }

    /// Writes a local vector. It stays masked while the APIC is disabled by software (11.4.7.2).
    pub(super) fn set_lvt(&mut self, at: usize, value: u32) {
        let masked = if self.is_software_enabled() {
            0
        } else {
            lvt::MASKED
        };
        let kept = self.lvt[at] & lvt::REMOTE_IRR & value >> 1;
        self.lvt[at] = value & lvt::WRITABLE[at] | kept | masked;
    }

    pub(super) fn set_svr(&mut self, value: u32) {
        self.svr = value & svr::WRITABLE;
        if !self.is_software_enabled() {
            self.lvt.iter_mut().for_each(|entry| *entry |= lvt::MASKED);
        }
    }

    /// Whether a message to a logical destination is for it (11.6.2.2, 11.12.10).
    pub(super) fn is_addressed(&self, destination: u32) -> bool {
        if self.is_x2apic() {
            let cluster = destination >> 16;
            let all = destination == BROADCAST;
            return all || cluster == self.ldr >> 16 && destination & self.ldr & 0xffff != 0;
        }
        let (destination, own) = (destination & 0xff, self.ldr >> 24);
        match self.dfr >> 28 {
            FLAT_MODEL => destination & own != 0,
            0 => {
                let cluster = destination >> 4;
                (cluster == own >> 4 || cluster == 0xf) && destination & own & 0xf != 0
            }
            _ => false,
        }
    }
}

/// The delivery mode of a local vector, an interrupt command or a redirection entry.
pub(super) const fn mode_of(entry: u32) -> u8 {
    (entry >> 8 & 7) as u8
}
