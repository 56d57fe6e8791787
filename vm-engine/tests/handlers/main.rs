//! Every operation as the interpreter runs it against its definition, [`vm_ir::eval`]: all operand kinds, random
//! values, fault points, and the floating-point rules of each kind of guest. The guest is one that lifts nothing: the
//! test says what its code is.

use std::mem::{offset_of, size_of};
use std::sync::{Arc, Mutex};

use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
use vm_engine::tier::Translator;
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_frontend::{
    Access, AddressSpace, BusAbort, CodePage, CommonState, Exception, Guest, InstanceSpec,
    LiftLimits, Mapping, PhysMemory, Raised, SysEnv, View,
};
use vm_ir::eval::block::{End, Fault, Machine};
use vm_ir::eval::{FpControl, Value};
use vm_ir::{
    Attr, AttrClass, Block, BlockKey, Class, Cond, Effects, Endian, ExceptionCode, Ext, FenceSet,
    FlagCond, FlagKind, FpToIntRule, HelperDecl, HelperId, Inst, MemAttr, MemOrder, MinMaxRule,
    Mode, Op, Operand, Rounding, Slot, SlotDecl, StateLayout, Terminator, Type, VectorId, verify,
};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};
use vm_softfloat::Env;
mod arbitrary;
mod bench;
mod cost;
mod defined;
mod given;

use arbitrary::*;
use bench::*;
use given::*;

/// What translates the blocks: nothing, the interpreter runs them.
fn translator() -> Option<Arc<dyn Translator>> {
    None
}

#[test]
fn fault_behind_a_restart_point_counts_its_instruction_once() {
    let mut bench = Bench::<0>::new(5);
    let load = Inst {
        op: Op::Load,
        ty: Type::I64,
        ext: Ext::Zero,
        dst: Some(Slot::state(2)),
        args: [
            Operand::Slot(Slot::state(0)),
            Operand::None,
            Operand::Imm(DATA_END as i64),
            Operand::None,
        ],
        attr: Attr::Mem(MemAttr::plain(3)),
    };
    let restart = Inst::marker((bench.next & (PAGE_BYTES - 1)) as u16, 0);
    let block = block(&[restart, load], &[], bench.next);
    assert_eq!(verify(&block, &LAYOUT), Ok(()));
    bench.compare(&block);
    assert_eq!(bench.vcpu.state().common.retired, 0);
}

#[test]
fn program_counter_one_is_looked_up_like_any_other() {
    let mut bench = Bench::<0>::new(6);
    for pc in [1, 3, 0] {
        bench.compare(&block(&[], &[], LOW_CODE + pc));
    }
}
