//! Slow paths of loads and stores, which all blocks share: they fill a recent translation from the TLB, and call what does
//! the access where the TLB does not help.

use vm_core::PAGE_SHIFT;
use vm_engine::tier::{AccessSite, FrameOffsets, RECENT_LINES, STEP_DONE, TlbOffsets};

use super::group::NEXT_PAGE;
use super::stubs::{reload, spill};
use super::{FRAME, PAGE_MASK, Pins};
use crate::asm::{Alu, Assembler, BitTest, Cc, Label, Mem, Reg, Shift, Width};

/// Bytes of a word on the stack.
const WORD: i32 = 8;

/// Bytes of a vector.
const VECTOR_BYTES: i32 = 16;

/// Bytes of a jump that is not short.
const JUMP_BYTES: i32 = 5;

/// Which slow path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Load,
    /// The value stands above the return address.
    Store,
    Group,
    /// What is stored stands in the frame.
    Vector,
}

/// Where the slow path of loads, or of stores, is entered, for each line of recent translations.
pub(super) type ByLine<T> = [Entries<T>; RECENT_LINES];

/// The same by where the guest's address is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries<T> {
    /// It is in RAX. RDX is the address with the bits only that tell the page and misalignment.
    pub(crate) in_rax: T,
    /// It is in RDX, and RAX is that.
    pub(crate) in_rdx: T,
}

impl<T> Entries<T> {
    pub(super) fn map<U>(self, of: impl Fn(T) -> U) -> Entries<U> {
        Entries {
            in_rax: of(self.in_rax),
            in_rdx: of(self.in_rdx),
        }
    }
}

/// A slow path of one kind.
pub(super) struct Slow {
    pub(super) kind: Kind,
    /// What does the access where the TLB does not help.
    pub(super) address: u64,
    /// Shared code: what takes floating point to memory, what brings back what was live by RDX, and where to go
    /// when host code has left.
    pub(super) fp_leave: Label,
    pub(super) enter_again: Label,
    pub(super) left: Label,
}

impl Slow {
    /// [`Stubs::access`](super::stubs::Stubs::access) of loads or of stores.
    ///
    /// What most come here for stands first, in as few instructions as can be: where a register goes from page to page at
    /// random, as in lists and trees, the host's processor does not foresee which access does, and all of them wait.
    pub(super) fn by_line(self, asm: &mut Assembler, pins: &Pins) -> ByLine<Label> {
        let slow = asm.label();
        let lines = std::array::from_fn(|line| self.fill(asm, pins, line as u8, slow));
        asm.bind(slow);
        asm.mov(Width::Q, Reg::Rcx, Mem::new(Reg::Rsp, 0));
        asm.mov(Width::D, Reg::Rcx, Mem::new(Reg::Rcx, JUMP_BYTES));
        asm.push(Reg::Rcx);
        self.call(asm, pins);
        lines
    }

    fn fill(&self, asm: &mut Assembler, pins: &Pins, line: u8, slow: Label) -> Entries<Label> {
        let in_rax = self.fill_from(asm, pins, line, [Reg::Rax, Reg::Rdx]);
        asm.jmp(slow);
        let in_rdx = self.fill_from(asm, pins, line, [Reg::Rdx, Reg::Rax]);
        asm.mov(Width::Q, Reg::Rax, Reg::Rdx);
        asm.jmp(slow);
        Entries { in_rax, in_rdx }
    }

    /// Fills a line for an address and its page in registers; goes on behind when the TLB does not have it.
    fn fill_from(
        &self,
        asm: &mut Assembler,
        pins: &Pins,
        line: u8,
        [address, page]: [Reg; 2],
    ) -> Label {
        let tag = match self.kind {
            Kind::Store => TlbOffsets::WRITE,
            _ => TlbOffsets::READ,
        };
        let (second, hit, away) = (asm.label(), asm.label(), asm.label());
        let start = asm.here();
        tlb_entry(asm, pins, address);
        let tags = asm.here();
        asm.alu(Alu::Cmp, Width::Q, page, Mem::new(Reg::Rcx, tag));
        asm.jcc_short(Cc::Ne, second);
        asm.bind(hit);
        for (from, to) in [
            (TlbOffsets::READ, FrameOffsets::RECENT_READ),
            (TlbOffsets::WRITE, FrameOffsets::RECENT_WRITE),
        ] {
            asm.mov(Width::Q, page, Mem::new(Reg::Rcx, from));
            asm.store(Width::Q, recent(pins, to, line), page);
        }
        asm.mov(Width::Q, Reg::Rcx, Mem::new(Reg::Rcx, TlbOffsets::ADDEND));
        let addend = recent(pins, FrameOffsets::RECENT_ADDEND, line);
        asm.store(Width::Q, addend, Reg::Rcx);
        self.ret(asm);
        asm.bind(second);
        asm.alu_imm(Alu::Add, Width::Q, Reg::Rcx, TlbOffsets::WAY_BYTES);
        asm.alu(Alu::Cmp, Width::Q, page, Mem::new(Reg::Rcx, tag));
        asm.jcc_short(Cc::E, hit);
        asm.test_imm(Width::D, page, !PAGE_MASK);
        asm.jcc_short(Cc::E, away);
        last_byte_page(asm, address, page);
        asm.alu_imm(Alu::Sub, Width::Q, Reg::Rcx, TlbOffsets::WAY_BYTES);
        asm.jmp(tags);
        asm.bind(away);
        start
    }

