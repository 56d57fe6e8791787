//! Loads, or stores, of several instructions in a row that go by one register, as functions save and restore registers:
//! one check serves all.
//!
//! The check is that the first byte's page is the one of the recent translation, and that the last byte is on that page.
//! Where it is not, a slow path does one access after the other, as told by a word for each ([`GroupMember`]).

use vm_engine::tier::{FrameOffsets, GroupMember, GroupSite, MAX_GROUP};
use vm_ir::{Attr, Ext, Inst, MemAttr, MemOrder, Op, Operand, Slot};

use super::PAGE_MASK;
use super::block::Emitter;
use super::cold::Cold;
use super::memory;
use crate::asm::{Alu, Cc, Mem, Reg, Width};

/// Bytes that all accesses of a group lie in at most.
const SPAN: i64 = 256;
/// The bit of addresses that differs on both sides of a page's end, in the second byte.
pub(super) const NEXT_PAGE: u8 = (-PAGE_MASK >> 8) as u8;

/// One access, as a group has it.
#[derive(Clone, Copy)]
struct Grouped {
    /// Of the operation in the block.
    at: usize,
    base: Slot,
    disp: i64,
    mem: MemAttr,
    /// What is loaded to, or what is stored, if not zero.
    slot: Option<Slot>,
    store: bool,
    /// A load fills its slot with the sign.
    signed: bool,
}

impl Grouped {
    fn end(&self) -> i64 {
        self.disp + (1 << self.mem.size_log2)
    }
}

