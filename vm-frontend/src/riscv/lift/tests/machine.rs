//! A machine that runs lifted user-mode code: flat memory, registers by slot number, one operation at a time by
//! [`vm_ir::eval`], written for plainness. It shares nothing with the engine.

use vm_core::GuestPhysAddr;
use vm_ir::eval::{FpControl, compare, constant, evaluate};
use vm_ir::{
    Attr, AttrClass, Block, BlockKey, Ext, Inst, MemAttr, Op as Ir, Operand, Slot, Terminator, Type,
};
use vm_softfloat::{Env, Rounding};

use super::{MACHINE, limits};
use crate::guest::{CodePage, Exception};
use crate::riscv::isa::IsaConfig;
use crate::riscv::lift::lift;
use crate::riscv::state::{SLOTS, X};
use crate::riscv::sys::{CsrOp, HELPER_CSR};

/// Why [`Machine::run`] stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// `ecall`; the program counter stands at it.
    Call,
    /// Another exception: its code and value.
    Exception(u32, u64),
}

/// Everything about a running program.
pub(super) struct Machine {
    config: IsaConfig,
    slots: [u64; SLOTS],
    temps: Vec<u64>,
    pub(super) pc: u64,
    frm: u8,
    fp: FpControl,
    base: u64,
    memory: Vec<u8>,
    /// Address and value of the reservation.
    reservation: Option<(u64, u64)>,
}

struct Code<'a>(&'a Machine, u64);

impl CodePage for Code<'_> {
    fn half(&mut self, offset: u16) -> u16 {
        self.0.load(self.1 + u64::from(offset), 2) as u16
    }

    fn next_page(&mut self) -> Result<(GuestPhysAddr, u16), Exception> {
        let next = self.1 + vm_core::PAGE_BYTES;
        Ok((GuestPhysAddr(next), self.0.load(next, 2) as u16))
    }
}

impl Machine {
    /// Memory begins at `base`, execution at `pc`.
    pub(super) fn new(base: u64, memory: Vec<u8>, pc: u64) -> Self {
        Self {
            config: "max".parse().expect("a model"),
            slots: [0; SLOTS],
            temps: Vec::new(),
            pc,
            frm: 0,
            fp: FpControl {
                rules: Env::riscv(Rounding::NearestEven),
                ..FpControl::default()
            },
            base,
            memory,
            reservation: None,
        }
    }

    pub(super) fn x(&self, number: u16) -> u64 {
        self.slots[usize::from(X + number)]
    }

    pub(super) fn bytes(&self, addr: u64, len: u64) -> &[u8] {
        let at = (addr - self.base) as usize;
        &self.memory[at..at + len as usize]
    }

