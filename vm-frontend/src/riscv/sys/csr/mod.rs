//! Control and status registers (RISC-V Priv 1.13, chapter 2; RISC-V Unpriv 20240411, chapter 6).
//!
//! One table ([`table`]) has a row for each register or run of registers: numbers, name, what it takes for it to exist
//! and to be open, how it is read and written. Everything else looks there.

mod counters;
mod environment;
mod interrupts;
mod memory;
mod status;
mod table;
mod trap_records;

pub(super) use counters::enable_mask as counter_enable_mask;
pub(super) use environment::{STATE_ENABLES, mask as menvcfg_mask};
pub(super) use status::initial_mstatus;
pub(super) use trap_records::DELEGABLE;

use crate::guest::{Exception, SysEnv};
use crate::riscv::isa::{Extension, IsaConfig};
use crate::riscv::state::HartState;

use super::fields::{envcfg, mstatus, privilege, stateen};
use super::{CsrOp, Hart, illegal};

/// The values that registers show but the state does not hold.
pub trait CsrInputs {
    /// Ticks of `time`.
    fn time(&self) -> u64;
    /// Interrupt lines that are high.
    fn lines(&self) -> u64;
    /// Instructions retired before the running one.
    fn retired(&self) -> u64;
}

/// [`CsrInputs`] at one moment, for looking at a hart that does not run.
#[derive(Clone, Copy, Debug, Default)]
pub struct CsrSnapshot {
    /// Ticks of `time`.
    pub time: u64,
    /// Interrupt lines that are high.
    pub lines: u64,
    /// Instructions retired.
    pub retired: u64,
}

impl CsrInputs for CsrSnapshot {
    fn time(&self) -> u64 {
        self.time
    }
    fn lines(&self) -> u64 {
        self.lines
    }
    fn retired(&self) -> u64 {
        self.retired
    }
}

struct Live<'a>(&'a dyn SysEnv<HartState>);

impl CsrInputs for Live<'_> {
    fn time(&self) -> u64 {
        self.0.time()
    }
    fn lines(&self) -> u64 {
        self.0.lines()
    }
    fn retired(&self) -> u64 {
        self.0.retired()
    }
}

/// What reading a register looks at.
struct View<'a> {
    state: &'a HartState,
    config: &'a IsaConfig,
    inputs: &'a dyn CsrInputs,
}

/// A write: the register's new value, and the bits that the instruction names. Bits outside of `mask` keep their value
/// without having been read, which matters where reads and writes see different bits (`mip`).
#[derive(Clone, Copy)]
struct Update {
    value: u64,
    mask: u64,
}

/// What it takes for a register to exist or to be open besides privilege.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    /// Nothing.
    None,
    /// An extension.
    Extension(Extension),
    /// `senvcfg`, let through by `mstateen0`.
    Environment,
    /// `sstateen0` to `sstateen3`, let through by the `mstateen` of the same number.
    StateEnable,
    /// Floating point, switched on.
    Float,
    /// A counter of an extension, let through by `mcounteren` and `scounteren`.
    Counter(Extension),
    /// Sstc, let through by `mcounteren.TM` and `menvcfg.STCE`.
    TimerCompare,
    /// Open to S-mode unless `mstatus.TVM` traps it.
    Translation,
    /// A register of eight PMP entries, of which RV64 has the even-numbered ones only.
    PmpCfg,
    /// The register of one PMP entry.
    PmpAddr,
}

/// What a block does with a register itself, and then goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum InBlock {
    /// Nothing. What follows may depend on the register, or its value on when it is read, so that an instruction that
    /// names it ends its block.
    Ends,
    /// It has the helper read it; a write ends the block.
    Reads,
    /// The same; but clearing bits 0 to 4, all that an immediate reaches, only closes interrupts, after which the block
    /// may go on.
    ReadsAndCloses,
    /// It reads and writes this word of the state, at so many bytes, which only software and traps change.
    Word(usize),
    /// The same; the word holds the address of an instruction.
    Address(usize),
}

impl InBlock {
    /// Where the word is.
    const fn word(self) -> Option<usize> {
        match self {
            Self::Word(offset) | Self::Address(offset) => Some(offset),
            Self::Ends | Self::Reads | Self::ReadsAndCloses => None,
        }
    }
}

/// A register that blocks read and write themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::riscv) struct Word {
    /// Its place in [`WORDS`].
    pub(in crate::riscv) number: u16,
    /// Whether it holds the address of an instruction, whose low bits are zero.
    pub(in crate::riscv) is_address: bool,
}