impl Emitter<'_> {
    /// Translates a group that begins at operation `first`; tells how many operations it had, or `None` when none begins
    /// there.
    pub(super) fn group(&mut self, first: usize) -> Option<usize> {
        if self.has_unpacked() || !self.held.is_empty() || self.pending.is_some() {
            return None;
        }
        let mut group = [self.grouped(first)?; MAX_GROUP];
        let (mut count, mut low, mut high) = (1, group[0].disp, group[0].end());
        while count < MAX_GROUP {
            let last = group[count - 1];
            // Each is of its own instruction: whichever faults, what comes before it is done.
            let marker = &self.of.block.insts.get(last.at + 1)?.attr;
            let (Attr::Insn { len, .. }, Some(next)) = (marker, self.grouped(last.at + 2)) else {
                break;
            };
            let bounds = (low.min(next.disp), high.max(next.end()));
            let alike = next.store == last.store && next.base == last.base && *len != 0;
            let overwritten = !last.store && last.slot == Some(last.base);
            if !alike || overwritten || bounds.1 - bounds.0 > SPAN {
                break;
            }
            (low, high) = bounds;
            group[count] = next;
            count += 1;
        }
        let group = &group[..count];
        (count > 1).then_some(())?;
        self.check_group(group, low, high)?;
        for access in group {
            self.grouped_access(access, low);
        }
        let back = self.asm.here();
        if let Some(Cold::Group { back: behind, .. }) = self.cold.last_mut() {
            *behind = back;
        }
        Some(group[count - 1].at + 1 - first)
    }

    /// The operation as a group may have it.
    fn grouped(&self, at: usize) -> Option<Grouped> {
        let inst = self.of.block.insts.get(at)?;
        let (Attr::Mem(mem), [Operand::Slot(base), Operand::None, disp, value]) =
            (inst.attr, inst.args)
        else {
            return None;
        };
        let store = inst.op == Op::Store;
        let native = match inst.op {
            Op::Load => inst.dst.is_some() && matches!(inst.ext, Ext::Zero | Ext::Sign),
            Op::Store => true,
            _ => false,
        };
        if inst.op == Op::Load && self.modification(at).is_some() {
            return None;
        }
        let plain = native && memory::is_native(memory::access_of(inst)?, inst);
        if !plain || mem.order != MemOrder::Relaxed || base.is_temp() {
            return None;
        }
        let slot = match (store, value) {
            (false, _) => inst.dst,
            (true, Operand::Slot(slot)) => Some(slot),
            (true, Operand::Imm(0) | Operand::None) => None,
            (true, Operand::Imm(_)) => return None,
        };
        let whole = |slot: Slot| self.is_word(slot) && self.vector(slot).is_none();
        if !slot.is_none_or(whole) {
            return None;
        }
        Some(Grouped {
            at,
            base,
            disp: i64::from(i32::try_from(disp.imm().unwrap_or(0)).ok()?),
            mem,
            slot,
            store,
            signed: !store && fills_with_sign(inst, mem)?,
        })
    }

    /// Leaves the address of the lowest byte in RAX, and in RCX what leads from there to the host's.
    fn check_group(&mut self, group: &[Grouped], low: i64, high: i64) -> Option<()> {
        let Grouped { base, store, .. } = group[0];
        let step = self.of.steps[group[0].at];
        let line = self.line_of(Operand::Slot(base));
        let site = GroupSite {
            line,
            count: group.len() as u8,
            pc_offset: step.pc_offset,
            left: step.left,
            split: false,
        };
        site.pack()?;
        let start = self.members.len();
        for (n, access) in group.iter().enumerate() {
            let pc = |access: &Grouped| self.of.steps[access.at].pc_offset;
            let insn_bytes = match group.get(n + 1) {
                Some(next) => pc(next).wrapping_sub(pc(access)),
                None => 0,
            };
            let member = GroupMember {
                offset: access
                    .slot
                    .map_or(FrameOffsets::ZERO, |slot| self.offset_of(slot)),
                delta: (access.disp - low) as u8,
                size_log2: access.mem.size_log2,
                signed: access.signed,
                insn_bytes,
            };
            match member.pack() {
                Some(word) => self.members.push(word),
                None => {
                    self.members.truncate(start);
                    return None;
                }
            }
        }
        if self.counts_accesses {
            let counter = self.frame(FrameOffsets::ACCESSES);
            self.asm
                .alu_imm(Alu::Add, Width::Q, counter, group.len() as i32);
        }
        let from = self.in_reg(Operand::Slot(base), Reg::Rax);
        match low {
            0 if from == Reg::Rax => {}
            0 => self.asm.mov(Width::Q, Reg::Rax, from),
            low => self.asm.lea(Width::Q, Reg::Rax, Mem::new(from, low as i32)),
        }
        let (miss, hit) = self.probe_recent(0, store, line);
        let crossing = self.asm.label();
        let last = Mem::new(Reg::Rax, (high - low - 1) as i32);
        self.asm.lea(Width::D, Reg::Rdx, last);
        self.asm.alu(Alu::Xor, Width::D, Reg::Rdx, Reg::Rax);
        self.asm.test_dh(NEXT_PAGE);
        self.asm.jcc(Cc::Ne, crossing);
        self.cold.push(Cold::Group {
            miss,
            crossing,
            access: self.stubs.group[usize::from(store)],
            site,
            members: (start, group.len()),
            hit,
            back: hit,
            lazy: self.lazy,
        });
        Some(())
    }

    fn grouped_access(&mut self, access: &Grouped, low: i64) {
        let place = Mem::indexed(Reg::Rax, Reg::Rcx, 0, (access.disp - low) as i32);
        let width = memory::access_width(access.mem);
        if access.store {
            let value = access.slot.map_or(Operand::None, Operand::Slot);
            let value = self.in_reg(value, Reg::Rdx);
            self.asm.store(width, place, value);
        } else if let Some(slot) = access.slot {
            let to = self.pin(slot).unwrap_or(Reg::Rdx);
            match access.signed && width != Width::Q {
                true => self.asm.movsx(Width::Q, width, to, place),
                false => self.asm.movzx(width, to, place),
            }
            self.put(slot, to);
        }
    }

    /// Emits what is out of a group's way.
    pub(super) fn cold_group(&mut self, at: usize) {
        let Cold::Group {
            miss,
            crossing,
            access,
            site,
            members: (start, count),
            hit,
            back,
            lazy,
        } = self.cold[at]
        else {
            return;
        };
        let word = |site: GroupSite| site.pack().unwrap_or(0).into();
        let call = self.asm.label();
        self.asm.bind(crossing);
        let split = GroupSite {
            split: true,
            ..site
        };
        self.asm.mov_imm(Reg::Rcx, word(split));
        self.asm.jmp_short(call);
        self.asm.bind(miss);
        self.asm.mov_imm(Reg::Rcx, word(site));
        self.asm.bind(call);
        self.put_lazy_keeping(lazy, &[Reg::Rax, Reg::Rcx]);
        self.asm.call_to(access);
        self.asm.jmp(hit);
        self.asm.jmp(back);
        for n in start..start + count {
            self.asm.data(self.members[n].to_le_bytes());
        }
    }
}

/// Whether a load fills its slot with the sign of what memory holds, or with zeros; `None` when with neither.
fn fills_with_sign(inst: &Inst, mem: MemAttr) -> Option<bool> {
    let (held, wanted) = (8 << mem.size_log2, inst.ty.bits());
    match (held < wanted, mem.signed) {
        (true, true) => (wanted == 64 || inst.ext == Ext::Sign).then_some(true),
        (true, false) => Some(false),
        (false, _) => Some(inst.ext == Ext::Sign),
    }
}
