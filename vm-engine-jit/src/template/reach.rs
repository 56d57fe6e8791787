//! From the guest's addresses to the host's.
//!
//! An access first tries the recent translation of its base register. Where an index lies far from the last one, as those
//! of hash tables do, that one is seldom right, and so the TLB is looked into at once ([`Scatter`]).

use vm_core::PAGE_BYTES;
use vm_engine::tier::{AccessSite, FrameOffsets, Step, TlbOffsets};
use vm_ir::family::{Access, Binary, Field, Ternary};
use vm_ir::{Attr, Family, Inst, MemAttr, Op, Operand, Slot, Type};

use super::block::Emitter;
use super::cold::Cold;
use super::lazy::Lazy;
use super::slow::{recent, tlb_entry};
use super::{PAGE_MASK, Pins};
use crate::asm::{Alu, Cc, Label, Mem, Reg, Width};

/// Where the guest's address is while the host's is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// RAX has it.
    Sum,
    /// It is so many bytes from a register, which the host's instruction adds up itself.
    From(Reg, i32),
    /// The same, and RAX has what tells its page, which else is in RDX.
    Beside(Reg, i32),
    /// RCX has it, and then the host's: RAX is taken.
    Apart,
}

impl Way {
    /// Whether registers are as the code behind an access wants them, once RCX leads from the address to the host's.
    pub(super) fn is_as_behind_look_up(self) -> bool {
        match self {
            Self::Sum | Self::Beside(..) => true,
            Self::From(base, disp) => base != Reg::Rax || disp == 0,
            Self::Apart => false,
        }
    }
}

/// Bits of an offset from which on accesses are expected to go from page to page.
const WIDE: u8 = 14;

/// How many bits the registers have that were computed as numbers without order, such as hashes; zero for others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scatter([u8; Self::SLOTS]);

impl Default for Scatter {
    fn default() -> Self {
        Self([0; Self::SLOTS])
    }
}

impl Scatter {
    /// The first slots of the state, which are the general registers.
    const SLOTS: usize = 32;

