//! Runs whole blocks over a state and a small memory: slow, obvious, and independent of the interpreter. Tests of
//! decoders, passes and translators compare to it.

use std::collections::BTreeMap;

use vm_core::PAGE_BYTES;

use super::{FpControl, Value, compare, constant, evaluate, fill, vector_row};
use crate::attr::{Attr, Endian, HelperId, MemAttr};
use crate::block::{Block, ExceptionCode, JumpKind, Terminator};
use crate::inst::{Ext, Inst, Operand};
use crate::op::Family;
use crate::op::family::{Access, Control, Modify, Reserve};
use crate::slot::{Slot, StateLayout, Type};

/// Memory of a few pages, each of which may refuse reads or writes. Addresses without a page refuse both.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TestMemory {
    pages: BTreeMap<u64, Page>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Page {
    bytes: Vec<u8>,
    writable: bool,
}

impl TestMemory {
    /// Adds a page of zeros at a multiple of [`PAGE_BYTES`].
    pub fn map(&mut self, addr: u64, writable: bool) {
        let bytes = vec![0; PAGE_BYTES as usize];
        self.pages
            .insert(addr / PAGE_BYTES, Page { bytes, writable });
    }

    fn byte(&self, addr: u64) -> Option<u8> {
        let page = self.pages.get(&(addr / PAGE_BYTES))?;
        Some(page.bytes[(addr % PAGE_BYTES) as usize])
    }

    /// Whether all of `bytes` bytes at `addr` can be written; else the first that cannot.
    fn check_write(&self, addr: u64, bytes: u64) -> Result<(), Fault> {
        for addr in (0..bytes).map(|n| addr.wrapping_add(n)) {
            if !self
                .pages
                .get(&(addr / PAGE_BYTES))
                .is_some_and(|page| page.writable)
            {
                return Err(Fault::Write { addr });
            }
        }
        Ok(())
    }

    /// Bytes at `addr`.
    ///
    /// # Errors
    /// The fault of the first byte that cannot be read.
    pub fn read(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        for (n, byte) in bytes.iter_mut().enumerate() {
            let addr = addr.wrapping_add(n as u64);
            *byte = self.byte(addr).ok_or(Fault::Read { addr })?;
        }
        Ok(())
    }

    /// Writes bytes, all or none.
    ///
    /// # Errors
    /// The fault of the first byte that cannot be written.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.check_write(addr, bytes.len() as u64)?;
        self.set(addr, bytes);
        Ok(())
    }

    /// Sets bytes of pages that exist, writable or not.
    pub fn set(&mut self, addr: u64, bytes: &[u8]) {
        for (n, &byte) in bytes.iter().enumerate() {
            let addr = addr.wrapping_add(n as u64);
            if let Some(page) = self.pages.get_mut(&(addr / PAGE_BYTES)) {
                page.bytes[(addr % PAGE_BYTES) as usize] = byte;
            }
        }
    }
}

/// What ends a block early, with the guest instruction undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A byte that cannot be read.
    Read {
        /// Its address.
        addr: u64,
    },
    /// A byte that cannot be written.
    Write {
        /// Its address.
        addr: u64,
    },
    /// An access that must be aligned and is not.
    Misaligned {
        /// Its address.
        addr: u64,
    },
    /// `raise_if`, a helper, or the terminator raised an exception.
    Exception {
        /// Its number.
        code: ExceptionCode,
        /// Its value.
        value: u64,
    },
}

/// How a block ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By a jump, branch, indirect jump or `exit_if`.
    Goes {
        /// To this virtual address.
        pc: u64,
        /// As this.
        kind: JumpKind,
    },
    /// By way of the run loop.
    Exits {
        /// To this virtual address; `None`: to where a helper has set the program counter.
        pc: Option<u64>,
    },
    /// By a fault.
    Faults {
        /// Virtual address of the guest instruction.
        pc: u64,
        /// What happened.
        fault: Fault,
    },
}

