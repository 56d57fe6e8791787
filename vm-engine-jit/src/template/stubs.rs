//! Code that all blocks share: the way in and out, steps of the interpreter, jumps through the jump cache.

use vm_engine::tier::{
    FrameOffsets, JumpOffsets, LAST_LEAVE, LEAVE_ATTENTION, LEAVE_LINK, LEAVE_LOOKUP,
    MXCSR_DENORMAL, MXCSR_FLAGS, MXCSR_ROUNDING_SHIFT, MXCSR_ROUNDINGS, RUST_MXCSR, STEP_DONE,
    TlbOffsets, go_on_address, load_address, load_group_address, probe_address, run_end_address,
    run_step_address, store_address, store_group_address, store_vector_address,
};

use super::slow::{ByLine, Kind, Slow, refill};
use super::{FRAME, HOT, PAGE_MASK, Pins, RETIRED, x87};
use crate::asm::{Alu, Assembler, Cc, Label, Mem, Reg, Shift, Width};

/// Addresses of the shared code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stubs {
    /// `extern "sysv64" fn(frame, entry) -> u64`.
    pub(crate) enter: u64,
    /// Runs the end of a block, from the micro-operation at RAX on, and goes on in another block if it can.
    pub(crate) end: u64,
    /// Called: runs the step at RAX with all guest state in the frame; comes back with all of it reloaded.
    pub(crate) step: u64,
    /// Goes to the guest address in RAX.
    pub(crate) go: u64,
    /// Goes to the guest address that is the signed offset in EAX from the page's base.
    pub(crate) go_off: u64,
    /// Called, with a site (`Emitter::site`) in place of code to come back to: what becomes of a jump within the page.
    pub(crate) ways: Ways,
    /// Called: for reading and for writing, looks in the TLB for the page of the address in RAX. RDX is the address with
    /// the bits only that tell the page and misalignment, CL the line of recent translations. Comes back with ZF set and
    /// the addend in RCX, which the line has now, or with ZF clear. Changes RCX and RDX.
    pub(crate) refill: [u64; 2],
    /// Called, for reading and for writing, with the value of a store pushed before, from where a long jump and an
    /// `AccessSite` stand behind the call: fills the line from the TLB. Comes back, without the value, with what is to be
    /// added to the address in RCX. That may lead to a word of the frame with what was loaded, when all that remains is to
    /// take it, or to one that nobody reads, when the value has been stored. Keeps the address where that is in RAX; else
    /// changes RAX and RDX.
    pub(crate) access: [ByLine<u64>; 2],
    /// Called, as `refill` for a page, with a `GroupSite` in ECX: does the same for a group of accesses, of which each is
    /// told by a word behind two long jumps. Comes back, as `access`, at the first jump when the host's
    /// accesses remain to be done, and at the second when they are done.
    pub(crate) group: [u64; 2],
    /// Called, as `refill`, with an `AccessSite` in ECX: does as `access` for 16 bytes. What is stored stands at
    /// [`FrameOffsets::VALUE`]. Vector registers that are not pinned change.
    pub(crate) vector_access: [u64; 2],
    /// The same for the check that a store is allowed; changes nothing but RCX, RDX and vectors.
    pub(crate) vector_probe: u64,
    /// Called: makes MXCSR and the pinned vector registers the guest's. Keeps the others that are pinned.
    pub(crate) fp_enter: u64,
    /// Called: has the x87 unit be the guest's (`x87::enter`), and takes its registers to memory (`x87::leave`).
    pub(crate) x87_enter: u64,
    pub(crate) x87_leave: u64,
}

/// What a jump within the page does that does not go to another block at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    /// Leaves to be linked.
    pub(crate) link: u64,
    /// Leaves because the run loop must get a turn: the jump is linked.
    pub(crate) linked: u64,
    /// Goes by the jump cache.
    pub(crate) apart: u64,
}

pub(crate) struct Labels {
    all: [Label; 18],
    access: [ByLine<Label>; 2],
}