/// Name and offset in the state of every register that blocks read and write themselves.
pub(in crate::riscv) const WORDS: [(&str, usize); word_count(table::ROWS.len())] = {
    let mut words = [("", 0); word_count(table::ROWS.len())];
    let mut at = 0;
    while at < table::ROWS.len() {
        if let Some(offset) = table::ROWS[at].block.word() {
            words[word_count(at)] = (table::ROWS[at].name, offset);
        }
        at += 1;
    }
    words
};

/// How many of the first rows are registers that blocks read and write themselves.
const fn word_count(rows: usize) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < rows {
        count += table::ROWS[at].block.word().is_some() as usize;
        at += 1;
    }
    count
}

/// The register as a word of the state, for a block of this privilege.
pub(in crate::riscv) fn word(number: u16, privilege: u64) -> Option<Word> {
    let at = row_number(number).filter(|_| privilege >= least_privilege(number))?;
    let block = table::ROWS[at].block;
    block.word()?;
    Some(Word {
        number: word_count(at) as u16,
        is_address: matches!(block, InBlock::Address(_)),
    })
}

/// How an instruction that names a register changes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::riscv) enum Change {
    /// Not at all.
    None,
    /// It clears some of bits 0 to 4.
    ClearsLow,
    /// In any way.
    Any,
}

/// Whether a block may go on after an instruction that names the register: it leaves everything that blocks depend on
/// as it was, and gives the same result wherever in a block it stands.
pub(in crate::riscv) fn stays_in_block(number: u16, change: Change) -> bool {
    row(number).is_some_and(|row| match row.block {
        InBlock::Ends => false,
        InBlock::Reads => change == Change::None,
        InBlock::ReadsAndCloses => change != Change::Any,
        InBlock::Word(_) | InBlock::Address(_) => true,
    })
}

/// The name of a register that some hart here has.
pub fn name(number: u16) -> Option<String> {
    let row = row(number)?;
    let named = row.gate != Gate::PmpCfg || row.index(number).is_multiple_of(2);
    named.then(|| row.name_of(number))
}

