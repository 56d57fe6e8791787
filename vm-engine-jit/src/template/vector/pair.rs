//! Accesses of 32 bytes, which blocks have as two of 16: one check serves both.

use vm_engine::tier::{AccessSite, FrameOffsets, Step};

use super::access::HALF_BYTES;
use super::*;
use crate::asm::{Alu, Cc, Label, Mem, Reg, Width};
use crate::template::PAGE_MASK;
use crate::template::cold::Cold;
use crate::template::group::NEXT_PAGE;
use crate::template::slow::recent;
use vm_ir::MemAttr;

/// An access of 32 bytes out of the way; see [`Cold::Pair`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairAway {
    from: Label,
    write: bool,
    /// Of each half.
    sites: [u32; 2],
    /// What is loaded or stored.
    halves: [Slot; 2],
    /// Behind the accesses.
    back: Label,
    /// Temporaries in registers before and behind.
    held: [Held; 2],
}

impl Emitter<'_> {
    /// Translates an access of 32 bytes that begins at operation `at`; tells how many operations it had.
    pub(super) fn pair(&mut self, at: usize) -> Option<usize> {
        let insts = self.of.block.insts.as_slice();
        let steps = self.of.steps;
        match &insts[at..] {
            [low, high, ..] if low.op == Op::Load => {
                let halves = [low.dst?, high.dst?];
                let temps = halves.iter().all(|slot| slot.is_temp());
                let mem = beside(low, high).filter(|_| temps && halves[0] != halves[1])?;
                let (away, from) = self.reach_pair(low, mem, [steps[at], steps[at + 1]], halves)?;
                for (n, half) in halves.into_iter().enumerate() {
                    let to = self.result(half);
                    let disp = HALF_BYTES * n as i32;
                    self.asm.vmov(to, Mem { disp, ..from });
                }
                self.end_pair(away);
                Some(2)
            }
            [probe, low, high, ..] if probe.op == Op::ProbeWrite && low.op == Op::Store => {
                let halves = [low.args[3].slot()?, high.args[3].slot()?];
                let mem = beside(low, high)?;
                let probed = probe.args[..3] == high.args[..3]
                    && probe.attr == high.attr
                    && probe.ty == Type::V128;
                if !probed {
                    return None;
                }
                if halves
                    .iter()
                    .any(|&half| self.vector(half).is_some_and(|_| !half.is_temp()))
                {
                    self.enter_float();
                }
                let (away, to) =
                    self.reach_pair(low, mem, [steps[at + 1], steps[at + 2]], halves)?;
                for (n, half) in halves.into_iter().enumerate() {
                    let from = self.in_xmm(half, ACC);
                    let disp = HALF_BYTES * n as i32;
                    self.asm.vstore(Mem { disp, ..to }, from);
                }
                self.end_pair(away);
                Some(3)
            }
            _ => None,
        }
    }

    /// The host address of 32 bytes, as a sum of two registers; RDX is used.
    fn reach_pair(
        &mut self,
        low: &Inst,
        mem: MemAttr,
        steps: [Step; 2],
        halves: [Slot; 2],
    ) -> Option<(PairAway, Mem)> {
        let write = low.op == Op::Store;
        let line = self.line_of(low.args[0]);
        let site = |step: Step| {
            let site = AccessSite {
                line,
                size_log2: mem.size_log2,
                pc_offset: step.pc_offset,
                left: step.left,
                must_align: false,
            };
            site.pack()
        };
        let sites = [site(steps[0])?, site(steps[1])?];
        self.host_flags = None;
        self.address(low, mem)?;
        self.count_access();
        let (from, back) = (self.asm.label(), self.asm.label());
        let tag = match write {
            false => FrameOffsets::RECENT_READ,
            true => FrameOffsets::RECENT_WRITE,
        };
        self.asm.mov_imm(Reg::Rdx, i64::from(PAGE_MASK) as u64);
        self.asm.alu(Alu::And, Width::Q, Reg::Rdx, Reg::Rax);
        let tag = recent(self.pins, tag, line);
        self.asm.alu(Alu::Cmp, Width::Q, Reg::Rdx, tag);
        self.asm.jcc(Cc::Ne, from);
        let last = Mem::new(Reg::Rax, 2 * HALF_BYTES - 1);
        self.asm.lea(Width::D, Reg::Rdx, last);
        self.asm.alu(Alu::Xor, Width::D, Reg::Rdx, Reg::Rax);
        self.asm.test_dh(NEXT_PAGE);
        self.asm.jcc(Cc::Ne, from);
        let addend = recent(self.pins, FrameOffsets::RECENT_ADDEND, line);
        self.asm.mov(Width::Q, Reg::Rcx, addend);
        let away = PairAway {
            from,
            write,
            sites,
            halves,
            back,
            held: [self.held; 2],
        };
        Some((away, Mem::indexed(Reg::Rax, Reg::Rcx, 0, 0)))
    }

    /// The accesses are done.
    fn end_pair(&mut self, away: PairAway) {
        self.asm.bind(away.back);
        self.cold.push(Cold::Pair(PairAway {
            held: [away.held[0], self.held],
            ..away
        }));
    }

    /// Emits what is out of the way: one access after the other; of stores, the second's check comes first.
    pub(crate) fn cold_pair(&mut self, away: PairAway) {
        let [before, behind] = away.held;
        self.held = before;
        self.asm.bind(away.from);
        self.store_all_held();
        self.held = Held::default();
        let next = |this: &mut Self, bytes| {
            let at = Mem::new(Reg::Rax, bytes);
            this.asm.lea(Width::Q, Reg::Rax, at);
        };
        if away.write {
            next(self, HALF_BYTES);
            self.asm.mov_imm(Reg::Rcx, away.sites[1].into());
            self.asm.call_to(self.stubs.vector_probe);
            next(self, -HALF_BYTES);
        }
        let value = self.frame(FrameOffsets::VALUE);
        let reached = Mem::indexed(Reg::Rax, Reg::Rcx, 0, 0);
        for (half, site) in away.halves.into_iter().zip(away.sites) {
            if away.write {
                let from = self.in_xmm(half, ACC);
                self.asm.vstore(value, from);
            }
            self.asm.mov_imm(Reg::Rcx, site.into());
            self.asm
                .call_to(self.stubs.vector_access[usize::from(away.write)]);
            if away.write {
                let from = self.in_xmm(half, ACC);
                self.asm.vstore(reached, from);
            } else {
                self.asm.vmov(ACC, reached);
                let home = self.home(half);
                self.asm.vstore(home, ACC);
            }
            next(self, HALF_BYTES);
        }
        self.load_held(behind);
        self.asm.jmp(away.back);
    }
}

/// How two accesses of 16 bytes, of which the second is behind the first in memory, reach it.
fn beside(low: &Inst, high: &Inst) -> Option<MemAttr> {
    let Attr::Mem(mem) = low.attr else {
        return None;
    };
    let behind = low.args[2].imm()?.checked_add(HALF_BYTES.into())?;
    let fits = [low, high]
        .into_iter()
        .all(|inst| inst.ty == Type::V128 && access::is_plain(inst));
    let together = low.op == high.op
        && low.attr == high.attr
        && low.args[..2] == high.args[..2]
        && high.args[2].imm() == Some(behind)
        && mem.size_log2 == 4
        && !mem.must_align;
    (fits && together).then_some(mem)
}
