//! The template tier: IR blocks to x86-64 code in one pass.

mod atomic;
mod bits;
mod block;
mod branch;
mod cold;
mod conditions;
mod convert;
mod flags;
mod float;
#[cfg(test)]
mod golden;
mod group;
mod in_place;
mod integer;
mod lazy;
mod memory;
mod narrow;
mod pending;
mod product;
mod reach;
mod slow;
mod stubs;
mod vector;
mod x87;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vm_core::{GuestPhysAddr, Notices, PAGE_BYTES};
use vm_engine::tier::{FrameOffsets, HostCode, RECENT_LINES, Translation, Translator};
use vm_ir::{Inst, StateLayout, Terminator, Type, VectorDecl};
use vm_osal::{ExecutableMemory, ExecutableMemoryError};

use crate::arena::{Arena, CHUNK_BYTES, Piece};
use crate::asm::{Assembler, Mem, Reg, Xmm};
use crate::listing::Listing;
use crate::perf_map::PerfMap;
use cold::Cold;
pub(crate) use cold::Site;
use stubs::Stubs;
pub(crate) use stubs::Ways;
use x87::X87;

/// The frame's register; it points [`Pins::bias`] bytes into the frame.
pub(crate) const FRAME: Reg = Reg::Rbp;
/// Counts the instructions retired, while host code runs.
pub(crate) const RETIRED: Reg = Reg::R11;
/// Registers that guest state stays in while host code runs, by rank. RAX, RCX and RDX are for single operations.
pub(crate) const PINNED: [Reg; 9] = [
    Reg::Rbx,
    Reg::R12,
    Reg::R13,
    Reg::R14,
    Reg::R15,
    Reg::Rsi,
    Reg::Rdi,
    Reg::R8,
    Reg::R9,
];
/// Points to words of the frame that are used most, [`Pins::hot_bias`] bytes into it.
pub(crate) const HOT: Reg = Reg::R10;

/// The first vector register that guest state stays in while floating point is live; those below are for single
/// operations.
const FIRST_VECTOR: u8 = 4;
const END_VECTOR: u8 = 14;

/// The bits of an address that tell its page.
const PAGE_MASK: i32 = -(PAGE_BYTES as i32);

/// Why there is no template tier.
#[derive(Debug)]
pub enum TemplateError {
    /// No executable memory; see there.
    Memory(ExecutableMemoryError),
    /// The host's processor lacks instructions that the code uses: run the interpreter.
    Host(&'static str),
    /// The memory for code has no room for any.
    Small,
    /// The list for `perf` cannot be written.
    PerfMap(std::io::Error),
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Host(missing) => {
                write!(f, "this processor lacks {missing}")
            }
            Self::Small => f.write_str("the memory for translated code is too small: give it 1M"),
            Self::PerfMap(error) => write!(f, "cannot write the list for perf: {error}"),
        }
    }
}

impl std::error::Error for TemplateError {}

/// Which guest registers are pinned, and where they are in the frame.
#[derive(Debug)]
pub(crate) struct Pins {
    /// For each state slot its host register.
    of_slot: Vec<Option<Reg>>,
    /// Pinned registers with their frame offsets.
    pub(crate) all: Vec<(Reg, i32)>,
    /// For each state slot its vector register, which holds it while floating point is live.
    vector_of_slot: Vec<Option<Xmm>>,
    /// Those with their frame offsets.
    pub(crate) vectors: Vec<(Xmm, i32)>,
    /// Where MXCSR is, flags clear, of a guest that has it. Then vector registers hold 128 bits.
    pub(crate) mxcsr: Option<i32>,
    /// Bytes from the frame to where [`FRAME`] points, so that the first slots have short displacements.
    pub(crate) bias: i32,
    /// Bytes from the frame to where [`HOT`] points.
    pub(crate) hot_bias: i32,
    /// Where the x87 unit of a guest is that has one.
    pub(crate) x87: Option<x87::Places>,
    /// For each state slot, the line of recent translations for what is reached by it.
    lines: Vec<u8>,
}