/// What helpers do: number, arguments and the state to a result.
pub type Helpers<'a> = dyn FnMut(HelperId, [u64; 3], &mut [u8]) -> Result<u64, Fault> + 'a;

/// Everything a block works on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// The guest state, laid out as the layout says.
    pub state: Vec<u8>,
    /// Guest memory.
    pub memory: TestMemory,
    /// Virtual address of the block's page.
    pub page_base: u64,
    /// Floating-point control and flags.
    pub fp: FpControl,
    /// The reservation: address, and what memory held.
    pub reservation: Option<(u64, u128)>,
    /// Guest instructions that have completed.
    pub retired: u64,
}

impl Machine {
    /// All zeros, no memory.
    pub fn new(layout: &StateLayout) -> Self {
        Self {
            state: vec![0; layout.bytes as usize],
            memory: TestMemory::default(),
            page_base: 0,
            fp: FpControl::default(),
            reservation: None,
            retired: 0,
        }
    }

    /// The contents of a state slot.
    pub fn get(&self, layout: &StateLayout, slot: Slot) -> Value {
        let declared = &layout.slots[slot.index()];
        let mut value = Value::default();
        for (n, word) in value.iter_mut().take(words(declared.ty)).enumerate() {
            let at = declared.offset as usize + 8 * n;
            let bytes = self.state[at..at + 8]
                .try_into()
                .expect("invariant: eight bytes");
            *word = u64::from_le_bytes(bytes);
        }
        value
    }

