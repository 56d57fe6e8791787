//! Code that all blocks share: the way in and out, steps of the interpreter, jumps through the jump cache.

use vm_engine::tier::{
    FrameOffsets, JumpOffsets, LEAVE_ATTENTION, LEAVE_LINK, LEAVE_LOOKUP, LinkOffsets, MXCSR_FLAGS,
    MXCSR_ROUNDING_SHIFT, MXCSR_ROUNDINGS, RECENT_LINES, RUST_MXCSR, STEP_DONE, TlbOffsets,
    run_step_address,
};

use vm_core::PAGE_SHIFT;

use super::{FRAME, PAGE_MASK, Pins, RETIRED};
use crate::asm::{Alu, Assembler, Cc, Label, Mem, Reg, Shift, Width};

/// Addresses of the shared code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stubs {
    /// `extern "sysv64" fn(frame, entry) -> u64`.
    pub(crate) enter: u64,
    /// Leaves with what RAX says, pinned registers put back.
    pub(crate) leave: u64,
    /// Called: runs the step at RAX with all guest state in the frame; comes back with all of it reloaded.
    pub(crate) step: u64,
    /// Goes to the guest address in RAX.
    pub(crate) go: u64,
    /// Leaves through the link cell at RAX.
    pub(crate) leave_link: u64,
    /// Called: for each line of recent translations, looks in the TLB for the page of the address in RAX, for reading and
    /// for writing. RDX is the address with the bits only that tell the page and misalignment. Comes back with ZF set and
    /// the addend in RCX, which the line has now, or with ZF clear. Changes RCX and RDX.
    pub(crate) refill: [[u64; 2]; RECENT_LINES],
    /// Called: makes MXCSR and the pinned vector registers the guest's. Keeps the others that are pinned.
    pub(crate) fp_enter: u64,
}

pub(crate) struct Labels {
    ways: [Label; 6],
    refill: [[Label; 2]; RECENT_LINES],
}

impl Labels {
    pub(crate) fn at(&self, asm: &Assembler, base: u64) -> Stubs {
        let address = |label| base + asm.offset_of(label) as u64;
        let [enter, leave, step, go, leave_link, fp_enter] = self.ways.map(address);
        Stubs {
            enter,
            leave,
            step,
            go,
            leave_link,
            refill: self.refill.map(|tags| tags.map(address)),
            fp_enter,
        }
    }
}

/// Registers that the caller of host code wants back (System V ABI, 3.2.1).
const SAVED: [Reg; 6] = [Reg::Rbp, Reg::Rbx, Reg::R12, Reg::R13, Reg::R14, Reg::R15];

fn spill(asm: &mut Assembler, pins: &Pins) {
    for &(reg, offset) in &pins.all {
        asm.store(Width::Q, Mem::new(FRAME, offset - pins.bias), reg);
    }
}

fn reload(asm: &mut Assembler, pins: &Pins) {
    for &(reg, offset) in &pins.all {
        asm.mov(Width::Q, reg, Mem::new(FRAME, offset - pins.bias));
    }
}