impl Labels {
    pub(crate) fn at(&self, asm: &Assembler, base: u64) -> Stubs {
        let address = |label| base + asm.offset_of(label) as u64;
        let [
            enter,
            end,
            step,
            go,
            go_off,
            link,
            linked,
            apart,
            refill_read,
            refill_write,
            load_group,
            store_group,
            load_vector,
            store_vector,
            probe_vector,
            fp_enter,
            x87_enter,
            x87_leave,
        ] = self.all.map(address);
        Stubs {
            enter,
            end,
            step,
            go,
            go_off,
            ways: Ways {
                link,
                linked,
                apart,
            },
            refill: [refill_read, refill_write],
            access: (self.access).map(|lines| lines.map(|entries| entries.map(address))),
            group: [load_group, store_group],
            vector_access: [load_vector, store_vector],
            vector_probe: probe_vector,
            fp_enter,
            x87_enter,
            x87_leave,
        }
    }
}

/// Registers that the caller of host code wants back (System V ABI, 3.2.1).
const SAVED: [Reg; 6] = [Reg::Rbp, Reg::Rbx, Reg::R12, Reg::R13, Reg::R14, Reg::R15];

pub(super) fn spill(asm: &mut Assembler, pins: &Pins) {
    for &(reg, offset) in &pins.all {
        asm.store(Width::Q, Mem::new(FRAME, offset - pins.bias), reg);
    }
}

pub(super) fn reload(asm: &mut Assembler, pins: &Pins) {
    asm.lea(Width::Q, HOT, Mem::new(FRAME, pins.hot_bias - pins.bias));
    for &(reg, offset) in &pins.all {
        asm.mov(Width::Q, reg, Mem::new(FRAME, offset - pins.bias));
    }
}

/// Emits all of it.
pub(crate) fn emit(asm: &mut Assembler, pins: &Pins) -> Labels {
    let frame = |offset: i32| pins.word(offset);
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
    let (live_at_leave, live_at_step, left) = (asm.label(), asm.label(), asm.label());
    let leave = asm.here();
    spill(asm, pins);
    asm.alu_imm(Alu::Cmp, Width::Q, frame(FrameOffsets::FP_LIVE), 0);
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
    asm.alu_imm(Alu::Cmp, Width::Q, frame(FrameOffsets::FP_LIVE), 0);
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
    asm.jmp(left);

    let end = end(asm, pins, [left, fp_leave, out]);

    let go_off = asm.here();
    asm.movsx(Width::Q, Width::D, Reg::Rax, Reg::Rax);
    asm.alu(Alu::Add, Width::Q, Reg::Rax, frame(FrameOffsets::PAGE_BASE));
    let go = go(asm, pins, leave);

    let link = asm.here();
    target_of_site(asm, pins);
    asm.store(Width::Q, frame(FrameOffsets::PC), Reg::Rax);
    asm.store(Width::Q, frame(FrameOffsets::LINK_SITE), Reg::Rcx);
    asm.mov_imm(Reg::Rax, LEAVE_LINK);
    asm.jmp(leave);
    let linked = asm.here();
    target_of_site(asm, pins);
    asm.store(Width::Q, frame(FrameOffsets::PC), Reg::Rax);
    asm.mov_imm(Reg::Rax, LEAVE_ATTENTION);
    asm.jmp(leave);
    let apart = asm.here();
    target_of_site(asm, pins);
    asm.jmp(go);

    let fp_enter = fp_enter(asm, pins);
    let [x87_enter, x87_leave, enter_again] = x87_ways(asm, pins, fp_enter, fp_leave);
    fp_leave_body(asm, pins);

    let [refill_read, refill_write] =
        [TlbOffsets::READ, TlbOffsets::WRITE].map(|tag| refill(asm, pins, tag));
    let slow = |kind, address| Slow {
        kind,
        address,
        fp_leave,
        enter_again,
        left,
    };
    let load = slow(Kind::Load, load_address()).by_line(asm, pins);
    let store = slow(Kind::Store, store_address()).by_line(asm, pins);
    let load_group = slow(Kind::Group, load_group_address()).emit(asm, pins, refill_read);
    let store_group = slow(Kind::Group, store_group_address()).emit(asm, pins, refill_write);
    let load_vector = slow(Kind::Vector, load_address()).emit(asm, pins, refill_read);
    let store_vector = slow(Kind::Vector, store_vector_address()).emit(asm, pins, refill_write);
    let probe_vector = slow(Kind::Vector, probe_address()).emit(asm, pins, refill_write);
    Labels {
        all: [
            enter,
            end,
            step,
            go,
            go_off,
            link,
            linked,
            apart,
            refill_read,
            refill_write,
            load_group,
            store_group,
            load_vector,
            store_vector,
            probe_vector,
            fp_enter,
            x87_enter,
            x87_leave,
        ],
        access: [load, store],
    }
}