/// A row of the table.
struct Row {
    /// First number.
    first: u16,
    /// How many numbers follow each other.
    count: u16,
    /// Name; rows of several registers append the index.
    name: &'static str,
    /// Index of the first register of a row of several.
    first_index: u16,
    gate: Gate,
    read: fn(&View<'_>, u16) -> u64,
    write: fn(&mut Hart<'_>, u16, Update),
    block: InBlock,
}

impl Row {
    /// Index of a register within the row, counted as its name does.
    fn index(&self, number: u16) -> u16 {
        number - self.first + self.first_index
    }

    fn name_of(&self, number: u16) -> String {
        match self.count {
            1 => self.name.to_owned(),
            _ => format!("{}{}", self.name, self.index(number)),
        }
    }

    fn exists(&self, number: u16, config: &IsaConfig) -> bool {
        let index = self.index(number);
        match self.gate {
            Gate::None | Gate::Translation | Gate::Environment => true,
            Gate::Counter(ext) | Gate::Extension(ext) => config.has(ext),
            Gate::StateEnable => config.has(Extension::Ssstateen),
            Gate::Float => config.has(Extension::F),
            Gate::TimerCompare => config.has(Extension::Sstc),
            Gate::PmpCfg => index.is_multiple_of(2) && index * 4 < u16::from(config.pmp_entries),
            Gate::PmpAddr => index < u16::from(config.pmp_entries),
        }
    }

    fn is_open(&self, number: u16, state: &HartState) -> bool {
        let level = state.privilege;
        match self.gate {
            Gate::Float => mstatus::FS.is_set(state.mstatus),
            Gate::Counter(_) => counters::is_open(state, u32::from(number & 0x1f)),
            Gate::TimerCompare => {
                level == privilege::M
                    || counters::is_open(state, counters::TIME)
                        && envcfg::STCE.is_set(state.menvcfg)
            }
            Gate::Translation => level != privilege::S || !mstatus::TVM.is_set(state.mstatus),
            Gate::Environment => level == privilege::M || stateen::ENVCFG.is_set(state.mstateen[0]),
            Gate::StateEnable => {
                let at = usize::from(self.index(number));
                level == privilege::M || stateen::SE.is_set(state.mstateen[at])
            }
            Gate::None | Gate::Extension(_) | Gate::PmpCfg | Gate::PmpAddr => true,
        }
    }
}

/// Least privilege, from the number (RISC-V Priv 1.13, 2.1).
const fn least_privilege(number: u16) -> u64 {
    (number >> 8 & 3) as u64
}

/// Whether writes are illegal, from the number (RISC-V Priv 1.13, 2.1).
const fn is_read_only(number: u16) -> bool {
    number >> 10 == 3
}

/// Runs [`super::HELPER_CSR`].
pub(super) fn access(hart: &mut Hart<'_>, args: [u64; 3]) -> Result<u64, Exception> {
    let [request, source, insn] = args;
    let Request {
        number,
        op,
        reads,
        writes,
    } = Request::from(request);
    let row = row(number).filter(|row| {
        row.exists(number, hart.config)
            && hart.state.privilege >= least_privilege(number)
            && row.is_open(number, hart.state)
            && !(writes && is_read_only(number))
    });
    let Some(row) = row else {
        return Err(illegal(insn));
    };
    let old = if reads || op != CsrOp::Write {
        hart.read(row.read, row.index(number))
    } else {
        0
    };
    if writes {
        let update = match op {
            CsrOp::Write => Update {
                value: source,
                mask: u64::MAX,
            },
            CsrOp::Set => Update {
                value: old | source,
                mask: source,
            },
            CsrOp::Clear => Update {
                value: old & !source,
                mask: source,
            },
        };
        (row.write)(hart, row.index(number), update);
    }
    Ok(old)
}

/// The fields of [`super::csr_request`].
struct Request {
    number: u16,
    op: CsrOp,
    reads: bool,
    writes: bool,
}

impl From<u64> for Request {
    fn from(request: u64) -> Self {
        Self {
            number: request as u16 & 0xfff,
            op: match request >> 12 & 3 {
                0 => CsrOp::Write,
                1 => CsrOp::Set,
                _ => CsrOp::Clear,
            },
            writes: request >> 14 & 1 != 0,
            reads: request >> 15 & 1 != 0,
        }
    }
}

/// For each number one more than its row in the table, or zero.
static ROW_OF: [u8; 4096] = {
    let mut of = [0; 4096];
    let mut at = 0;
    while at < table::ROWS.len() {
        let row = &table::ROWS[at];
        let mut number = row.first as usize;
        while number < (row.first + row.count) as usize {
            of[number] = at as u8 + 1;
            number += 1;
        }
        at += 1;
    }
    assert!(at < 256, "rows are numbered in a byte");
    of
};

fn row_number(number: u16) -> Option<usize> {
    usize::from(ROW_OF[usize::from(number & 0xfff)]).checked_sub(1)
}

fn row(number: u16) -> Option<&'static Row> {
    row_number(number).map(|at| &table::ROWS[at])
}

/// The registers that a hart has, by number and name, lowest number first.
pub fn registers(config: &IsaConfig) -> impl Iterator<Item = (u16, String)> {
    table::ROWS.iter().flat_map(move |row| {
        (row.first..row.first + row.count)
            .filter(|&number| row.exists(number, config))
            .map(|number| (number, row.name_of(number)))
    })
}

/// The value of a register whatever the privilege; `None` when the hart does not have it.
pub fn peek(
    state: &HartState,
    config: &IsaConfig,
    inputs: &dyn CsrInputs,
    number: u16,
) -> Option<u64> {
    let row = row(number).filter(|row| row.exists(number, config))?;
    Some((row.read)(
        &View {
            state,
            config,
            inputs,
        },
        row.index(number),
    ))
}

/// Writes a register whatever the privilege, as `csrw` in M-mode does; false when the hart does not have it or it is
/// read-only.
pub fn poke(
    state: &mut HartState,
    config: &IsaConfig,
    env: &mut dyn SysEnv<HartState>,
    number: u16,
    value: u64,
) -> bool {
    let row = row(number).filter(|row| row.exists(number, config) && !is_read_only(number));
    let Some(row) = row else {
        return false;
    };
    let mut hart = Hart { state, config, env };
    (row.write)(
        &mut hart,
        row.index(number),
        Update {
            value,
            mask: u64::MAX,
        },
    );
    true
}

impl Hart<'_> {
    /// Calls `f` with what reading needs.
    fn read(&self, f: fn(&View<'_>, u16) -> u64, index: u16) -> u64 {
        f(
            &View {
                state: self.state,
                config: self.config,
                inputs: &Live(self.env),
            },
            index,
        )
    }
}

#[cfg(test)]
mod tests;
