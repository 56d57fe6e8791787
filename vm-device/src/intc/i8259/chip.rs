//! One 8259A.

use serde::{Deserialize, Serialize};

use super::spec::*;

/// Which initialisation word is expected next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Expects {
    Nothing,
    Icw2,
    Icw3,
    Icw4,
}

/// Registers of one chip and the levels of its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Chip {
    /// Requests.
    irr: u8,
    /// Masked inputs.
    imr: u8,
    /// In service.
    isr: u8,
    levels: u8,
    /// Inputs that are level-triggered, chosen one by one.
    elcr: u8,
    all_levels: bool,
    vector_base: u8,
    /// The input of the highest priority.
    first: u8,
    reads_isr: bool,
    poll: bool,
    special_mask: bool,
    auto_eoi: bool,
    rotate_in_auto_eoi: bool,
    special_nested: bool,
    single: bool,
    needs_icw4: bool,
    expects: Expects,
}

impl Chip {
    pub(super) const POWER_ON: Self = Self {
        irr: 0,
        imr: 0,
        isr: 0,
        levels: 0,
        elcr: 0,
        all_levels: false,
        vector_base: 0,
        first: 0,
        reads_isr: false,
        poll: false,
        special_mask: false,
        auto_eoi: false,
        rotate_in_auto_eoi: false,
        special_nested: false,
        single: false,
        needs_icw4: false,
        expects: Expects::Nothing,
    };

    pub(super) fn reset(&mut self) {
        *self = Self {
            levels: self.levels,
            ..Self::POWER_ON
        };
    }

    fn level_triggered(&self) -> u8 {
        if self.all_levels { 0xff } else { self.elcr }
    }

    pub(super) fn elcr(&self) -> u8 {
        self.elcr
    }

    pub(super) fn set_elcr(&mut self, value: u8) {
        self.elcr = value;
        let levels = self.level_triggered();
        self.irr = self.irr & !levels | self.levels & levels;
    }

    /// Drives an input. An edge stays requested when the line falls: the lines of a PC's timers are back low before
    /// anyone acknowledges.
    pub(super) fn set_input(&mut self, input: u8, high: bool) {
        let bit = 1 << input;
        let rises = high && self.levels & bit == 0;
        self.levels = self.levels & !bit | if high { bit } else { 0 };
        if self.level_triggered() & bit != 0 {
            self.irr = self.irr & !bit | self.levels & bit;
        } else if rises {
            self.irr |= bit;
        }
    }

    /// The place of the most urgent of `inputs` in the order of priority; 8 for none.
    fn rank(&self, inputs: u8) -> u8 {
        inputs.rotate_right(self.first.into()).trailing_zeros() as u8
    }

    /// The input whose interrupt is to be taken now.
    pub(super) fn pending(&self, is_master: bool) -> Option<u8> {
        let rank = self.rank(self.irr & !self.imr);
        let mut serving = self.isr;
        if self.special_mask {
            serving &= !self.imr;
        }
        if self.special_nested && is_master {
            serving &= !(1 << CASCADE);
        }
        (rank < self.rank(serving)).then(|| (self.first + rank) & 7)
    }

    /// Puts an input into service.
    pub(super) fn acknowledge(&mut self, input: u8) {
        let bit = 1 << input;
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_in_auto_eoi {
            self.first = (input + 1) & 7;
        }
        if self.level_triggered() & bit == 0 {
            self.irr &= !bit;
        }
    }

    pub(super) fn vector(&self, input: u8) -> u8 {
        self.vector_base | input
    }

    /// The input in service that a non-specific end is for.
    fn most_urgent_in_service(&self) -> Option<u8> {
        let serving = if self.special_mask {
            self.isr & !self.imr
        } else {
            self.isr
        };
        let rank = self.rank(serving);
        (rank < 8).then(|| (self.first + rank) & 7)
    }

    fn end(&mut self, input: Option<u8>, rotate: bool) {
        if let Some(input) = input {
            self.isr &= !(1 << input);
            if rotate {
                self.first = (input + 1) & 7;
            }
        }
    }

    /// OCW2: ends interrupts and turns priorities.
    fn operate(&mut self, value: u8) {
        let named = value & 7;
        match value >> 5 {
            0 => self.rotate_in_auto_eoi = false,
            4 => self.rotate_in_auto_eoi = true,
            1 => self.end(self.most_urgent_in_service(), false),
            5 => self.end(self.most_urgent_in_service(), true),
            3 => self.end(Some(named), false),
            7 => self.end(Some(named), true),
            6 => self.first = (named + 1) & 7,
            // No operation.
            _ => {}
        }
    }

    /// Writes to the first port (`data` false) or the second.
    pub(super) fn write(&mut self, data: bool, value: u8) {
        if !data {
            if value & ICW1 != 0 {
                *self = Self {
                    levels: self.levels,
                    elcr: self.elcr,
                    all_levels: value & ICW1_LEVEL != 0,
                    vector_base: self.vector_base,
                    single: value & ICW1_SINGLE != 0,
                    needs_icw4: value & ICW1_NEEDS_ICW4 != 0,
                    expects: Expects::Icw2,
                    ..Self::POWER_ON
                };
                self.irr = self.levels & self.level_triggered();
            } else if value & OCW3 != 0 {
                self.poll = value & OCW3_POLL != 0;
                if value & OCW3_READ != 0 {
                    self.reads_isr = value & 1 != 0;
                }
                if value & OCW3_SPECIAL_MASK != 0 {
                    self.special_mask = value >> 5 & 1 != 0;
                }
            } else {
                self.operate(value);
            }
            return;
        }
        let last = if self.needs_icw4 {
            Expects::Icw4
        } else {
            Expects::Nothing
        };
        self.expects = match self.expects {
            Expects::Nothing => {
                self.imr = value;
                Expects::Nothing
            }
            Expects::Icw2 => {
                self.vector_base = value & 0xf8;
                if self.single { last } else { Expects::Icw3 }
            }
            // How a PC cascades is wired.
            Expects::Icw3 => last,
            Expects::Icw4 => {
                self.special_nested = value & ICW4_SPECIAL_NESTED != 0;
                self.auto_eoi = value & ICW4_AUTO_EOI != 0;
                Expects::Nothing
            }
        };
    }

    /// Reads the first port (`data` false) or the second; a poll acknowledges.
    pub(super) fn read(&mut self, data: bool, is_master: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            return match self.pending(is_master) {
                Some(input) => {
                    self.acknowledge(input);
                    POLL_FOUND | input
                }
                None => 0,
            };
        }
        match (data, self.reads_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }
}
