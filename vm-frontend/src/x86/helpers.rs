//! The table of routines that blocks call: the families' tables, one after the other.

use vm_ir::{Effects, HelperDecl, HelperId};

use super::cpu::CpuConfig;
use super::state::CpuState;
use super::{fp, integer, sys};
use crate::guest::{Exception, SysEnv};

/// A processor while a helper runs.
pub struct Cpu<'a> {
    /// Its registers.
    pub state: &'a mut CpuState,
    /// What it can do.
    pub config: &'a CpuConfig,
    /// What the engine and the machine offer.
    pub env: &'a mut dyn SysEnv<CpuState>,
}

/// A routine. [`crate::CommonState::pc`] is the calling instruction's for helpers that write state.
pub type Handler = fn(&mut Cpu<'_>, [u64; 3]) -> Result<u64, Exception>;

/// One row of a family's table.
#[derive(Clone, Copy)]
pub struct Row {
    /// Name in the text form and in statistics.
    pub name: &'static str,
    /// What it does besides computing a result.
    pub effects: Effects,
    /// The routine.
    pub handler: Handler,
}

/// The tables. A family's numbers begin behind the family before it: see [`first`].
const FAMILIES: [&[Row]; 3] = [sys::HELPERS, integer::HELPERS, fp::HELPERS];

/// Places of the families.
pub mod family {
    /// [`crate::x86::sys`].
    pub const SYSTEM: usize = 0;
    /// [`crate::x86::integer`].
    pub const INTEGER: usize = 1;
    /// [`crate::x86::fp`].
    pub const FLOAT: usize = 2;
}

/// The number of the first helper of family `n`.
pub const fn first(n: usize) -> u16 {
    let (mut family, mut count) = (0, 0);
    while family < n {
        count += FAMILIES[family].len();
        family += 1;
    }
    count as u16
}

/// The helper number `row` of family `n`.
pub const fn id(n: usize, row: usize) -> HelperId {
    HelperId(first(n) + row as u16)
}

const COUNT: usize = first(FAMILIES.len()) as usize;

/// Every row, by number.
static ROWS: [Row; COUNT] = rows();

/// Declarations of all helpers, for the layout.
pub static DECLARATIONS: [HelperDecl; COUNT] = {
    let rows = rows();
    let mut all = [HelperDecl {
        name: "",
        effects: Effects::NONE,
    }; COUNT];
    let mut n = 0;
    while n < COUNT {
        all[n] = HelperDecl {
            name: rows[n].name,
            effects: rows[n].effects,
        };
        n += 1;
    }
    all
};

const fn rows() -> [Row; COUNT] {
    const fn nothing(_: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
        Ok(0)
    }
    let mut rows = [Row {
        name: "",
        effects: Effects::NONE,
        handler: nothing,
    }; COUNT];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            rows[at] = FAMILIES[family][row];
            at += 1;
            row += 1;
        }
        family += 1;
    }
    rows
}

impl Cpu<'_> {
    /// Runs a helper. Numbers come from blocks, hence from the table.
    ///
    /// # Errors
    /// The exception that the instruction raises.
    pub fn call(&mut self, helper: HelperId, args: [u64; 3]) -> Result<u64, Exception> {
        (ROWS[usize::from(helper.0)].handler)(self, args)
    }
}