    fn load(&self, addr: u64, len: u64) -> u64 {
        self.bytes(addr, len)
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn store(&mut self, addr: u64, len: u64, value: u64) {
        let at = (addr - self.base) as usize;
        let len = len as usize;
        self.memory[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    }

    /// Runs until an exception.
    pub(super) fn run(&mut self) -> Stop {
        loop {
            let page = self.pc & !(vm_core::PAGE_BYTES - 1);
            let key = BlockKey {
                phys_pc: GuestPhysAddr(self.pc),
                mode: MACHINE,
            };
            let block = lift(&self.config, key, &mut Code(self, page), limits())
                .expect("code of the program is there");
            if let Some(stop) = self.block(&block, page) {
                return stop;
            }
        }
    }

    fn block(&mut self, block: &Block, page: u64) -> Option<Stop> {
        self.temps = vec![0; block.temps.len()];
        for inst in &block.insts {
            if let Attr::Insn { offset, .. } = inst.attr {
                self.pc = page + u64::from(offset);
            } else if let Some(stop) = self.inst(inst, page) {
                return Some(stop);
            }
        }
        let to = |offset: i64| page.wrapping_add_signed(offset);
        self.pc = match block.terminator {
            Terminator::Jump { offset, .. } | Terminator::Exit { offset } => to(offset),
            Terminator::Branch {
                cond,
                ty,
                a,
                b,
                taken,
                fallthrough,
            } => {
                let holds = compare(cond, ty, self.read(a, ty), self.read(b, ty));
                to(if holds { taken } else { fallthrough })
            }
            Terminator::Indirect { target, .. } => self.read(target, Type::I64),
            Terminator::Exception { code, value } => {
                let call = (8..=11).contains(&code.0);
                let value = self.read(value, Type::I64);
                return Some(if call {
                    Stop::Call
                } else {
                    Stop::Exception(code.0, value)
                });
            }
            Terminator::Dispatch => panic!("user code does not return from traps"),
        };
        None
    }

    /// An operand in a type, zero-extended.
    fn read(&self, operand: Operand, ty: Type) -> u64 {
        let value = match operand {
            Operand::Imm(value) => value as u64,
            Operand::Slot(slot) if slot.is_temp() => self.temps[slot.index()],
            Operand::Slot(slot) => self.slots[slot.index()],
            Operand::None => panic!("an operand is missing"),
        };
        value & mask(ty)
    }

    fn write(&mut self, dst: Option<Slot>, ty: Type, ext: Ext, value: u64) {
        let value = match ext {
            Ext::Zero => value & mask(ty),
            Ext::Sign => sign_extend(value, ty.bits()) as u64,
            Ext::Ones => value | !mask(ty),
            Ext::Keep => panic!("RISC-V registers are written whole"),
        };
        match dst {
            None => {}
            Some(slot) if slot.is_temp() => self.temps[slot.index()] = value,
            Some(slot) => self.slots[slot.index()] = value,
        }
    }

    fn inst(&mut self, inst: &Inst, page: u64) -> Option<Stop> {
        let arg = |n: usize| self.read(inst.args[n], inst.ty);
        match inst.op {
            Ir::Fence => None,
            Ir::Load | Ir::Store => self.access(inst),
            Ir::RaiseIf => {
                let Attr::Cond(cond) = inst.attr else {
                    panic!("{inst:?}")
                };
                let raised = compare(cond, inst.ty, arg(0), arg(1));
                raised.then(|| Stop::Exception(arg(2) as u32, arg(3)))
            }
            Ir::Call => self.call(inst),
            Ir::LoadReserved | Ir::StoreConditional => self.reserved(inst),
            op if op.info().attr == AttrClass::Mem => self.atomic(inst),
            _ => {
                let args = inst.args.map(|arg| match arg {
                    Operand::None => [0; 5],
                    Operand::Imm(value) => constant(value),
                    Operand::Slot(slot) => [*self.slot(slot), 0, 0, 0, 0],
                });
                let value = evaluate(inst, args, [0; 5], page, &mut self.fp)
                    .unwrap_or_else(|| panic!("{inst:?} computes nothing"));
                if let Some(dst) = inst.dst {
                    *self.slot(dst) = value[0];
                }
                None
            }
        }
    }

    fn slot(&mut self, slot: Slot) -> &mut u64 {
        let slots: &mut [u64] = if slot.is_temp() {
            &mut self.temps
        } else {
            &mut self.slots
        };
        &mut slots[slot.index()]
    }

    fn access(&mut self, inst: &Inst) -> Option<Stop> {
        let Attr::Mem(mem) = inst.attr else {
            panic!("{inst:?}")
        };
        let addr = self
            .read(inst.args[0], Type::I64)
            .wrapping_add(self.read(inst.args[2], Type::I64));
        if inst.op == Ir::Store {
            let value = self.read(inst.args[3], inst.ty);
            self.store(addr, mem.bytes(), value);
        } else {
            let value = extended(mem, self.load(addr, mem.bytes()));
            self.write(inst.dst, inst.ty, inst.ext, value);
        }
        None
    }

    fn atomic(&mut self, inst: &Inst) -> Option<Stop> {
        let Attr::Mem(mem) = inst.attr else {
            panic!("{inst:?}")
        };
        assert!(mem.must_align);
        let addr = self.read(inst.args[0], Type::I64);
        let (old, operand) = (
            self.load(addr, mem.bytes()),
            self.read(inst.args[1], inst.ty),
        );
        let signed = |value| sign_extend(value, inst.ty.bits());
        let new = match inst.op {
            Ir::AtomicSwap => operand,
            Ir::AtomicAdd => old.wrapping_add(operand),
            Ir::AtomicAnd => old & operand,
            Ir::AtomicOr => old | operand,
            Ir::AtomicXor => old ^ operand,
            Ir::AtomicMinS => signed(old).min(signed(operand)) as u64,
            Ir::AtomicMaxS => signed(old).max(signed(operand)) as u64,
            Ir::AtomicMinU => old.min(operand),
            Ir::AtomicMaxU => old.max(operand),
            _ => panic!("{inst:?}"),
        };
        self.store(addr, mem.bytes(), new);
        self.write(inst.dst, inst.ty, inst.ext, old);
        None
    }

    fn reserved(&mut self, inst: &Inst) -> Option<Stop> {
        let Attr::Mem(mem) = inst.attr else {
            panic!("{inst:?}")
        };
        assert!(mem.must_align);
        let addr = self.read(inst.args[0], Type::I64);
        let now = self.load(addr, mem.bytes());
        let result = if inst.op == Ir::LoadReserved {
            self.reservation = Some((addr, now));
            now
        } else if self.reservation.take() == Some((addr, now)) {
            let value = self.read(inst.args[1], inst.ty);
            self.store(addr, mem.bytes(), value);
            0
        } else {
            1
        };
        self.write(inst.dst, inst.ty, inst.ext, result);
        None
    }

    /// Of the helpers, the floating-point control registers.
    fn call(&mut self, inst: &Inst) -> Option<Stop> {
        assert_eq!(inst.attr, Attr::Helper(HELPER_CSR));
        let request = self.read(inst.args[0], Type::I64);
        let source = self.read(inst.args[1], Type::I64) as u8;
        let (shift, bits) = match request & 0xfff {
            1 => (0, 0x1f),
            2 => (5, 0x07),
            3 => (0, 0xff),
            other => panic!("CSR {other:#x}"),
        };
        let all = self.frm << 5 | self.fp.flags as u8;
        let old = all >> shift & bits;
        let new = match request >> 12 & 3 {
            op if op == CsrOp::Write as u64 => source,
            op if op == CsrOp::Set as u64 => old | source,
            _ => old & !source,
        };
        if request >> 14 & 1 != 0 {
            let all = all & !(bits << shift) | (new & bits) << shift;
            (self.frm, self.fp.flags) = (all >> 5, u32::from(all & 0x1f));
            self.fp.rounding =
                Rounding::from_riscv(self.frm).expect("the programs set no reserved rounding");
        }
        self.write(inst.dst, Type::I64, Ext::Zero, old.into());
        None
    }
}

const fn mask(ty: Type) -> u64 {
    u64::MAX >> (64 - ty.bits())
}

/// The low `bits` bits as a signed number.
fn sign_extend(value: u64, bits: u32) -> i64 {
    (value << (64 - bits)) as i64 >> (64 - bits)
}

fn extended(mem: MemAttr, value: u64) -> u64 {
    if mem.signed {
        sign_extend(value, 8 << mem.size_log2) as u64
    } else {
        value
    }
}
