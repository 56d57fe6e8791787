//! Every operation as translated code runs it against its definition.

use std::mem::{offset_of, size_of};
use std::sync::{Arc, Mutex};

use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
use vm_engine::tier::Translator;
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_engine_jit::Template;
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
#[path = "../../../vm-engine/tests/handlers/arbitrary.rs"]
mod arbitrary;
#[path = "../../../vm-engine/tests/handlers/bench.rs"]
mod bench;
#[path = "../../../vm-engine/tests/handlers/cost.rs"]
mod cost;
#[path = "../../../vm-engine/tests/handlers/defined.rs"]
mod defined;
#[path = "../../../vm-engine/tests/handlers/given.rs"]
mod given;

use arbitrary::*;
use bench::*;
use given::*;

fn translator() -> Option<Arc<dyn Translator>> {
    let template = Template::new(&LAYOUT, 64 << 20).expect("this host allows it");
    Some(Arc::new(template))
}
