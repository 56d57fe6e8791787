//! Code of one block: micro-operations, and host code where a translator made some.

use vm_ir::{Attr, Block, Inst};

use crate::interp::control;
use crate::jump::Entry;
use crate::microop::{BlockHead, CodeWords, LinkCell};
use crate::predecode::{Place, Predecoder, Rules, Storage};
use crate::tier::{self, HostCode, Step, Translation, Translator};

/// Code of one block, ready to run.
pub(crate) struct Code {
    words: CodeWords,
    /// Operations that run by their definition; micro-ops point into it.
    _defined: Box<[Inst]>,
    /// What the block is run by where it is not by its micro-ops alone.
    host: Option<HostCode>,
}

impl Code {
    /// What predecoding made, without host code.
    fn of(storage: &mut Storage) -> Self {
        let (words, _defined) = storage.take();
        Self {
            words,
            _defined,
            host: None,
        }
    }

    /// The block's head.
    pub(crate) fn head(&self) -> *const BlockHead {
        self.words.head()
    }

    /// Guest instructions in the block.
    pub(crate) fn guest_insns(&self) -> u64 {
        self.words.guest_insns()
    }

    /// Whether a link cell is one of its own.
    pub(crate) fn holds(&self, cell: *const LinkCell) -> bool {
        self.words.holds(cell)
    }

    /// Nothing to run; `number` tells it from others.
    #[cfg(test)]
    pub(crate) fn numbered(number: u64) -> Self {
        let head = BlockHead {
            insns: number as u32,
        };
        Self {
            words: CodeWords::of(head, std::iter::empty()),
            _defined: [].into(),
            host: None,
        }
    }

    /// Bytes of host memory.
    pub(crate) fn bytes(&self) -> usize {
        let defined = std::mem::size_of_val(&*self._defined);
        self.words.bytes() + defined + 64 + self.host_bytes().iter().sum::<usize>()
    }

    /// Bytes of host code, on the way through and out of it.
    pub(crate) fn host_bytes(&self) -> [usize; 2] {
        let host = self.host.as_ref();
        host.map_or([0; 2], |host| [host.hot_bytes, host.cold_bytes])
    }

    /// Where the block is entered.
    pub(crate) fn entry(&self) -> Entry {
        match &self.host {
            Some(host) => Entry::Host(host.chained),
            None => Entry::Ops(self.head()),
        }
    }

    /// Links one of its cells to another block. Host code goes there at once where that one has host code, too.
    pub(crate) fn link(&self, cell: &LinkCell, to: &Self) {
        cell.set(to.head());
        if let (Some(host), Some(at), Entry::Host(target)) = (&self.host, cell.jump(), to.entry()) {
            host.place.link(at, target);
        }
    }
}

/// The block needs more temporaries than a frame has; a shorter one will do.
#[derive(Debug)]
pub(crate) struct TooManyTemps;

/// Turns a block into micro-operations. `breakpoint` has the debugger asked before its first instruction, `counted`
/// has its instructions counted as interpreted ones.
///
/// # Errors
/// When its temporaries do not fit; lift it again with fewer instructions.
pub(crate) fn predecode(
    (block, breakpoint, counted): (&Block, bool, bool),
    rules: Rules,
    storage: &mut Storage,
) -> Result<Code, TooManyTemps> {
    let mut predecoder = Predecoder::start(block, rules, storage)?;
    if breakpoint {
        predecoder.emit(control::breakpoint, |_| ());
    }
    if counted {
        let insns = u64::from(block.guest_insns);
        predecoder.emit(control::count_interpreted, |op| op.imm = insns);
    }
    for inst in &block.insts {
        predecoder.inst(inst);
    }
    predecoder.terminator(&block.terminator);
    Ok(Code::of(storage))
}

/// Has a block translated to host code. Its micro-ops are those that the host code falls back to.
pub(crate) fn translate(
    (block, pc): (&Block, u64),
    rules: Rules,
    storage: &mut Storage,
    translator: &dyn Translator,
) -> Option<Code> {
    let mut predecoder = Predecoder::start(block, rules, storage).ok()?;
    let entry = predecoder.emit(tier::resume_host, |_| ());
    for inst in &block.insts {
        let marker = matches!(inst.attr, Attr::Insn { .. });
        let falls_back = marker || translator.falls_back(inst);
        let place = predecoder.place(|predecoder| {
            if falls_back {
                predecoder.inst(inst);
            }
        });
        if place.is_some() {
            predecoder.emit(tier::resume_host, |_| ());
        }
        predecoder.made.places.push(place);
    }
    let end = predecoder.place(|predecoder| predecoder.terminator(&block.terminator));
    let mut code = Code::of(storage);
    let step = |place: Option<Place>| match place {
        None => Step::default(),
        Some(place) => Step {
            first: code.words.address(place.first),
            links: place.links.map_or(0, |at| code.words.address(at)),
            left: place.left,
        },
    };
    let Storage {
        temp_offsets,
        places,
        steps,
        ..
    } = storage;
    steps.extend(places.iter().copied().map(step));
    let mut host = translator.translate(&Translation {
        block,
        pc,
        layout: rules.layout,
        temp_offsets,
        steps,
        host_float: rules.host_float,
        terminator: step(end),
    })?;
    let enter = tier::enter_host_at(translator.enter(), host.entry);
    code.words.set_op(entry, enter);
    for jump in std::mem::take(&mut host.jumps) {
        code.words.cell(jump.cell).set_jump(jump.at);
    }
    code.host = Some(host);
    Some(code)
}