    /// Sets a state slot.
    pub fn set(&mut self, layout: &StateLayout, slot: Slot, value: Value) {
        let declared = &layout.slots[slot.index()];
        for (n, word) in value.iter().take(words(declared.ty)).enumerate() {
            let at = declared.offset as usize + 8 * n;
            self.state[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Runs a block that [`crate::verify()`] accepts.
    pub fn run(&mut self, block: &Block, layout: &StateLayout, helpers: &mut Helpers<'_>) -> End {
        let temps = vec![Value::default(); block.temps.len()];
        let mut run = Run {
            machine: self,
            layout,
            temps,
            insn: 0,
            begun: 0,
        };
        run.block(block, helpers)
    }
}

fn words(ty: Type) -> usize {
    ty.slot_bytes() as usize / 8
}

struct Run<'a> {
    machine: &'a mut Machine,
    layout: &'a StateLayout,
    temps: Vec<Value>,
    /// Offset of the running guest instruction.
    insn: u64,
    /// Guest instructions begun.
    begun: u64,
}

impl Run<'_> {
    fn block(&mut self, block: &Block, helpers: &mut Helpers<'_>) -> End {
        for inst in &block.insts {
            match self.inst(inst, helpers) {
                Ok(None) => {}
                Ok(Some(end)) => {
                    self.machine.retired += self.begun;
                    return end;
                }
                Err(fault) => return self.faulted(fault),
            }
        }
        if let Terminator::Exception { code, value } = block.terminator {
            let value = self.operand(value)[0];
            return self.faulted(Fault::Exception { code, value });
        }
        self.machine.retired += self.begun;
        self.terminator(&block.terminator)
    }

    fn faulted(&mut self, fault: Fault) -> End {
        self.machine.retired += self.begun.saturating_sub(1);
        End::Faults {
            pc: self.machine.page_base.wrapping_add(self.insn),
            fault,
        }
    }

    fn terminator(&self, terminator: &Terminator) -> End {
        let pc = |offset: i64| self.machine.page_base.wrapping_add_signed(offset);
        let plain = JumpKind::Plain;
        match *terminator {
            Terminator::Jump { offset, kind } => End::Goes {
                pc: pc(offset),
                kind,
            },
            Terminator::Branch {
                cond,
                ty,
                a,
                b,
                taken,
                fallthrough,
            } => {
                let holds = compare(cond, ty, self.operand(a)[0], self.operand(b)[0]);
                End::Goes {
                    pc: pc(if holds { taken } else { fallthrough }),
                    kind: plain,
                }
            }
            Terminator::Indirect { target, kind } => End::Goes {
                pc: self.operand(target)[0],
                kind,
            },
            Terminator::Exit { offset } => End::Exits {
                pc: Some(pc(offset)),
            },
            Terminator::Dispatch | Terminator::Exception { .. } => End::Exits { pc: None },
        }
    }

    fn operand(&self, operand: Operand) -> Value {
        match operand {
            Operand::None => Value::default(),
            Operand::Imm(value) => constant(value),
            Operand::Slot(slot) => self.slot(slot),
        }
    }

    fn slot(&self, slot: Slot) -> Value {
        if slot.is_temp() {
            self.temps[slot.index()]
        } else {
            self.machine.get(self.layout, slot)
        }
    }

    fn write(&mut self, slot: Option<Slot>, value: Value) {
        match slot {
            None => {}
            Some(slot) if slot.is_temp() => self.temps[slot.index()] = value,
            Some(slot) => self.machine.set(self.layout, slot, value),
        }
    }

    fn inst(&mut self, inst: &Inst, helpers: &mut Helpers<'_>) -> Result<Option<End>, Fault> {
        let args = inst.args.map(|operand| self.operand(operand));
        let [a, b, c, d] = args.map(|value| value[0]);
        let holds = matches!(inst.attr, Attr::Cond(cond) if compare(cond, inst.ty, a, b));
        match (inst.op.family(), inst.attr) {
            (Family::Control(Control::Insn), Attr::Insn { offset, len }) => {
                self.insn = offset.into();
                self.begun += u64::from(len != 0);
            }
            (Family::Control(Control::ExitIf), _) if holds => {
                let pc = self.machine.page_base.wrapping_add(c);
                return Ok(Some(End::Goes {
                    pc,
                    kind: JumpKind::Plain,
                }));
            }
            (Family::Control(Control::RaiseIf), _) if holds => {
                return Err(Fault::Exception {
                    code: ExceptionCode(c as u32),
                    value: d,
                });
            }
            (Family::Control(Control::Call), Attr::Helper(helper)) => {
                let result = helpers(helper, [a, b, c], &mut self.machine.state)?;
                self.write(inst.dst, constant(result as i64));
            }
            (Family::Control(_), _) => {}
            (Family::VecRow(_), _) => {
                let value = vector_row(inst, args, self.layout, &mut self.machine.fp)
                    .expect("invariant: a verified row exists");
                self.write(inst.dst, value);
            }
            (Family::Access(op), Attr::Mem(mem)) => self.access(op, inst, mem, args)?,
            (Family::Reserve(op), Attr::Mem(mem)) => self.reserve(op, inst, mem, args)?,
            (Family::Modify(op), Attr::Mem(mem)) => self.modify(op, inst, mem, args)?,
            _ => {
                let old = inst.dst.map_or([0; 2], |slot| self.slot(slot));
                let machine = &mut *self.machine;
                let value = evaluate(inst, args, old, machine.page_base, &mut machine.fp)
                    .expect("invariant: a verified operation is defined");
                self.write(inst.dst, value);
            }
        }
        Ok(None)
    }

    fn access(
        &mut self,
        op: Access,
        inst: &Inst,
        mem: MemAttr,
        args: [Value; 4],
    ) -> Result<(), Fault> {
        let [base, index, displacement, value] = args;
        let addr = base[0]
            .wrapping_add(index[0] << mem.index_shift)
            .wrapping_add(displacement[0]);
        check_aligned(addr, mem)?;
        match op {
            Access::Load => {
                let held = self.load(addr, mem)?;
                self.deliver(inst, mem, held);
            }
            Access::Store => self.store(addr, mem, wide(value))?,
            Access::ProbeWrite => self.machine.memory.check_write(addr, mem.bytes())?,
        }
        Ok(())
    }

    fn reserve(
        &mut self,
        op: Reserve,
        inst: &Inst,
        mem: MemAttr,
        args: [Value; 4],
    ) -> Result<(), Fault> {
        let addr = args[0][0];
        check_aligned(addr, mem)?;
        match op {
            Reserve::LoadReserved => {
                let held = self.load(addr, mem)?;
                self.machine.reservation = Some((addr, held));
                self.deliver(inst, mem, held);
            }
            Reserve::StoreConditional => {
                self.machine.memory.check_write(addr, mem.bytes())?;
                let held = self.load(addr, mem)?;
                let stores = self.machine.reservation.take() == Some((addr, held));
                if stores {
                    self.store(addr, mem, wide(args[1]))?;
                }
                self.write(inst.dst, [u64::from(!stores), 0]);
            }
        }
        Ok(())
    }

    fn modify(
        &mut self,
        op: Modify,
        inst: &Inst,
        mem: MemAttr,
        args: [Value; 4],
    ) -> Result<(), Fault> {
        let addr = args[0][0];
        check_aligned(addr, mem)?;
        self.machine.memory.check_write(addr, mem.bytes())?;
        let held = self.load(addr, mem)?;
        if let Some(new) = changed(op, mem, held, wide(args[1]), wide(args[2])) {
            self.store(addr, mem, new)?;
        }
        self.deliver(inst, mem, held);
        Ok(())
    }

    fn load(&self, addr: u64, mem: MemAttr) -> Result<u128, Fault> {
        let mut bytes = [0; 16];
        let used = &mut bytes[..mem.bytes() as usize];
        self.machine.memory.read(addr, used)?;
        if mem.endian == Endian::Big {
            used.reverse();
        }
        Ok(u128::from_le_bytes(bytes))
    }

    fn store(&mut self, addr: u64, mem: MemAttr, value: u128) -> Result<(), Fault> {
        let mut bytes = value.to_le_bytes();
        let used = &mut bytes[..mem.bytes() as usize];
        if mem.endian == Endian::Big {
            used.reverse();
        }
        self.machine.memory.write(addr, used)
    }

    /// A loaded value to the destination: first to the type, then to the slot.
    fn deliver(&mut self, inst: &Inst, mem: MemAttr, held: u128) {
        let ext = if mem.signed { Ext::Sign } else { Ext::Zero };
        let [low, high] = fill(held, 8 << mem.size_log2, ext, [0; 2]);
        let value = u128::from(high) << 64 | u128::from(low);
        let old = inst.dst.map_or([0; 2], |slot| self.slot(slot));
        self.write(inst.dst, fill(value, inst.ty.bits(), inst.ext, old));
    }
}

fn check_aligned(addr: u64, mem: MemAttr) -> Result<(), Fault> {
    if mem.must_align && !addr.is_multiple_of(mem.bytes()) {
        return Err(Fault::Misaligned { addr });
    }
    Ok(())
}

fn wide(value: Value) -> u128 {
    u128::from(value[1]) << 64 | u128::from(value[0])
}

/// What an atomic operation stores, if anything. `a` and `b` are the operands behind the address.
fn changed(op: Modify, mem: MemAttr, held: u128, a: u128, b: u128) -> Option<u128> {
    let above = 128 - (8 << mem.size_log2);
    let unsigned = |value: u128| value << above >> above;
    let signed = |value: u128| (value << above) as i128 >> above;
    let (old, new) = (unsigned(held), unsigned(a));
    Some(match op {
        Modify::Cas => return (old == new).then_some(b),
        Modify::AtomicSwap => a,
        Modify::AtomicAdd => old.wrapping_add(new),
        Modify::AtomicAnd => old & new,
        Modify::AtomicOr => old | new,
        Modify::AtomicXor => old ^ new,
        Modify::AtomicMinU => old.min(new),
        Modify::AtomicMaxU => old.max(new),
        Modify::AtomicMinS => signed(held).min(signed(a)) as u128,
        Modify::AtomicMaxS => signed(held).max(signed(a)) as u128,
    })
}