/// Runs the end of a block from the micro-operation at RAX on. `left` is bound to where to go when host code has left, with
/// all guest state in the frame, for what RAX says: `out` is the way to the run loop.
fn end(asm: &mut Assembler, pins: &Pins, [left, fp_leave, out]: [Label; 3]) -> Label {
    let (live, call, not_live) = (asm.label(), asm.label(), asm.label());
    asm.bind(live);
    asm.call(fp_leave);
    asm.jmp(not_live);
    let end = asm.here();
    spill(asm, pins);
    asm.alu_imm(Alu::Cmp, Width::Q, pins.word(FrameOffsets::FP_LIVE), 0);
    asm.jcc(Cc::Ne, live);
    asm.bind(not_live);
    asm.mov(Width::Q, Reg::Rsi, Reg::Rax);
    asm.mov_imm(Reg::Rax, run_end_address());
    asm.bind(call);
    asm.lea(Width::Q, Reg::Rdi, Mem::new(FRAME, -pins.bias));
    asm.call_rm(Reg::Rax);
    asm.alu_imm(Alu::Cmp, Width::Q, Reg::Rax, LAST_LEAVE as i32);
    asm.jcc(Cc::Be, out);
    reload(asm, pins);
    asm.jmp_rm(Reg::Rax);
    asm.bind(left);
    asm.mov(Width::Q, Reg::Rsi, Reg::Rax);
    asm.mov_imm(Reg::Rax, go_on_address());
    asm.jmp(call);
    end
}

/// Takes a site's address off the stack to RCX, and the guest address that it leads to to RAX.
fn target_of_site(asm: &mut Assembler, pins: &Pins) {
    asm.pop(Reg::Rcx);
    asm.mov(Width::D, Reg::Rax, Mem::new(Reg::Rcx, 0));
    asm.alu_imm(Alu::And, Width::D, Reg::Rax, !PAGE_MASK);
    let base = pins.word(FrameOffsets::PAGE_BASE);
    asm.alu(Alu::Add, Width::Q, Reg::Rax, base);
}

