//! A guest that lifts nothing: the test says what its code is.

use super::*;

/// Code is fetched from here; what the bytes are does not matter.
pub(crate) const CODE: u64 = 0x10_0000;
/// So it is from here, by a program counter that is odd.
pub(crate) const LOW_CODE: u64 = 0;
pub(crate) const CODE_BYTES: u64 = 0x40_0000;
/// A page to write, a page to read, a page to write, and nothing.
pub(crate) const DATA: u64 = 0x1000;
pub(crate) const READ_ONLY: u64 = DATA + PAGE_BYTES;
pub(crate) const DATA_END: u64 = DATA + 3 * PAGE_BYTES;

pub(crate) const WORDS: usize = 32;

#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(C)]
pub(crate) struct State {
    pub(crate) common: CommonState,
    pub(crate) words: [u64; WORDS],
    /// The last exception.
    pub(crate) raised: [u64; 2],
}

const fn slot(name: &'static str, ty: Type, word: u32) -> SlotDecl {
    pinned(name, ty, word, 255)
}

const fn pinned(name: &'static str, ty: Type, word: u32, pin_rank: u8) -> SlotDecl {
    SlotDecl {
        name,
        ty,
        offset: offset_of!(State, words) as u32 + 8 * word,
        pin_rank,
    }
}

pub(crate) static LAYOUT: StateLayout = StateLayout {
    isa: "test",
    slots: &[
        pinned("p0", Type::I64, 0, 5),
        slot("p1", Type::I64, 1),
        pinned("r0", Type::I64, 2, 0),
        pinned("r1", Type::I64, 3, 6),
        slot("b0", Type::I8, 4),
        slot("w0", Type::I16, 5),
        slot("d0", Type::I32, 6),
        slot("s0", Type::F32, 7),
        pinned("f0", Type::F64, 8, 0),
        slot("f1", Type::F64, 9),
        pinned("v0", Type::V128, 10, 1),
        pinned("v1", Type::V128, 12, 2),
        slot("q0", Type::I128, 14),
        slot("fl", Type::Flags, 16),
        slot("f2", Type::F64, 21),
        slot("q1", Type::I128, 22),
        slot("r2", Type::I64, 24),
        slot("v2", Type::V128, 26),
    ],
    bytes: size_of::<State>() as u32,
    helpers: &[
        HelperDecl {
            name: "twice",
            effects: Effects::NONE,
        },
        HelperDecl {
            name: "fail",
            effects: Effects::MAY_FAULT,
        },
    ],
    vectors: &vm_frontend::x86::fp::VECTORS,
};

pub(crate) const HELPER_CODE: u32 = 100;
pub(crate) const READ_FAULT: u32 = 101;
pub(crate) const WRITE_FAULT: u32 = 102;
pub(crate) const MISALIGNED: u32 = 103;
pub(crate) const END: u32 = 104;

pub(crate) fn helper(number: u16, args: [u64; 3]) -> Result<u64, (u32, u64)> {
    let sum = args.iter().fold(0_u64, |sum, arg| sum.wrapping_add(*arg));
    match (number, sum & 3) {
        (1, 0) => Err((HELPER_CODE, sum)),
        _ => Ok(sum.wrapping_mul(2)),
    }
}

/// A guest with the NaN rule number `RULE` whose code is what its configuration holds.
pub(crate) struct Given<const RULE: u8>;

pub(crate) const fn fp_rules(rule: u8) -> Env {
    let rounding = vm_softfloat::RoundingDirection::NearestEven;
    match rule {
        0 => Env::riscv(rounding),
        1 => Env::arm(rounding),
        _ => Env::sse(rounding),
    }
}

pub(crate) fn exception(code: u32, value: u64) -> Exception {
    let code = ExceptionCode(code);
    Exception { code, value }
}

impl<const RULE: u8> Guest for Given<RULE> {
    type State = State;
    type Config = Arc<Mutex<Option<Block>>>;

    const DATA_MODES: usize = 1;
    const FLOAT_IS_X86: bool = RULE == 2;

    fn layout() -> &'static StateLayout {
        &LAYOUT
    }

    fn fp_rules() -> Env {
        fp_rules(RULE)
    }

    fn new_state(_: &Self::Config, spec: InstanceSpec) -> State {
        State {
            common: CommonState {
                pc: spec.entry.raw(),
                reservation_addr: u64::MAX,
                ..CommonState::default()
            },
            words: [0; WORDS],
            raised: [0; 2],
        }
    }

    fn common(state: &mut State) -> &mut CommonState {
        &mut state.common
    }

    fn mode(_: &State) -> Mode {
        Mode::default()
    }

    fn address_space(_: &State) -> AddressSpace {
        AddressSpace::default()
    }

    fn lift(
        config: &Self::Config,
        key: BlockKey,
        code: &mut dyn CodePage,
        _: LiftLimits<'_>,
        _: Block,
    ) -> Result<Block, Exception> {
        code.bytes(key.phys_pc.page_offset() as u16, &mut [0; 2]);
        let given = config.lock().expect("no test panics with the lock");
        let given = given.clone().expect("the test gives a block");
        // Where else the block leads, there is only its end.
        Ok(if key == given.key {
            given
        } else {
            block(&[], &[], key.phys_pc.raw())
        })
    }

    fn translate(
        _: &State,
        _: &dyn PhysMemory,
        _: View,
        addr: GuestVirtAddr,
        _: u64,
        access: Access,
    ) -> Result<Mapping, Exception> {
        let page = addr.page_base().raw();
        let write = page != READ_ONLY;
        if !(DATA..DATA_END).contains(&page) && access != Access::Execute {
            return Err(nobody(addr, access));
        }
        if access == Access::Write && !write {
            return Err(exception(WRITE_FAULT, addr.raw()));
        }
        Ok(Mapping {
            page: GuestPhysAddr(page),
            read: true,
            write,
            execute: true,
            cacheable: true,
            global: false,
            page_bytes: PAGE_BYTES,
        })
    }

    fn bus_error(addr: GuestVirtAddr, access: Access) -> BusAbort {
        BusAbort::Raise(nobody(addr, access))
    }

    fn misaligned(addr: GuestVirtAddr, _: Access) -> Exception {
        exception(MISALIGNED, addr.raw())
    }

    fn raise(
        state: &mut State,
        _: &Self::Config,
        _: &mut dyn SysEnv<State>,
        exception: Exception,
    ) -> Raised {
        state.raised = [exception.code.0.into(), exception.value];
        Raised::Wedged
    }

    fn take_interrupt(
        _: &mut State,
        _: &Self::Config,
        _: &mut dyn SysEnv<State>,
        _: u64,
    ) -> Option<Raised> {
        None
    }

    fn interrupt_is_due(_: &State, _: u64) -> bool {
        false
    }

    fn wakes(_: &State, _: u64) -> bool {
        true
    }

    fn call(
        _: &mut State,
        _: &Self::Config,
        _: &mut dyn SysEnv<State>,
        number: HelperId,
        args: [u64; 3],
    ) -> Result<u64, Exception> {
        helper(number.0, args).map_err(|(code, value)| exception(code, value))
    }
}

/// The exception where there is no memory.
pub(crate) fn nobody(addr: GuestVirtAddr, access: Access) -> Exception {
    let write = access == Access::Write;
    exception(if write { WRITE_FAULT } else { READ_FAULT }, addr.raw())
}
