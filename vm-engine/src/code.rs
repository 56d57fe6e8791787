//! Code of one block: micro-operations, and host code where a translator made some.

use vm_ir::{Attr, Block, Inst};

use crate::interp::control;
use crate::microop::MicroOp;
use crate::predecode::{Predecoder, Rules, Storage};
use crate::tier::{self, HostCode, Step, Translation, Translator};

/// Code of one block, ready to run.
pub(crate) struct Code {
    /// Head and operations.
    pub(crate) ops: Box<[MicroOp]>,
    /// Operations that run by their definition; micro-ops point into it.
    _defined: Box<[Inst]>,
    /// What the block is run by where it is not by its micro-ops alone.
    host: Option<HostCode>,
}

impl Code {
    /// What predecoding made, without host code.
    fn of(storage: &mut Storage) -> Self {
        let (ops, _defined) = storage.take();
        Self {
            ops,
            _defined,
            host: None,
        }
    }

    /// The block's head.
    pub(crate) fn head(&self) -> *const MicroOp {
        self.ops.as_ptr()
    }

    /// Nothing to run; `number` tells it from others.
    #[cfg(all(test, loom))]
    pub(crate) fn numbered(number: u64) -> Self {
        let mut head = MicroOp::new(crate::microop::block_head);
        head.set_imm(number);
        Self {
            ops: [head].into(),
            _defined: [].into(),
            host: None,
        }
    }

    /// Bytes of host memory.
    pub(crate) fn bytes(&self) -> usize {
        let defined = std::mem::size_of_val(&*self._defined);
        std::mem::size_of_val(&*self.ops) + defined + 64 + self.host_bytes()
    }

    /// Bytes of host code.
    pub(crate) fn host_bytes(&self) -> usize {
        self.host.as_ref().map_or(0, |host| host.bytes)
    }

    /// Where host code of other blocks enters this one, unless it has host code of its own.
    pub(crate) fn set_host_entry(&mut self, interpret: u64) {
        let entry = self.host.as_ref().map_or(interpret, |host| host.chained);
        self.ops[0].set_host(entry);
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
        predecoder.emit(control::count_interpreted, |op| op.set_imm(insns));
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
    let entry = predecoder.emit(tier::enter_host, |_| ());
    for inst in &block.insts {
        let first = predecoder.made.ops.len();
        let marker = matches!(inst.attr, Attr::Insn { .. });
        if marker || translator.falls_back(inst) {
            predecoder.inst(inst);
        }
        let end = predecoder.made.ops.len();
        if end > first {
            predecoder.emit(tier::resume_host, |_| ());
        }
        predecoder.made.places.push(first..end);
    }
    let first = predecoder.made.ops.len();
    predecoder.terminator(&block.terminator);
    let end = predecoder.made.ops.len();
    let mut code = Code::of(storage);
    let step = |first: usize, end: usize| {
        let address = |n: usize| (&raw const code.ops[n]).expose_provenance() as u64;
        if first == end {
            return Step::default();
        }
        Step {
            first: address(first),
            last: address(end - 1),
            left: code.ops[end - 1].left,
        }
    };
    let Storage {
        temp_offsets,
        places,
        steps,
        ..
    } = storage;
    steps.extend(places.iter().map(|place| step(place.start, place.end)));
    let host = translator.translate(&Translation {
        block,
        pc,
        layout: rules.layout,
        temp_offsets,
        steps,
        host_float: rules.host_float,
        terminator: step(first, end),
    })?;
    code.ops[entry].set_imm(translator.enter());
    code.ops[entry].set_host(host.entry);
    code.host = Some(host);
    Some(code)
}