impl Pins {
    fn new(layout: &StateLayout, x87: Option<&X87>) -> Self {
        let first = layout.slots.iter().map(|slot| slot.offset).min();
        let bias = FrameOffsets::STATE + first.unwrap_or(0) as i32 + 128;
        let mut of_slot = vec![None; layout.slots.len()];
        let mut all = vec![(RETIRED, FrameOffsets::RETIRED)];
        for (rank, reg) in PINNED.into_iter().enumerate() {
            let pinned =
                |slot: &vm_ir::SlotDecl| usize::from(slot.pin_rank) == rank && slot.ty == Type::I64;
            if let Some(at) = layout.slots.iter().position(pinned) {
                of_slot[at] = Some(reg);
                all.push((reg, FrameOffsets::STATE + layout.slots[at].offset as i32));
            }
        }
        let mut lines = vec![0; layout.slots.len()];
        let mut others = 0..;
        for (slot, line) in layout.slots.iter().zip(&mut lines) {
            let rank = usize::from(slot.pin_rank);
            let pinned = rank < PINNED.len() && slot.ty == Type::I64;
            // Those of pinned registers are the last, which are reached by short displacements.
            *line = match pinned {
                true => RECENT_LINES - 1 - rank,
                false => others.next().unwrap_or(0) % (RECENT_LINES - PINNED.len()),
            } as u8;
        }
        let mut vector_of_slot = vec![None; layout.slots.len()];
        let mut vectors = Vec::new();
        for number in FIRST_VECTOR..END_VECTOR {
            let rank = number - FIRST_VECTOR;
            let pinned = |slot: &vm_ir::SlotDecl| slot.pin_rank == rank && slot.ty == Type::F64;
            if let Some(at) = layout.slots.iter().position(pinned) {
                vector_of_slot[at] = Some(Xmm(number));
                let offset = FrameOffsets::STATE + layout.slots[at].offset as i32;
                vectors.push((Xmm(number), offset));
            }
        }
        let offset = |at: usize| FrameOffsets::STATE + layout.slots[at].offset as i32;
        let mxcsr = layout.slot("mxcsr").filter(|_| vector::has_vectors());
        if mxcsr.is_some() {
            for number in vector::FIRST_PINNED..vector::END_PINNED {
                let rank = number - vector::FIRST_PINNED;
                let pinned =
                    |slot: &vm_ir::SlotDecl| slot.pin_rank == rank && slot.ty == Type::V128;
                if let Some(at) = layout.slots.iter().position(pinned) {
                    vector_of_slot[at] = Some(Xmm(number));
                    vectors.push((Xmm(number), offset(at)));
                }
            }
        }
        Self {
            of_slot,
            all,
            vector_of_slot,
            vectors,
            mxcsr: mxcsr.map(|slot| offset(slot.index())),
            bias,
            x87: x87.map(|unit| unit.places),
            hot_bias: FrameOffsets::HOT_END - 128,
            lines,
        }
    }

    /// A word of the frame.
    pub(crate) fn word(&self, offset: i32) -> Mem {
        let (near, hot) = (offset - self.bias, offset - self.hot_bias);
        match i8::try_from(hot) {
            Ok(_) if i8::try_from(near).is_err() => Mem::new(HOT, hot),
            _ => Mem::new(FRAME, near),
        }
    }

    /// The line of recent translations to try for an address off a slot of the state.
    pub(crate) fn line_of_state(&self, index: usize) -> u8 {
        self.lines[index]
    }

    /// The same off a temporary: addresses of several arrays, or constants, in a block are different ones.
    pub(crate) fn line_of_temp(&self, index: usize) -> u8 {
        (index % (RECENT_LINES - PINNED.len())) as u8
    }

    /// The same off a constant.
    pub(crate) fn line_of_constant(&self, place: i64) -> u8 {
        let page = place.div_euclid(PAGE_BYTES as i64);
        page.rem_euclid((RECENT_LINES - PINNED.len()) as i64) as u8
    }

    pub(crate) fn vector_of_state(&self, index: usize) -> Option<Xmm> {
        self.vector_of_slot[index]
    }

    pub(crate) fn of_state(&self, index: usize) -> Option<Reg> {
        self.of_slot[index]
    }
}

/// What a block is made with.
#[derive(Debug)]
struct Scratch {
    asm: Assembler,
    cold: Vec<Cold>,
    members: Vec<u32>,
    reads: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            asm: Assembler::new(CHUNK_BYTES),
            cold: Vec::with_capacity(32),
            members: Vec::with_capacity(32),
            reads: Vec::new(),
        }
    }
}

/// The template tier of one machine.
pub struct Template {
    arena: Arc<Arena>,
    pins: Pins,
    stubs: Stubs,
    /// Code that all blocks share.
    shared: Piece,
    /// Storage for blocks in the making, one for each that is made at a time.
    scratch: Mutex<Vec<Scratch>>,
    /// Whether there was no room for the last block.
    full: AtomicBool,
    perf_map: Option<PerfMap>,
    listing: Option<(Listing, Notices)>,
    counts_accesses: bool,
    logic_clears_a: bool,
    /// The guest's own operations on vectors.
    vectors: &'static [VectorDecl],
    /// The guest's x87 unit.
    x87: Option<X87>,
    /// Whether the guest has vectors and the host what they need.
    has_vectors: bool,
}