    fn of(&self, operand: Operand) -> u8 {
        match operand {
            Operand::Slot(slot) if !slot.is_temp() => {
                self.0.get(slot.index()).copied().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Whether what is reached by this index, times a power of two, is.
    fn is_wide(&self, index: Operand, shift: u8) -> bool {
        match self.of(index) {
            0 => false,
            bits => bits + shift >= WIDE,
        }
    }

    /// Follows an operation.
    pub(crate) fn follow(&mut self, inst: &Inst) {
        let Some(dst) = inst.dst.filter(|dst| !dst.is_temp()) else {
            return;
        };
        let Some(place) = self.0.get(dst.index()).copied() else {
            return;
        };
        let [x, y, z, _] = inst.args;
        let bits = inst.ty.bits().min(64) as u8;
        let now = match inst.op.family() {
            Family::Binary(Binary::And) => match y.imm() {
                Some(mask) if mask >= 0 => (64 - mask.leading_zeros()) as u8,
                _ => place,
            },
            Family::Binary(Binary::Shr) => bits.saturating_sub(y.imm().unwrap_or(0) as u8),
            Family::Binary(Binary::Add) => self.of(x).max(self.of(y)),
            Family::Ternary(Ternary::AddShl | Ternary::AddShlU32) => {
                let shift = z.imm().unwrap_or(0) as u8 & 63;
                let shifted = match self.of(x) {
                    0 => 0,
                    bits => bits.saturating_add(shift),
                };
                shifted.max(self.of(y))
            }
            Family::Field(Field::Extract) => match inst.attr {
                Attr::Field { len, .. } => len,
                _ => 0,
            },
            // Numbers, not pointers.
            Family::Access(Access::Load) => match inst.attr {
                Attr::Mem(mem) if mem.size_log2 < 3 => 8 << mem.size_log2,
                _ => 0,
            },
            _ => 0,
        };
        if let Some(place) = self.0.get_mut(dst.index()) {
            *place = now;
        }
    }
}

/// The lines of recent translations for what is reached by temporaries, the latest ones: where the guest's addresses are
/// narrower than 64 bits, each is a temporary, and is told by the register that it was computed from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origins {
    of: [Option<(Slot, u8)>; 4],
    next: usize,
}

impl Origins {
    /// The line of a temporary.
    pub(crate) fn line(&self, temp: Slot) -> Option<u8> {
        let known = self.of.iter().flatten();
        known
            .rev()
            .find_map(|&(slot, line)| (slot == temp).then_some(line))
    }

    /// Follows an operation.
    pub(crate) fn follow(&mut self, inst: &Inst, pins: &Pins) {
        let Some(dst) = inst.dst.filter(|dst| dst.is_temp()) else {
            return;
        };
        for known in &mut self.of {
            *known = known.filter(|&(slot, _)| slot != dst);
        }
        let [x, y, ..] = inst.args;
        let line = match (inst.op, x, y) {
            (Op::Mov, Operand::Imm(place), _) => Some(pins.line_of_constant(place)),
            // Far from where a register points lies another thing, such as one of a program's variables.
            (Op::Add, Operand::Slot(_), Operand::Imm(far)) if far.unsigned_abs() >= PAGE_BYTES => {
                Some(pins.line_of_constant(far))
            }
            (Op::Mov | Op::Add, Operand::Slot(base), _)
            | (Op::Add | Op::AddShl, _, Operand::Slot(base)) => match base.is_temp() {
                true => self.line(base),
                false => Some(pins.line_of_state(base.index())),
            },
            _ => None,
        };
        if let Some(line) = line {
            self.of[self.next] = Some((dst, line));
            self.next = (self.next + 1) % self.of.len();
        }
    }
}

impl Emitter<'_> {
    /// The host address of an access's. Uses RCX and RDX, and RAX unless that has a temporary ([`Self::kept`]). `None`
    /// when the displacement is too large. Behind it, `miss` is to lead away, and `hit` is where to come back.
    pub(super) fn look_up(
        &mut self,
        inst: &Inst,
        mem: MemAttr,
        write: bool,
    ) -> Option<(Mem, Way, [Label; 2])> {
        let [base, index, displacement, _] = inst.args;
        let disp = i32::try_from(displacement.imm().unwrap_or(0)).ok()?;
        let line = self.line_of(base);
        let kept = self.kept(base).is_some();
        // A base that such a number was added to is not one: where guests have no index registers, loops over arrays
        // make their addresses that way too, and lost a quarter of their speed by it.
        let scattered = self.scatter.is_wide(index, mem.index_shift & 3);
        let in_place = index == Operand::None && !scattered;
        let way = match in_place {
            true => {
                let scratch = if kept { Reg::Rcx } else { Reg::Rax };
                match self.in_reg(base, scratch) {
                    Reg::Rcx => {
                        if disp != 0 {
                            self.asm.lea(Width::Q, Reg::Rcx, Mem::new(Reg::Rcx, disp));
                        }
                        Way::Apart
                    }
                    base if self.repeats && !kept && base != Reg::Rax => Way::Beside(base, disp),
                    base => Way::From(base, disp),
                }
            }
            false if kept => {
                let base = self.in_reg(base, Reg::Rcx);
                let from = match index {
                    Operand::None => Mem::new(base, disp),
                    index => {
                        let index = self.in_reg(index, Reg::Rdx);
                        Mem::indexed(base, index, mem.index_shift & 3, disp)
                    }
                };
                self.asm.lea(Width::Q, Reg::Rcx, from);
                Way::Apart
            }
            false => {
                self.address(inst, mem)?;
                Way::Sum
            }
        };
        let (miss, hit) = (self.asm.label(), self.asm.label());
        let table = scattered && way == Way::Sum;
        if table {
            tlb_entry(self.asm, self.pins, Reg::Rax);
        }
        let page = match way {
            Way::Beside(..) => Reg::Rax,
            _ => Reg::Rdx,
        };
        let (at, off) = match way {
            Way::From(base, disp) | Way::Beside(base, disp) => (base, disp),
            Way::Sum => (Reg::Rax, 0),
            Way::Apart => (Reg::Rcx, 0),
        };
        self.page_of(page, at, off, mem.size_log2);
        let (tag, addend) = match (table, write) {
            (true, false) => (
                Mem::new(Reg::Rcx, TlbOffsets::READ),
                Mem::new(Reg::Rcx, TlbOffsets::ADDEND),
            ),
            (true, true) => (
                Mem::new(Reg::Rcx, TlbOffsets::WRITE),
                Mem::new(Reg::Rcx, TlbOffsets::ADDEND),
            ),
            (false, write) => {
                let tag = match write {
                    false => FrameOffsets::RECENT_READ,
                    true => FrameOffsets::RECENT_WRITE,
                };
                (
                    recent(self.pins, tag, line),
                    recent(self.pins, FrameOffsets::RECENT_ADDEND, line),
                )
            }
        };
        self.asm.alu(Alu::Cmp, Width::Q, page, tag);
        self.asm.jcc(Cc::Ne, miss);
        let place = match way {
            Way::Apart => {
                self.asm.alu(Alu::Add, Width::Q, Reg::Rcx, addend);
                Mem::new(Reg::Rcx, 0)
            }
            Way::Sum => {
                self.asm.mov(Width::Q, Reg::Rcx, addend);
                Mem::indexed(Reg::Rax, Reg::Rcx, 0, 0)
            }
            Way::From(base, disp) | Way::Beside(base, disp) => {
                self.asm.mov(Width::Q, Reg::Rcx, addend);
                Mem::indexed(base, Reg::Rcx, 0, disp)
            }
        };
        self.asm.bind(hit);
        Some((place, way, [miss, hit]))
    }

    /// What tells the page of a register and displacement, and whether that is misaligned for an access.
    ///
    /// A mask in memory makes the shortest code. Loops have it in the instruction: they load so much besides that the host's
    /// processor would wait for one more load of each access.
    pub(super) fn page_of(&mut self, to: Reg, base: Reg, disp: i32, size_log2: u8) {
        let size_log2 = size_log2 & 3;
        let mask = self.frame(FrameOffsets::ACCESS_MASKS + 8 * i32::from(size_log2));
        match (disp, self.repeats) {
            (0, true) => self.asm.mov(Width::Q, to, base),
            (0, false) => {
                self.asm.mov(Width::Q, to, mask);
                return self.asm.alu(Alu::And, Width::Q, to, base);
            }
            _ => self.asm.lea(Width::Q, to, Mem::new(base, disp)),
        }
        match self.repeats {
            true => {
                let bits = PAGE_MASK | ((1 << size_log2) - 1);
                self.asm.alu_imm(Alu::And, Width::Q, to, bits);
            }
            false => self.asm.alu(Alu::And, Width::Q, to, mask),
        }
    }

    /// The temporary that RAX has, unless it is this operand.
    fn kept(&self, base: Operand) -> Option<Slot> {
        self.pending.filter(|&temp| base != Operand::Slot(temp))
    }

    /// The host address of a load or store. RCX and RDX are used, and RAX unless that has a temporary.
    pub(super) fn reach(&mut self, inst: &Inst, mem: MemAttr, step: &Step) -> Option<Mem> {
        let write = inst.op == Op::Store;
        self.count_access();
        let kept = self.kept(inst.args[0]);
        let (place, way, [from, hit]) = self.look_up(inst, mem, write)?;
        let site = AccessSite {
            line: self.line_of(inst.args[0]),
            size_log2: mem.size_log2,
            pc_offset: step.pc_offset,
            left: step.left,
            must_align: false,
        };
        let access = &self.stubs.access[usize::from(write)][usize::from(site.line)];
        self.cold.push(Cold::Access {
            from,
            access: match way {
                Way::Beside(..) => access.in_rdx,
                _ => access.in_rax,
            },
            site: site.pack()?,
            value: write.then_some(inst.args[3]),
            hit,
            unpacked: self.unpacked,
            held: self.held,
            way,
            kept,
            lazy: self.lazy,
        });
        Some(place)
    }

    /// Brings the guest's address to where a slow path is entered with it, out of the way, and flags to memory; `kept` is
    /// what RAX has.
    pub(super) fn address_for_slow_path(
        &mut self,
        way: Way,
        kept: Option<Slot>,
        lazy: Option<Lazy>,
    ) {
        if let Some(temp) = kept {
            let home = self.home(temp);
            self.asm.store(Width::Q, home, Reg::Rax);
        }
        match way {
            Way::Sum | Way::From(Reg::Rax, _) | Way::Beside(..) => {
                self.put_lazy_keeping(lazy, &[Reg::Rax]);
            }
            Way::From(..) => self.put_lazy(lazy),
            Way::Apart => self.put_lazy_keeping(lazy, &[Reg::Rcx]),
        }
        match way {
            Way::Sum | Way::From(Reg::Rax, 0) => {}
            Way::Beside(base, 0) => self.asm.mov(Width::Q, Reg::Rdx, base),
            Way::Beside(base, disp) => self.asm.lea(Width::Q, Reg::Rdx, Mem::new(base, disp)),
            Way::From(base, 0) => self.asm.mov(Width::Q, Reg::Rax, base),
            Way::From(base, disp) => self.asm.lea(Width::Q, Reg::Rax, Mem::new(base, disp)),
            Way::Apart => self.asm.mov(Width::Q, Reg::Rax, Reg::Rcx),
        }
    }

    /// Has registers be as the code behind an access wants them, when RCX leads from the address in RAX to the host's.
    pub(super) fn as_behind_look_up(&mut self, way: Way, kept: Option<Slot>) {
        match way {
            Way::From(Reg::Rax, disp) if disp != 0 => {
                let base = Mem::new(Reg::Rax, disp.wrapping_neg());
                self.asm.lea(Width::Q, Reg::Rax, base);
            }
            Way::Apart => self.asm.alu(Alu::Add, Width::Q, Reg::Rcx, Reg::Rax),
            _ => {}
        }
        if let Some(temp) = kept {
            let home = self.home(temp);
            self.asm.mov(Width::Q, Reg::Rax, home);
        }
    }
}

/// Whether an access is of the type's own bytes.
pub(super) fn is_whole(ty: Type, mem: MemAttr) -> bool {
    ty.bits() == 8 << mem.size_log2
}