/// Goes to the guest address in RAX by the jump cache.
fn go(asm: &mut Assembler, pins: &Pins, leave: Label) -> Label {
    let frame = |offset: i32| pins.word(offset);
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

/// Goes to `away` when the run loop must get a turn. Changes RDX.
pub(crate) fn turn(asm: &mut Assembler, pins: &Pins, away: Label) {
    let frame = |offset: i32| pins.word(offset);
    asm.alu(Alu::Cmp, Width::Q, RETIRED, frame(FrameOffsets::LIMIT));
    asm.jcc(Cc::A, away);
    asm.mov(Width::Q, Reg::Rdx, frame(FrameOffsets::EXIT_FLAG));
    asm.alu_imm(Alu::Cmp, Width::D, Mem::new(Reg::Rdx, 0), 0);
    asm.jcc(Cc::Ne, away);
}

/// The x87 unit's ways in and out; and a way in again to what was live by RDX, the 64 bits at [`FrameOffsets::FP_LIVE`].
/// Begins the way out of all that is live, of which vectors and MXCSR come last.
fn x87_ways(asm: &mut Assembler, pins: &Pins, fp_enter: Label, all_leave: Label) -> [Label; 3] {
    const { assert!(FrameOffsets::X87_LIVE == FrameOffsets::FP_LIVE + 4) };
    let Some(places) = pins.x87 else {
        asm.bind(all_leave);
        return [fp_enter; 3];
    };
    let x87_enter = x87::enter(asm, pins, places);
    let x87_leave = x87::leave(asm, pins, places);
    let (no_float, no_x87) = (asm.label(), asm.label());
    let enter_again = asm.here();
    asm.push(Reg::Rdx);
    asm.test(Width::D, Reg::Rdx, Reg::Rdx);
    asm.jcc_short(Cc::E, no_float);
    asm.call(fp_enter);
    asm.bind(no_float);
    asm.pop(Reg::Rdx);
    asm.shift_imm(Shift::Shr, Width::Q, Reg::Rdx, 32);
    asm.jcc(Cc::Ne, x87_enter);
    asm.ret();

    let (none, float) = (asm.label(), asm.label());
    asm.bind(all_leave);
    let live = |offset: i32| pins.word(offset);
    asm.alu_imm(Alu::Cmp, Width::D, live(FrameOffsets::X87_LIVE), 0);
    asm.jcc_short(Cc::E, no_x87);
    asm.call(x87_leave);
    asm.bind(no_x87);
    asm.alu_imm(Alu::Cmp, Width::D, live(FrameOffsets::FP_LIVE), 0);
    asm.jcc_short(Cc::E, none);
    asm.jmp_short(float);
    asm.bind(none);
    asm.ret();
    asm.bind(float);
    [x87_enter, x87_leave, enter_again]
}

fn fp_enter(asm: &mut Assembler, pins: &Pins) -> Label {
    let frame = |offset: i32| pins.word(offset);
    let (live, mxcsr) = (frame(FrameOffsets::FP_LIVE), frame(FrameOffsets::MXCSR));
    let start = asm.here();
    if let Some(control) = pins.mxcsr {
        let ready = asm.label();
        asm.store_imm(Width::D, live, 1);
        asm.mov(Width::D, Reg::Rax, frame(control));
        // Where some exceptions are not masked, nothing that may raise them runs here.
        asm.alu_imm(Alu::Or, Width::D, Reg::Rax, RUST_MXCSR as i32);
        // Flags that Rust's arithmetic has raised must go, too.
        asm.stmxcsr(mxcsr);
        asm.alu(Alu::Cmp, Width::D, Reg::Rax, mxcsr);
        asm.jcc_short(Cc::E, ready);
        asm.store(Width::D, mxcsr, Reg::Rax);
        asm.ldmxcsr(mxcsr);
        asm.bind(ready);
        for &(reg, offset) in &pins.vectors {
            asm.vmov(reg, frame(offset));
        }
        asm.ret();
        return start;
    }
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
    let frame = |offset: i32| pins.word(offset);
    let (live, mxcsr) = (frame(FrameOffsets::FP_LIVE), frame(FrameOffsets::MXCSR));
    let clear = asm.label();
    for &(reg, offset) in &pins.vectors {
        match pins.mxcsr {
            Some(_) => asm.vstore(frame(offset), reg),
            None => asm.store_scalar(true, frame(offset), reg),
        }
    }
    asm.stmxcsr(mxcsr);
    asm.store_imm(Width::D, live, 0);
    asm.mov(Width::D, Reg::Rcx, mxcsr);
    if pins.mxcsr.is_some() {
        asm.alu_imm(Alu::Cmp, Width::D, Reg::Rcx, RUST_MXCSR as i32);
        asm.jcc(Cc::E, clear);
    }
    asm.store_imm(Width::D, mxcsr, RUST_MXCSR as i32);
    asm.ldmxcsr(mxcsr);
    let denormal = pins.mxcsr.map(|_| MXCSR_DENORMAL);
    let flags = (0..).zip(MXCSR_FLAGS.into_iter().chain(denormal));
    let known = flags.clone().fold(0, |known, (_, bit)| known | 1 << bit);
    asm.alu_imm(Alu::And, Width::D, Reg::Rcx, known);
    asm.jcc(Cc::E, clear);
    for (to, from) in flags {
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