    /// [`Stubs::group`](super::stubs::Stubs::group) and the like, of a kind that is not by line.
    pub(super) fn emit(self, asm: &mut Assembler, pins: &Pins, refill: Label) -> Label {
        let stack = |word: i32| Mem::new(Reg::Rsp, WORD * word);
        let slow = asm.label();
        let start = asm.here();
        asm.push(Reg::Rcx);
        if self.kind == Kind::Group {
            // The highest bit tells that there may be two pages.
            asm.test(Width::D, Reg::Rcx, Reg::Rcx);
            asm.jcc_short(Cc::S, slow);
        }
        if self.kind == Kind::Vector {
            let lies = asm.label();
            asm.lea(Width::D, Reg::Rdx, Mem::new(Reg::Rax, VECTOR_BYTES - 1));
            asm.alu(Alu::Xor, Width::D, Reg::Rdx, Reg::Rax);
            asm.test_dh(NEXT_PAGE);
            asm.jcc_short(Cc::Ne, slow);
            asm.bit_test_imm(
                BitTest::Test,
                Width::D,
                Reg::Rcx,
                AccessSite::MUST_ALIGN as u8,
            );
            asm.jcc_short(Cc::Ae, lies);
            asm.mov(Width::D, Reg::Rdx, Reg::Rax);
            asm.alu_imm(Alu::And, Width::D, Reg::Rdx, VECTOR_BYTES - 1);
            asm.jcc_short(Cc::Ne, slow);
            asm.bind(lies);
            asm.mov(Width::Q, Reg::Rdx, Reg::Rax);
            asm.alu_imm(Alu::And, Width::Q, Reg::Rdx, PAGE_MASK);
        }
        asm.call(refill);
        asm.jcc_short(Cc::Ne, slow);
        asm.lea(Width::Q, Reg::Rsp, stack(1));
        self.ret(asm);

        asm.bind(slow);
        self.call(asm, pins);
        start
    }

    /// Has the access done, whose site the stack has last; comes back behind the call in the block.
    fn call(&self, asm: &mut Assembler, pins: &Pins) {
        let frame = |offset: i32| Mem::new(FRAME, offset - pins.bias);
        let stack = |word: i32| Mem::new(Reg::Rsp, WORD * word);
        let (not_live, not_done, ready) = (asm.label(), asm.label(), asm.label());
        asm.push(Reg::Rax);
        spill(asm, pins);
        asm.mov(Width::Q, Reg::Rdx, frame(FrameOffsets::FP_LIVE));
        asm.push(Reg::Rdx);
        asm.test(Width::Q, Reg::Rdx, Reg::Rdx);
        asm.jcc_short(Cc::E, not_live);
        asm.call(self.fp_leave);
        asm.bind(not_live);
        // Now there are three words, the return address, and the value.
        asm.lea(Width::Q, Reg::Rdi, frame(0));
        asm.mov(Width::Q, Reg::Rsi, stack(1));
        asm.mov(Width::D, Reg::Rdx, stack(2));
        match self.kind {
            Kind::Load | Kind::Vector => {}
            Kind::Store => asm.mov(Width::Q, Reg::Rcx, stack(4)),
            Kind::Group => {
                asm.mov(Width::Q, Reg::Rcx, stack(3));
                asm.alu_imm(Alu::Add, Width::Q, Reg::Rcx, 2 * JUMP_BYTES);
            }
        }
        // Host code has the stack aligned to two words.
        let pushed = 4 + self.values();
        let aligned = pushed + pushed % 2;
        asm.alu_imm(Alu::Sub, Width::Q, Reg::Rsp, WORD * (aligned - pushed));
        asm.mov_imm(Reg::Rax, self.address);
        asm.call_rm(Reg::Rax);
        asm.alu_imm(Alu::Cmp, Width::Q, Reg::Rax, STEP_DONE as i32);
        asm.jcc_short(Cc::Ne, not_done);
        asm.alu_imm(Alu::Add, Width::Q, Reg::Rsp, WORD * (aligned - pushed));
        reload(asm, pins);
        asm.pop(Reg::Rdx);
        asm.test(Width::Q, Reg::Rdx, Reg::Rdx);
        asm.jcc_short(Cc::E, ready);
        asm.call(self.enter_again);
        asm.bind(ready);
        asm.pop(Reg::Rax);
        asm.lea(Width::Q, Reg::Rsp, stack(1));
        asm.lea(Width::Q, Reg::Rcx, frame(FrameOffsets::VALUE));
        asm.alu(Alu::Sub, Width::Q, Reg::Rcx, Reg::Rax);
        if self.kind == Kind::Group {
            asm.alu_imm(Alu::Add, Width::Q, stack(0), JUMP_BYTES);
        }
        self.ret(asm);
        // An exception: nothing in registers counts any more, nor does the way back.
        asm.bind(not_done);
        asm.alu_imm(Alu::Add, Width::Q, Reg::Rsp, WORD * aligned);
        asm.jmp(self.left);
    }