/// Emits all of it.
pub(crate) fn emit(asm: &mut Assembler, pins: &Pins) -> Labels {
    let frame = |offset: i32| Mem::new(FRAME, offset - pins.bias);
    let enter = asm.here();
    for reg in SAVED {
        asm.push(reg);
    }
    // Six registers and the return address: one more word aligns the stack.
    asm.alu_imm(Alu::Sub, Width::Q, Reg::Rsp, 8);
    asm.mov(Width::Q, Reg::Rax, Reg::Rsi);
    asm.lea(Width::Q, FRAME, Mem::new(Reg::Rdi, pins.bias));
    reload(asm, pins);
    asm.jmp_rm(Reg::Rax);

    // Out of the way, because only floating point comes there.
    let fp_leave = asm.label();
    let (live_at_leave, live_at_step) = (asm.label(), asm.label());
    let leave = asm.here();
    spill(asm, pins);
    asm.alu_imm(Alu::Cmp, Width::D, frame(FrameOffsets::FP_LIVE), 0);
    asm.jcc(Cc::Ne, live_at_leave);
    let out = asm.here();
    asm.alu_imm(Alu::Add, Width::Q, Reg::Rsp, 8);
    for reg in SAVED.into_iter().rev() {
        asm.pop(reg);
    }
    asm.ret();
    asm.bind(live_at_leave);
    asm.call(fp_leave);
    asm.jmp(out);

    asm.bind(live_at_step);
    asm.call(fp_leave);
    let not_live = asm.label();
    asm.jmp(not_live);
    let step = asm.here();
    let not_done = asm.label();
    spill(asm, pins);
    asm.alu_imm(Alu::Cmp, Width::D, frame(FrameOffsets::FP_LIVE), 0);
    asm.jcc(Cc::Ne, live_at_step);
    asm.bind(not_live);
    asm.lea(Width::Q, Reg::Rdi, Mem::new(FRAME, -pins.bias));
    asm.mov(Width::Q, Reg::Rsi, Reg::Rax);
    asm.alu_imm(Alu::Sub, Width::Q, Reg::Rsp, 8);
    asm.mov_imm(Reg::Rax, run_step_address());
    asm.call_rm(Reg::Rax);
    asm.alu_imm(Alu::Add, Width::Q, Reg::Rsp, 8);
    asm.alu_imm(Alu::Cmp, Width::Q, Reg::Rax, STEP_DONE as i32);
    asm.jcc(Cc::Ne, not_done);
    reload(asm, pins);
    asm.ret();
    // The interpreter has left: nothing in registers counts any more, nor does the way back.
    asm.bind(not_done);
    asm.alu_imm(Alu::Add, Width::Q, Reg::Rsp, 8);
    asm.jmp(out);

    let go = go(asm, pins, leave);

    let leave_link = asm.here();
    let unlinked = asm.label();
    let offset = Mem::new(Reg::Rax, LinkOffsets::OFFSET);
    asm.movsx(Width::Q, Width::D, Reg::Rcx, offset);
    let base = frame(FrameOffsets::PAGE_BASE);
    asm.alu(Alu::Add, Width::Q, Reg::Rcx, base);
    let jump = Mem::new(Reg::Rax, LinkOffsets::JUMP);
    asm.alu_imm(Alu::Cmp, Width::D, jump, LinkOffsets::APART);
    let together = asm.label();
    asm.jcc_short(Cc::Ne, together);
    asm.mov(Width::Q, Reg::Rax, Reg::Rcx);
    asm.jmp(go);
    asm.bind(together);
    asm.store(Width::Q, frame(FrameOffsets::PC), Reg::Rcx);
    asm.store(Width::Q, frame(FrameOffsets::LINK_SITE), Reg::Rax);
    let link = Mem::new(Reg::Rax, LinkOffsets::HEAD as i32);
    asm.alu_imm(Alu::Cmp, Width::Q, link, 0);
    asm.mov_imm(Reg::Rax, LEAVE_LINK);
    asm.jcc(Cc::E, unlinked);
    asm.mov_imm(Reg::Rax, LEAVE_ATTENTION);
    asm.bind(unlinked);
    asm.jmp(leave);

    let fp_enter = fp_enter(asm, pins);
    asm.bind(fp_leave);
    fp_leave_body(asm, pins);

    let tags = [TlbOffsets::READ, TlbOffsets::WRITE];
    let refill = std::array::from_fn(|line| tags.map(|tag| refill(asm, pins, line, tag)));
    Labels {
        ways: [enter, leave, step, go, leave_link, fp_enter],
        refill,
    }
}

