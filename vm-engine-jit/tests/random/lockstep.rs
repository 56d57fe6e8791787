//! Lockstep on random programs: silent on the translator as it is, and loud on one with a bug planted in it.

use std::sync::{Arc, Mutex};

use vm_core::VmExit;
use vm_engine::tier::{HostCode, Translation, Translator};
use vm_engine_jit::Template;
use vm_frontend::Guest as _;
use vm_frontend::riscv::Riscv;
use vm_ir::{Attr, Block, Cond, Inst, Op, Terminator};

use super::{Kind, RAM, Random, prepare, program};

/// A translator that takes one operation for another.
pub(crate) struct Planted {
    pub(crate) template: Template,
    pub(crate) change: fn(&mut Inst) -> bool,
    pub(crate) terminator: bool,
}

impl Translator for Planted {
    fn falls_back(&self, inst: &Inst) -> bool {
        self.template.falls_back(inst)
    }

    fn leaves_for(&self, terminator: &Terminator) -> bool {
        self.template.leaves_for(terminator)
    }

    fn translate(&self, translation: &Translation<'_>) -> Option<HostCode> {
        let mut block: Block = translation.block.clone();
        for inst in &mut block.insts {
            (self.change)(inst);
        }
        if self.terminator
            && let Terminator::Branch { cond, .. } = &mut block.terminator
        {
            *cond = inverse(*cond);
        }
        self.template.translate(&Translation {
            block: &block,
            ..*translation
        })
    }

    fn is_full(&self) -> bool {
        self.template.is_full()
    }

    fn enter(&self) -> u64 {
        self.template.enter()
    }
}

fn inverse(cond: Cond) -> Cond {
    match cond {
        Cond::Eq => Cond::Ne,
        Cond::Ne => Cond::Eq,
        Cond::LtS => Cond::GeS,
        Cond::GeS => Cond::LtS,
        Cond::LtU => Cond::GeU,
        Cond::GeU => Cond::LtU,
    }
}

/// Replaces one operation by another.
macro_rules! swap {
    ($from:ident $to:ident) => {
        |inst| {
            let meant = inst.op == Op::$from;
            if meant {
                inst.op = Op::$to;
            }
            meant
        }
    };
}

/// Changes what an operation of this name carries.
macro_rules! attribute {
    ($op:ident, $pattern:pat => $change:expr) => {
        |inst| match &mut inst.attr {
            $pattern if inst.op == Op::$op => {
                $change;
                true
            }
            _ => false,
        }
    };
}

/// The bugs, one or more for each class of operations.
type Bug = (&'static str, Kind, fn(&mut Inst) -> bool);
const BUGS: &[Bug] = &[
    ("sum", Kind::Mixed, swap!(Add Sub)),
    ("logic", Kind::Mixed, swap!(And Or)),
    ("shift", Kind::Mixed, swap!(Sar Shr)),
    ("product", Kind::Mixed, swap!(MulHS MulHU)),
    ("quotient", Kind::Mixed, swap!(DivS DivU)),
    ("remainder", Kind::Mixed, swap!(RemU RemS)),
    (
        "comparison",
        Kind::Mixed,
        attribute!(Cmp, Attr::Cond(cond) => *cond = inverse(*cond)),
    ),
    (
        "field",
        Kind::Mixed,
        attribute!(Extract, Attr::Field { signed, .. } => *signed = !*signed),
    ),
    (
        "load",
        Kind::Mixed,
        attribute!(Load, Attr::Mem(mem) => mem.signed = !mem.signed),
    ),
    (
        "store",
        Kind::Mixed,
        attribute!(Store, Attr::Mem(mem) => mem.size_log2 = mem.size_log2.saturating_sub(1)),
    ),
    (
        "exit",
        Kind::Mixed,
        attribute!(ExitIf, Attr::Cond(cond) => *cond = inverse(*cond)),
    ),
    ("single bit", Kind::Mixed, swap!(BitSet BitClear)),
    ("carry-less product", Kind::Mixed, swap!(ClMul ClMulH)),
    ("mixed product", Kind::Mixed, swap!(MulHSU MulHU)),
    ("combined bits", Kind::Mixed, swap!(OrCombine Not)),
    ("atomic sum", Kind::Atomic, swap!(AtomicAdd AtomicSwap)),
    ("atomic logic", Kind::Atomic, swap!(AtomicAnd AtomicOr)),
    ("atomic minimum", Kind::Atomic, swap!(AtomicMinS AtomicMinU)),
    ("reservation", Kind::Atomic, swap!(LoadReserved AtomicAdd)),
    (
        "conditional store",
        Kind::Atomic,
        swap!(StoreConditional AtomicSwap),
    ),
    ("floating-point sum", Kind::Float, swap!(FpAdd FpSub)),
    ("floating-point product", Kind::Float, swap!(FpMul FpDiv)),
    ("fused product", Kind::Float, swap!(FpMulAdd FpMulSub)),
    ("floating-point comparison", Kind::Float, swap!(FpLt FpLe)),
    ("sign", Kind::Float, swap!(FpSign FpSignNot)),
];

/// Runs a random program in lockstep; gives what was reported, and the blocks compared.
fn run(seed: u64, kind: Kind, translator: Arc<dyn Translator>) -> (Option<String>, u64) {
    let mut random = Random(seed | 1);
    let words = program(&mut random, 60, kind);
    let (engine, mut vcpu) = prepare(&words, RAM + 0x1000, seed, kind);
    engine.set_translator(translator);
    let reported = Arc::new(Mutex::new(None));
    let into = reported.clone();
    engine.compare_with_interpreter(Box::new(move |text| {
        *into.lock().unwrap() = Some(text.to_owned());
    }));
    let exit = vcpu.run();
    let report = reported.lock().unwrap().take();
    let stopped = matches!(exit, VmExit::Differs { .. });
    assert_eq!(
        stopped,
        report.is_some(),
        "seed {seed:#x}: {exit:?}, {report:?}"
    );
    (report, engine.lockstep_counts().0)
}

pub(crate) fn template() -> Template {
    Template::new(Riscv::layout(), 1 << 20).expect("this host allows it")
}

#[test]
fn lockstep_finds_nothing_in_the_translator() {
    let mut seeds = Random(0x1234_5678_9abc_def1);
    let mut compared = 0;
    for n in 0..300 {
        let kind = [Kind::Mixed, Kind::Float, Kind::Atomic][n % 3];
        let (report, blocks) = run(seeds.next(), kind, Arc::new(template()));
        assert_eq!(report, None);
        compared += blocks;
    }
    assert!(compared > 1000, "{compared} blocks");
}

fn assert_caught(name: &str, kind: Kind, change: fn(&mut Inst) -> bool, terminator: bool) {
    let mut seeds = Random(0x0bad_c0de_0bad_c0df);
    let caught = (0..200).find_map(|_| {
        let planted = Planted {
            template: template(),
            change,
            terminator,
        };
        run(seeds.next(), kind, Arc::new(planted)).0
    });
    let report = caught.unwrap_or_else(|| panic!("the bug in {name} was not caught"));
    assert!(report.contains("in the block at 8000"), "{report}");
    assert!(report.lines().count() > 1, "{report}");
}

#[test]
fn lockstep_catches_a_planted_bug_of_every_class() {
    for &(name, kind, change) in BUGS {
        assert_caught(name, kind, change, false);
    }
    assert_caught("branch", Kind::Mixed, |_| false, true);
}
