//! Code out of the way: slow paths, and jumps that are not linked yet.

use vm_engine::tier::{GroupSite, Step};
use vm_ir::{Operand, Slot};

use super::block::Emitter;
use super::float::Unpacked;
use super::lazy::Lazy;
use super::reach::Way;
use super::slow::if_misaligned;
use super::vector::{Away, Held, PairAway};
use super::x87::Unit;
use crate::asm::{Cc, DISPLACEMENT_BYTES, Label, Reg, Width, Xmm};

/// What is known about the host's units at a place of a block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Live {
    /// Whether MXCSR and the pinned vector registers are the guest's.
    pub(crate) float: bool,
    /// What the x87 unit has.
    pub(crate) x87: Unit,
}

/// Code out of the way, emitted behind the block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cold {
    /// Leaves for a micro-operation.
    Leave { from: Label, op: u64 },
    /// Jumps within the page, to an offset from its base, where the host's jump does not go there yet.
    Leads {
        from: Label,
        offset: u16,
        jump: Jump,
    },
    /// The same of a group of accesses, whose words in the emitter's list these are.
    Group {
        miss: Label,
        /// The accesses may lie on two pages.
        crossing: Label,
        access: u64,
        site: GroupSite,
        members: (usize, usize),
        hit: Label,
        /// Behind the group.
        back: Label,
        /// Flags that a fault must find in memory. The same below.
        lazy: Option<Lazy>,
    },
    /// Does an access that its recent translation does not serve, and goes back to `hit`.
    Access {
        from: Label,
        access: u64,
        site: u32,
        /// What is stored.
        value: Option<Operand>,
        hit: Label,
        /// What unpacked values must be in their registers there.
        unpacked: Unpacked,
        /// The same of vectors.
        held: Held,
        /// Where the address is.
        way: Way,
        /// What RAX has.
        kept: Option<Slot>,
        lazy: Option<Lazy>,
    },
    /// Does operations of the block one by one.
    Apart {
        from: Label,
        /// The first, and how many.
        at: usize,
        count: usize,
        kept: Option<Slot>,
        lazy: Option<Lazy>,
        back: Label,
        live: Live,
    },
    /// The same of 16 bytes.
    Vector(Away),
    /// The same of 32.
    Pair(PairAway),
    /// Looks in the TLB and goes back to `hit`; without translation there, runs a step and goes on.
    Refill {
        from: Label,
        refill: u64,
        line: u8,
        /// Whether misaligned addresses are to have no translation.
        must_align: bool,
        hit: Label,
        op: u64,
        back: Label,
        /// Whether floating point must be live at both.
        live: Live,
        /// What unpacked values must be in their registers at `back`.
        unpacked: Unpacked,
    },
    /// Runs a step and goes on.
    Step {
        from: Label,
        op: u64,
        back: Label,
        /// Whether floating point must be live there.
        live: Live,
        /// What must be unpacked there.
        unpacked: Unpacked,
    },
    /// Unpacks the canonical NaN.
    NotBoxed {
        from: Label,
        temp: Slot,
        to: Xmm,
        back: Label,
    },
    /// Makes floating point live.
    Enter { from: Label, back: Label },
    /// Has the x87 unit be the guest's. Where its exceptions are not masked, the rest of the block from an operation on is
    /// done with steps.
    EnterX87 {
        from: Label,
        rest: Option<usize>,
        back: Label,
    },
    /// Does the rest of the block with steps of x87 instructions.
    RestX87 { from: Label, at: usize },
    /// Takes the guest's x87 registers to memory.
    LeaveX87 { from: Label, back: Label },
}

/// The host's jump of a jump within the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Jump {
    /// Goes out of the way until the displacement so many bytes behind the block's start is replaced.
    At(u32),
    /// Goes where it should, and out of the way only when the run loop must get a turn.
    Linked,
}

/// What stands behind the call of a jump within the page: where it leads, in the low 12 bits, and the host's jump.
#[derive(Clone, Copy)]
pub(crate) struct Site([u8; Self::BYTES]);

impl Site {
    pub(crate) const BYTES: usize = 3;
    /// There is no jump to be linked, or it is too far away.
    const NO_JUMP: u32 = 0xfff;

    fn of(offset: u16, jump: Jump) -> Self {
        let jump = match jump {
            Jump::At(at) => (at / DISPLACEMENT_BYTES).min(Self::NO_JUMP),
            Jump::Linked => Self::NO_JUMP,
        };
        let [a, b, c, _] = (u32::from(offset & 0xfff) | jump << 12).to_le_bytes();
        Self([a, b, c])
    }

    /// The one that stands in these bytes.
    pub(crate) fn read(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Bytes from the block's start to the displacement of the host's jump.
    pub(crate) fn jump(self) -> Option<u32> {
        let [a, b, c] = self.0;
        let jump = u32::from_le_bytes([a, b, c, 0]) >> 12;
        (jump != Self::NO_JUMP).then_some(jump * DISPLACEMENT_BYTES)
    }
}

impl Emitter<'_> {
    /// Has an operation run by its step, out of the way: from a label on, with the host's units at `back` as they are now.
    pub(super) fn step_away(&mut self, from: Label, step: &Step, back: Label) {
        self.cold.push(Cold::Step {
            from,
            op: step.first,
            back,
            live: self.live,
            unpacked: self.unpacked,
        });
    }