/// Goes to the guest address in RAX by the jump cache.
fn go(asm: &mut Assembler, pins: &Pins, leave: Label) -> Label {
    let frame = |offset: i32| Mem::new(FRAME, offset - pins.bias);
    let (first, second, known, unknown) = (asm.label(), asm.label(), asm.label(), asm.label());
    let go = asm.here();
    asm.mov(Width::Q, Reg::Rcx, Reg::Rax);
    let [near, far] = JumpOffsets::SHIFTS;
    asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, near);
    asm.mov(Width::Q, Reg::Rdx, Reg::Rax);
    asm.shift_imm(Shift::Shr, Width::Q, Reg::Rdx, far);
    asm.alu(Alu::Xor, Width::D, Reg::Rcx, Reg::Rdx);
    let shift = JumpOffsets::BYTES.trailing_zeros() as u8;
    asm.shift_imm(Shift::Shl, Width::D, Reg::Rcx, shift);
    let mask = frame(FrameOffsets::JUMP_BYTE_MASK);
    asm.alu(Alu::And, Width::D, Reg::Rcx, mask);
    let lines = frame(FrameOffsets::JUMP_LINES);
    asm.alu(Alu::Add, Width::Q, Reg::Rcx, lines);
    for (way, otherwise) in [(first, second), (second, unknown)] {
        asm.bind(way);
        if way == second {
            asm.alu_imm(Alu::Xor, Width::Q, Reg::Rcx, JumpOffsets::BYTES as i32);
        }
        let pc = Mem::new(Reg::Rcx, JumpOffsets::PC);
        asm.alu(Alu::Cmp, Width::Q, Reg::Rax, pc);
        asm.jcc_short(Cc::Ne, otherwise);
        asm.movzx(Width::W, Reg::Rdx, Mem::new(Reg::Rcx, JumpOffsets::CODE));
        for context in [FrameOffsets::CONTEXT, FrameOffsets::GLOBAL_CONTEXT] {
            asm.alu(Alu::Cmp, Width::W, Reg::Rdx, frame(context));
            asm.jcc_short(Cc::E, known);
        }
        if way == first {
            asm.jmp_short(second);
            // Between the ways, where short jumps from both reach it.
            asm.bind(known);
            asm.mov(Width::Q, Reg::Rcx, Mem::new(Reg::Rcx, JumpOffsets::CODE));
            asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, JumpOffsets::CODE_SHIFT);
            turn(asm, pins, unknown);
            asm.alu_imm(Alu::And, Width::Q, Reg::Rax, PAGE_MASK);
            asm.store(Width::Q, frame(FrameOffsets::PAGE_BASE), Reg::Rax);
            asm.jmp_rm(Reg::Rcx);
        }
    }
    asm.bind(unknown);
    asm.store(Width::Q, frame(FrameOffsets::PC), Reg::Rax);
    asm.mov_imm(Reg::Rax, LEAVE_LOOKUP);
    asm.jmp(leave);
    go
}

/// Place of a line of recent translations; `of` is the offset of the first.
pub(crate) fn recent(pins: &Pins, of: i32, line: usize) -> Mem {
    Mem::new(FRAME, of + 8 * line as i32 - pins.bias)
}

/// Goes to `away` when RDX, as for [`Stubs::refill`], tells a misaligned address. Changes RCX.
pub(crate) fn if_misaligned(asm: &mut Assembler, away: Label) {
    asm.mov(Width::D, Reg::Rcx, Reg::Rdx);
    asm.alu_imm(Alu::And, Width::D, Reg::Rcx, !PAGE_MASK);
    asm.jcc(Cc::Ne, away);
}

/// Bytes of the largest access.
const LARGEST_BYTES: i32 = 8;

/// The first way of the TLB's set for the address in RAX to RCX.
pub(crate) fn tlb_entry(asm: &mut Assembler, pins: &Pins) {
    let frame = |offset: i32| Mem::new(FRAME, offset - pins.bias);
    asm.mov(Width::Q, Reg::Rcx, Reg::Rax);
    let shift = PAGE_SHIFT as u8 - TlbOffsets::SET_BYTES.trailing_zeros() as u8;
    asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, shift);
    let mask = frame(FrameOffsets::TLB_BYTE_MASK);
    asm.alu(Alu::And, Width::Q, Reg::Rcx, mask);
    asm.alu(Alu::Add, Width::Q, Reg::Rcx, frame(FrameOffsets::TLB));
}

fn refill(asm: &mut Assembler, pins: &Pins, line: usize, tag: i32) -> Label {
    // Of a misaligned access the last byte must be on the page, too: that of the largest serves all. No tag of another
    // page is in this set.
    let misaligned = asm.here();
    asm.lea(Width::Q, Reg::Rdx, Mem::new(Reg::Rax, LARGEST_BYTES - 1));
    asm.alu_imm(Alu::And, Width::Q, Reg::Rdx, PAGE_MASK);
    let start = asm.here();
    let (second, hit) = (asm.label(), asm.label());
    if_misaligned(asm, misaligned);
    tlb_entry(asm, pins);
    asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, Mem::new(Reg::Rcx, tag));
    asm.jcc(Cc::Ne, second);
    asm.bind(hit);
    for (from, to) in [
        (TlbOffsets::READ, FrameOffsets::RECENT_READ),
        (TlbOffsets::WRITE, FrameOffsets::RECENT_WRITE),
    ] {
        asm.mov(Width::Q, Reg::Rdx, Mem::new(Reg::Rcx, from));
        asm.store(Width::Q, recent(pins, to, line), Reg::Rdx);
    }
    asm.mov(Width::Q, Reg::Rcx, Mem::new(Reg::Rcx, TlbOffsets::ADDEND));
    let addend = recent(pins, FrameOffsets::RECENT_ADDEND, line);
    asm.store(Width::Q, addend, Reg::Rcx);
    // Moves have kept the comparison's flags.
    asm.ret();
    asm.bind(second);
    asm.alu_imm(Alu::Add, Width::Q, Reg::Rcx, TlbOffsets::WAY_BYTES);
    asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, Mem::new(Reg::Rcx, tag));
    asm.jcc(Cc::E, hit);
    asm.ret();
    start
}