impl Template {
    /// A translator for guests of this layout, whose code takes `code_bytes` bytes at most.
    ///
    /// # Errors
    /// When the host has no executable memory for it, or not the instructions.
    pub fn new(layout: &'static StateLayout, code_bytes: usize) -> Result<Self, TemplateError> {
        macro_rules! need {
            ($($feature:tt)*) => {$(
                if !std::arch::is_x86_feature_detected!($feature) {
                    return Err(TemplateError::Host($feature));
                }
            )*};
        }
        need!("bmi1" "bmi2" "lzcnt" "popcnt");
        let memory = ExecutableMemory::new(code_bytes.next_multiple_of(CHUNK_BYTES))
            .map_err(TemplateError::Memory)?;
        let arena = Arena::new(memory);
        let x87 = X87::of(layout);
        let pins = Pins::new(layout, x87.as_ref());
        let mut asm = Assembler::new(CHUNK_BYTES);
        let labels = stubs::emit(&mut asm, &pins);
        // They are of no page of the guest.
        let nowhere = GuestPhysAddr(u64::MAX).page_base();
        let mut shared = arena
            .allocate(nowhere, asm.len(), 0)
            .ok_or(TemplateError::Small)?;
        let [base, _] = shared.addresses();
        let stubs = labels.at(&asm, base);
        let code = asm.finish(base).expect("invariant: the stubs are short");
        shared.fill(code, &[]);
        arena.set_ways(stubs.ways);
        Ok(Self {
            arena,
            pins,
            stubs,
            shared,
            scratch: Mutex::default(),
            full: AtomicBool::new(false),
            perf_map: None,
            listing: None,
            counts_accesses: false,
            logic_clears_a: flags::logic_clears_a(),
            vectors: layout.vectors,
            x87,
            has_vectors: vector::has_vectors()
                && layout.slots.iter().any(|slot| slot.ty == Type::V128),
        })
    }

    /// Gives code translated from now on to `shown`, as text.
    pub fn show(&mut self, what: Listing, shown: Notices) {
        self.listing = (what.ir || what.asm).then_some((what, shown));
    }

    /// Has code translated from now on count its accesses to memory, which makes it a little slower.
    pub fn count_accesses(&mut self) {
        self.counts_accesses = true;
    }

    /// Lists all code translated from now on where Linux's `perf` looks for it: blocks are named by the
    /// guest-physical address that they were made from.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn write_perf_map(&mut self) -> Result<(), TemplateError> {
        let map = PerfMap::create().map_err(TemplateError::PerfMap)?;
        let ([base, _], [bytes, _]) = (self.shared.addresses(), self.shared.bytes());
        map.note(base, bytes, "shared");
        self.perf_map = Some(map);
        Ok(())
    }
}

impl Translator for Template {
    fn falls_back(&self, inst: &Inst) -> bool {
        if self.has_vectors && vector::is_native(inst, self.vectors) {
            return false;
        }
        block::has_slow_path(inst) || !block::is_native(inst)
    }

    fn leaves_for(&self, terminator: &Terminator) -> bool {
        block::leaves_for(terminator)
    }

    fn translate(&self, translation: &Translation<'_>) -> Option<HostCode> {
        let lock = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = lock().pop().unwrap_or_default();
        let emitted = block::translate(&mut scratch, translation, self);
        let asm = &mut scratch.asm;
        let code = emitted.and_then(|split| {
            let key = translation.block.key;
            let page = key.phys_pc.page_base();
            let piece = self.arena.allocate(page, split, asm.len() - split);
            self.full.store(piece.is_none(), Ordering::Relaxed);
            let mut piece = piece?;
            let addresses @ [base, cold_base] = piece.addresses();
            let (hot, cold) = asm.finish_in_two(split, addresses)?;
            piece.fill(hot, cold);
            if let Some((listing, shown)) = &self.listing
                && let Some(text) = listing.text(translation, [(base, hot), (cold_base, cold)])
            {
                shown.say(&text);
            }
            let [hot_bytes, cold_bytes] = piece.bytes();
            if let Some(map) = &self.perf_map {
                let name = format!("guest_{:x}_{:x}", key.phys_pc.raw(), key.mode.0);
                map.note(base, hot_bytes, &name);
                map.note(cold_base, cold_bytes, &format!("{name}_cold"));
            }
            Some(HostCode {
                chained: base,
                hot_bytes: hot_bytes as u32,
                cold_bytes: cold_bytes as u32,
                place: Box::new(piece),
            })
        });
        lock().push(scratch);
        code
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn enter(&self) -> u64 {
        self.stubs.enter
    }
}