    /// Emits what is out of the way.
    /// `None`: not this block.
    pub(super) fn finish(&mut self) -> Option<()> {
        let start = self.asm.len();
        let mut at = 0;
        // Some are added on the way.
        while let Some(&cold) = self.cold.get(at) {
            match cold {
                Cold::Leave { from, op } => {
                    self.asm.bind(from);
                    self.leave(op);
                }
                Cold::Leads { .. } => {}
                Cold::Access {
                    from,
                    access,
                    site,
                    value,
                    hit,
                    unpacked,
                    held,
                    way,
                    kept,
                    lazy,
                } => {
                    self.held = held;
                    self.asm.bind(from);
                    self.store_all_held();
                    self.address_for_slow_path(way, kept, lazy);
                    if let Some(value) = value {
                        let value = self.in_reg(value, Reg::Rcx);
                        self.asm.push(value);
                    }
                    self.asm.call_to(access);
                    let more = !unpacked.is_empty() || !held.is_empty() || kept.is_some();
                    let at_once = !more && way.is_as_behind_look_up();
                    let behind = if at_once { hit } else { self.asm.label() };
                    self.asm.jmp(behind);
                    self.asm.data(site.to_le_bytes());
                    if !at_once {
                        self.asm.bind(behind);
                        self.unpack_again(unpacked);
                        self.load_held(held);
                        self.as_behind_look_up(way, kept);
                        self.asm.jmp(hit);
                    }
                }
                Cold::Apart {
                    from,
                    at,
                    count,
                    kept,
                    lazy,
                    back,
                    live,
                } => {
                    self.asm.bind(from);
                    if let Some(temp) = kept {
                        let home = self.home(temp);
                        self.asm.store(Width::Q, home, Reg::Rax);
                    }
                    self.put_lazy(lazy);
                    self.one_by_one(at, count, live)?;
                    self.asm.jmp(back);
                }
                Cold::Vector(away) => self.cold_vector(away),
                Cold::Pair(away) => self.cold_pair(away),
                Cold::Refill {
                    from,
                    refill,
                    line,
                    must_align,
                    hit,
                    op,
                    back,
                    live,
                    unpacked,
                } => {
                    self.asm.bind(from);
                    let unknown = self.asm.label();
                    if must_align {
                        if_misaligned(self.asm, unknown);
                    }
                    self.asm.mov_imm(Reg::Rcx, line.into());
                    self.asm.call_to(refill);
                    self.asm.jcc(Cc::E, hit);
                    self.asm.bind(unknown);
                    self.cold_step(op, live);
                    self.unpack_again(unpacked);
                    self.asm.jmp(back);
                }
                Cold::Group { .. } => self.cold_group(at),
                Cold::NotBoxed {
                    from,
                    temp,
                    to,
                    back,
                } => {
                    self.asm.bind(from);
                    self.not_boxed(temp, to);
                    self.asm.jmp(back);
                }
                Cold::Enter { from, back } => {
                    self.asm.bind(from);
                    self.asm.call_to(self.stubs.fp_enter);
                    self.asm.jmp(back);
                }
                Cold::EnterX87 { from, rest, back } => {
                    self.asm.bind(from);
                    self.asm.call_to(self.stubs.x87_enter);
                    match rest {
                        Some(at) => {
                            self.asm.jcc(Cc::E, back);
                            self.rest_x87(at)?;
                        }
                        None => self.asm.jmp(back),
                    }
                }
                Cold::RestX87 { from, at } => {
                    self.asm.bind(from);
                    self.asm.call_to(self.stubs.x87_leave);
                    self.rest_x87(at)?;
                }
                Cold::LeaveX87 { from, back } => {
                    self.asm.bind(from);
                    self.asm.call_to(self.stubs.x87_leave);
                    self.asm.jmp(back);
                }
                Cold::Step {
                    from,
                    op,
                    back,
                    live,
                    unpacked,
                } => {
                    self.asm.bind(from);
                    self.cold_step(op, live);
                    self.unpack_again(unpacked);
                    self.asm.jmp(back);
                }
            }
            at += 1;
        }
        for at in 0..self.cold.len() {
            if let Cold::Leads { from, offset, jump } = self.cold[at] {
                self.site(start, from, offset, jump);
            }
        }
        Some(())
    }

    /// A jump within the page that does not go there at once. The call's displacement is aligned, as it is replaced when
    /// the jump is linked; behind it stands the [`Site`]. `start` is where the code out of the way begins.
    fn site(&mut self, start: usize, from: Label, offset: u16, jump: Jump) {
        self.asm.align_unused(start, 1);
        self.asm.bind(from);
        let site = Site::of(offset, jump);
        self.asm.call_to(match (jump, site.jump()) {
            (Jump::Linked, _) => self.stubs.ways.linked,
            (Jump::At(_), Some(_)) => self.stubs.ways.link,
            (Jump::At(_), None) => self.stubs.ways.apart,
        });
        self.asm.data(site.0);
    }

    /// Runs a step out of the way; with floating point live behind it, if that must be.
    fn cold_step(&mut self, op: u64, live: Live) {
        self.asm.mov_imm(Reg::Rax, op);
        self.asm.call_to(self.stubs.step);
        if live.float {
            self.asm.call_to(self.stubs.fp_enter);
        }
        if live.x87 == Unit::Guest {
            self.asm.call_to(self.stubs.x87_enter);
        }
    }
}