    /// Words above the return address.
    fn values(&self) -> i32 {
        i32::from(self.kind == Kind::Store)
    }

    fn ret(&self, asm: &mut Assembler) {
        match self.values() {
            0 => asm.ret(),
            values => asm.ret_dropping((WORD * values) as u16),
        }
    }
}
/// Place of a line of recent translations; `of` is the offset of the first.
pub(crate) fn recent(pins: &Pins, of: i32, line: u8) -> Mem {
    pins.word(of + FrameOffsets::RECENT_BYTES * i32::from(line))
}

/// Goes to `away` when RDX, as for [`Stubs::refill`], tells a misaligned address. Changes RCX.
pub(crate) fn if_misaligned(asm: &mut Assembler, away: Label) {
    asm.mov(Width::D, Reg::Rcx, Reg::Rdx);
    asm.alu_imm(Alu::And, Width::D, Reg::Rcx, !PAGE_MASK);
    asm.jcc(Cc::Ne, away);
}

/// Bytes of the largest access.
const LARGEST_BYTES: i32 = 8;

/// The first way of the TLB's set for an address to RCX.
pub(crate) fn tlb_entry(asm: &mut Assembler, pins: &Pins, address: Reg) {
    let frame = |offset: i32| pins.word(offset);
    asm.mov(Width::Q, Reg::Rcx, address);
    let shift = PAGE_SHIFT as u8 - TlbOffsets::SET_BYTES.trailing_zeros() as u8;
    asm.shift_imm(Shift::Shr, Width::Q, Reg::Rcx, shift);
    let mask = frame(FrameOffsets::TLB_BYTE_MASK);
    asm.alu(Alu::And, Width::Q, Reg::Rcx, mask);
    asm.alu(Alu::Add, Width::Q, Reg::Rcx, frame(FrameOffsets::TLB));
}

/// The page of the last byte of a misaligned access: that of the largest serves all. No tag of another page than the
/// address's is in its set of the TLB.
fn last_byte_page(asm: &mut Assembler, address: Reg, page: Reg) {
    asm.lea(Width::Q, page, Mem::new(address, LARGEST_BYTES - 1));
    asm.alu_imm(Alu::And, Width::Q, page, PAGE_MASK);
}

/// [`Stubs::refill`](super::stubs::Stubs::refill).
pub(super) fn refill(asm: &mut Assembler, pins: &Pins, tag: i32) -> Label {
    let (misaligned, start, tags) = (asm.label(), asm.label(), asm.label());
    asm.bind(misaligned);
    last_byte_page(asm, Reg::Rax, Reg::Rdx);
    asm.jmp_short(tags);
    asm.bind(start);
    asm.push(Reg::Rcx);
    if_misaligned(asm, misaligned);
    asm.bind(tags);
    let (second, hit) = (asm.label(), asm.label());
    tlb_entry(asm, pins, Reg::Rax);
    asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, Mem::new(Reg::Rcx, tag));
    asm.jcc_short(Cc::Ne, second);
    asm.bind(hit);
    // Nothing from here on changes the comparison's flags.
    asm.pop(Reg::Rdx);
    asm.movzx(Width::B, Reg::Rdx, Reg::Rdx);
    const { assert!(FrameOffsets::RECENT_BYTES == 3 << 3) };
    asm.lea(Width::Q, Reg::Rdx, Mem::indexed(Reg::Rdx, Reg::Rdx, 1, 0));
    let line = |of: i32| Mem::indexed(FRAME, Reg::Rdx, 3, of - pins.bias);
    for (from, to) in [
        (TlbOffsets::READ, FrameOffsets::RECENT_READ),
        (TlbOffsets::WRITE, FrameOffsets::RECENT_WRITE),
    ] {
        asm.push_mem(Mem::new(Reg::Rcx, from));
        asm.pop_mem(line(to));
    }
    asm.mov(Width::Q, Reg::Rcx, Mem::new(Reg::Rcx, TlbOffsets::ADDEND));
    asm.store(Width::Q, line(FrameOffsets::RECENT_ADDEND), Reg::Rcx);
    asm.ret();
    asm.bind(second);
    asm.alu_imm(Alu::Add, Width::Q, Reg::Rcx, TlbOffsets::WAY_BYTES);
    asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, Mem::new(Reg::Rcx, tag));
    asm.jcc_short(Cc::E, hit);
    asm.lea(Width::Q, Reg::Rsp, Mem::new(Reg::Rsp, WORD));
    asm.ret();
    start
}