/// Goes to `away` when the run loop must get a turn. Changes RDX.
pub(crate) fn turn(asm: &mut Assembler, pins: &Pins, away: Label) {
    let frame = |offset: i32| Mem::new(FRAME, offset - pins.bias);
    asm.alu(Alu::Cmp, Width::Q, RETIRED, frame(FrameOffsets::LIMIT));
    asm.jcc(Cc::A, away);
    asm.mov(Width::Q, Reg::Rdx, frame(FrameOffsets::EXIT_FLAG));
    asm.alu_imm(Alu::Cmp, Width::D, Mem::new(Reg::Rdx, 0), 0);
    asm.jcc(Cc::Ne, away);
}

fn fp_enter(asm: &mut Assembler, pins: &Pins) -> Label {
    let frame = |offset: i32| Mem::new(FRAME, offset - pins.bias);
    let (live, mxcsr) = (frame(FrameOffsets::FP_LIVE), frame(FrameOffsets::MXCSR));
    let start = asm.here();
    asm.mov(Width::D, Reg::Rcx, frame(FrameOffsets::FP_ROUNDING));
    asm.lea(Width::Q, Reg::Rdx, Mem::new(Reg::Rcx, 1));
    asm.store(Width::D, live, Reg::Rdx);
    asm.alu(Alu::Add, Width::D, Reg::Rcx, Reg::Rcx);
    asm.mov_imm(Reg::Rax, MXCSR_ROUNDINGS.into());
    asm.shift_cl(Shift::Shr, Width::D, Reg::Rax);
    asm.alu_imm(Alu::And, Width::D, Reg::Rax, 3);
    asm.shift_imm(Shift::Shl, Width::D, Reg::Rax, MXCSR_ROUNDING_SHIFT);
    asm.alu_imm(Alu::Or, Width::D, Reg::Rax, RUST_MXCSR as i32);
    asm.store(Width::D, mxcsr, Reg::Rax);
    asm.ldmxcsr(mxcsr);
    for &(reg, offset) in &pins.vectors {
        asm.load_scalar(true, reg, frame(offset));
    }
    asm.ret();
    start
}

/// Called: gives the guest its flags and registers, and Rust its MXCSR. Keeps RAX, changes RCX and RDX.
fn fp_leave_body(asm: &mut Assembler, pins: &Pins) {
    let frame = |offset: i32| Mem::new(FRAME, offset - pins.bias);
    let (live, mxcsr) = (frame(FrameOffsets::FP_LIVE), frame(FrameOffsets::MXCSR));
    let clear = asm.label();
    for &(reg, offset) in &pins.vectors {
        asm.store_scalar(true, frame(offset), reg);
    }
    asm.stmxcsr(mxcsr);
    asm.store_imm(Width::D, live, 0);
    asm.mov(Width::D, Reg::Rcx, mxcsr);
    asm.store_imm(Width::D, mxcsr, RUST_MXCSR as i32);
    asm.ldmxcsr(mxcsr);
    let known = MXCSR_FLAGS.iter().fold(0, |known, bit| known | 1 << bit);
    asm.alu_imm(Alu::And, Width::D, Reg::Rcx, known);
    asm.jcc(Cc::E, clear);
    for (to, from) in (0..).zip(MXCSR_FLAGS) {
        asm.mov(Width::D, Reg::Rdx, Reg::Rcx);
        asm.alu_imm(Alu::And, Width::D, Reg::Rdx, 1 << from);
        if from > to {
            asm.shift_imm(Shift::Shr, Width::D, Reg::Rdx, from - to);
        } else if to > from {
            asm.shift_imm(Shift::Shl, Width::D, Reg::Rdx, to - from);
        }
        let flags = frame(FrameOffsets::FP_FLAGS);
        asm.alu_to_mem(Alu::Or, Width::D, flags, Reg::Rdx);
    }
    asm.bind(clear);
    asm.ret();
}
