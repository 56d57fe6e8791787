//! Code of one block: micro-operations, and host code where a translator made some.

use vm_ir::{Attr, Block, Inst, Op};

use crate::interp::control;
use crate::jump::Entry;
use crate::microop::{BlockHead, CodeWords};
use crate::predecode::{Place, Predecoder, Rules, Storage};
use crate::tier::{self, HostCode, Step, Translation, Translator};

/// Code of one block, ready to run.
pub(crate) struct Code {
    /// All of the block behind its head; or, where it has host code, what that has the interpreter run.
    words: CodeWords,
    /// Operations that run by their definition; micro-ops point into it.
    _defined: Box<[Inst]>,
    /// What the block is run by where it is not by its micro-ops.
    host: Option<HostCode>,
    guest_insns: u32,
}

impl Code {
    /// What predecoding made of a block.
    fn of(block: &Block, storage: &mut Storage) -> Self {
        let (words, _defined) = storage.take();
        Self {
            words,
            _defined,
            host: None,
            guest_insns: block.guest_insns,
        }
    }

    /// The head of a block that is run by its micro-ops.
    pub(crate) fn head(&self) -> *const BlockHead {
        debug_assert!(self.host.is_none(), "host code is entered elsewhere");
        self.words.head()
    }

    /// Guest instructions in the block.
    pub(crate) fn guest_insns(&self) -> u64 {
        self.guest_insns.into()
    }

    /// Whether this is the code that left at a site to be linked.
    pub(crate) fn holds(&self, site: u64) -> bool {
        let host = self.host.as_ref();
        host.is_some_and(|host| host.place.holds(site)) || self.words.cell(site).is_some()
    }

    /// Nothing to run; `number` tells it from others.
    #[cfg(test)]
    pub(crate) fn numbered(number: u64) -> Self {
        Self {
            words: CodeWords::without_head(std::iter::empty()),
            _defined: [].into(),
            host: None,
            guest_insns: number as u32,
        }
    }

    /// Bytes of host memory, what the allocator adds included, about.
    pub(crate) fn bytes(&self) -> usize {
        let place = self
            .host
            .as_ref()
            .map_or(0, |host| size_of_val(&*host.place));
        let parts = [
            self.words.bytes(),
            size_of_val(&*self._defined),
            place,
            size_of::<Self>(),
        ];
        let taken = parts.iter().filter(|&&bytes| bytes != 0);
        let own: usize = taken.map(|bytes| bytes + ALLOCATION_BYTES).sum();
        own + self.host_bytes().iter().sum::<usize>()
    }

    /// Bytes of host code, on the way through and out of it.
    pub(crate) fn host_bytes(&self) -> [usize; 2] {
        let host = self.host.as_ref();
        host.map_or([0; 2], |host| {
            [host.hot_bytes as usize, host.cold_bytes as usize]
        })
    }

    /// Where the block is entered.
    pub(crate) fn entry(&self) -> Entry {
        match &self.host {
            Some(host) => Entry::Host(host.chained),
            None => Entry::Ops(self.head()),
        }
    }

    /// Has a site of this code, which it has left at, lead to another block at once from now on; or, where that is not
    /// possible, by way of the jump cache.
    pub(crate) fn link(&self, site: u64, to: Option<&Self>) {
        let to = to.map(Self::entry);
        match (&self.host, self.words.cell(site), to) {
            (_, Some(cell), Some(Entry::Ops(head))) if self.host.is_none() => cell.set(head),
            (_, Some(cell), _) => cell.keep_apart(),
            (Some(host), None, Some(Entry::Host(target))) => host.place.link(site, target),
            (Some(host), None, _) => host.place.keep_apart(site),
            (None, None, _) => {}
        }
    }
}

/// Bytes that an allocation takes beside its own.
const ALLOCATION_BYTES: usize = 16;

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
    predecoder.block(block);
    Ok(Code::of(block, storage))
}

/// Has a block translated to host code. It keeps micro-ops only of what the host code has the interpreter run.
pub(crate) fn translate(
    (block, pc): (&Block, u64),
    rules: Rules,
    storage: &mut Storage,
    translator: &dyn Translator,
) -> Option<Code> {
    let mut predecoder = Predecoder::start(block, rules, storage).ok()?;
    let leaves = translator.leaves_for(&block.terminator);
    let last = block.insts.len().saturating_sub(1);
    let mut with_end = None;
    for (at, inst) in block.insts.iter().enumerate() {
        let marker = matches!(inst.attr, Attr::Insn { .. });
        let falls_back = marker || translator.falls_back(inst);
        let place = predecoder.place(|predecoder| {
            if falls_back {
                predecoder.inst(inst);
            }
        });
        if at == last && leaves && inst.op == Op::Call {
            // A system instruction: the interpreter goes on to the end at once.
            with_end = place.first;
        } else if place.first.is_some() {
            predecoder.emit(tier::resume_host, |_| ());
        }
        predecoder.made.places.push(place);
    }
    let mut end = predecoder.place(|predecoder| {
        if leaves {
            predecoder.terminator(&block.terminator);
        }
    });
    end.first = with_end.or(end.first);
    let (words, _defined) = storage.take_steps();
    let step = |place: Place| Step {
        first: place.first.map_or(0, |at| words.address(at)),
        pc_offset: place.pc_offset,
        left: place.left,
    };
    let Storage {
        temp_offsets,
        places,
        steps,
        ..
    } = storage;
    steps.extend(places.iter().copied().map(step));
    let host = translator.translate(&Translation {
        block,
        pc,
        layout: rules.layout,
        temp_offsets,
        steps,
        host_float: rules.host_float,
        host_is_guest: rules.host_is_guest && (rules.masks_float)(block.key.mode),
        terminator: step(end),
    })?;
    Some(Code {
        words,
        _defined,
        host: Some(host),
        guest_insns: block.guest_insns,
    })
}
