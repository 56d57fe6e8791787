//! Every operation as the interpreter runs it against its definition, [`vm_ir::eval`]: all operand kinds, random
//! values, fault points, and the floating-point rules of each kind of guest. The guest is one that lifts nothing: the
//! test says what its code is.

use std::mem::{offset_of, size_of};
use std::sync::{Arc, Mutex};

use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
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
    Mode, Op, Operand, Rounding, Slot, SlotDecl, StateLayout, Terminator, Type, VectorDecl,
    VectorFunction, VectorId, verify,
};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};
use vm_softfloat::Env;

/// Code is fetched from here; what the bytes are does not matter.
const CODE: u64 = 0x10_0000;
/// So it is from here, by a program counter that is odd.
const LOW_CODE: u64 = 0;
const CODE_BYTES: u64 = 0x40_0000;
/// A page to write, a page to read, a page to write, and nothing.
const DATA: u64 = 0x1000;
const READ_ONLY: u64 = DATA + PAGE_BYTES;
const DATA_END: u64 = DATA + 3 * PAGE_BYTES;

const WORDS: usize = 32;

#[derive(Clone, PartialEq, Debug)]
#[repr(C)]
struct State {
    common: CommonState,
    words: [u64; WORDS],
    /// The last exception.
    raised: [u64; 2],
}

const fn slot(name: &'static str, ty: Type, word: u32) -> SlotDecl {
    SlotDecl {
        name,
        ty,
        offset: offset_of!(State, words) as u32 + 8 * word,
        pin_rank: 255,
    }
}

static LAYOUT: StateLayout = StateLayout {
    isa: "test",
    slots: &[
        slot("p0", Type::I64, 0),
        slot("p1", Type::I64, 1),
        slot("r0", Type::I64, 2),
        slot("r1", Type::I64, 3),
        slot("b0", Type::I8, 4),
        slot("w0", Type::I16, 5),
        slot("d0", Type::I32, 6),
        slot("s0", Type::F32, 7),
        slot("f0", Type::F64, 8),
        slot("f1", Type::F64, 9),
        slot("v0", Type::V128, 10),
        slot("v1", Type::V128, 12),
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
    vectors: &[
        VectorDecl {
            name: "mix",
            function: VectorFunction::Plain(|out, a, b, c, imm| {
                *out = [a[0] ^ b[1], c[0].wrapping_add(imm.into())];
            }),
            encoding: 0,
        },
        VectorDecl {
            name: "round",
            function: VectorFunction::Float(|fp, out, a, _, _, _| {
                let rounded = fp.run(Rounding::Dynamic, |env, flags| {
                    vm_softfloat::convert::<vm_softfloat::F64, vm_softfloat::F32>(a[0], env, flags)
                });
                *out = [rounded.into(), a[1]];
            }),
            encoding: 0,
        },
    ],
};

const HELPER_CODE: u32 = 100;
const READ_FAULT: u32 = 101;
const WRITE_FAULT: u32 = 102;
const MISALIGNED: u32 = 103;
const END: u32 = 104;

fn helper(number: u16, args: [u64; 3]) -> Result<u64, (u32, u64)> {
    let sum = args.iter().fold(0_u64, |sum, arg| sum.wrapping_add(*arg));
    match (number, sum & 3) {
        (1, 0) => Err((HELPER_CODE, sum)),
        _ => Ok(sum.wrapping_mul(2)),
    }
}

/// A guest with the NaN rule number `RULE` whose code is what its configuration holds.
struct Given<const RULE: u8>;

const fn fp_rules(rule: u8) -> Env {
    let rounding = vm_softfloat::Rounding::NearestEven;
    match rule {
        0 => Env::riscv(rounding),
        1 => Env::arm(rounding),
        _ => Env::sse(rounding),
    }
}

fn exception(code: u32, value: u64) -> Exception {
    let code = ExceptionCode(code);
    Exception { code, value }
}

impl<const RULE: u8> Guest for Given<RULE> {
    type State = State;
    type Config = Arc<Mutex<Option<Block>>>;

    const DATA_MODES: usize = 1;

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
fn nobody(addr: GuestVirtAddr, access: Access) -> Exception {
    let write = access == Access::Write;
    exception(if write { WRITE_FAULT } else { READ_FAULT }, addr.raw())
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number with many edges, of integers and of each floating-point format.
    fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next() & 0xff,
            1 => (self.next() & 0xff).wrapping_neg(),
            2 => 1 << self.below(64),
            3 => (1_u64 << self.below(64)).wrapping_sub(1),
            4 => (self.next() & 0x8001 | self.pick(&[0, 0x7ff0, 0x7ff8, 0x3ff0, 0x3fe0])) << 48,
            5 => {
                let high = self.pick(&[0, 0xffff_ffff]) << 32;
                high | self.next() & 0x8000_0001
                    | self.pick(&[0, 0x7f80_0000, 0x7fc0_0000, 0x3f80_0000])
            }
            6 => self.pick(&[0, u64::MAX << 16]) | self.next() & 0xffff,
            _ => self.next(),
        }
    }
}

/// An operation with random type, operands and attributes, which the verifier may not like.
fn inst(random: &mut Random, op: Op, temps: &[Type]) -> Inst {
    let row = op.info();
    let fp = row.result == Class::Fp || row.args.contains(&Class::Fp) && op != Op::FpToInt;
    let preferred = match () {
        () if row.result == Class::Vec || row.args.contains(&Class::Vec) => Type::V128,
        () if fp => random.pick(&[Type::F16, Type::F32, Type::F64]),
        () => random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]),
    };
    let ty = if random.one_in(4) {
        random.pick(&Type::ALL)
    } else {
        preferred
    };
    let mut args = [Operand::None; 4];
    for (arg, class) in args.iter_mut().zip(row.args) {
        *arg = operand(random, *class, ty, temps);
    }
    if row.attr == AttrClass::Mem {
        args[0] = Operand::Slot(Slot::state(random.below(2) as u16));
        if row.args.get(1) == Some(&Class::OptInt) {
            if random.one_in(2) {
                args[1] = Operand::None;
            } else if random.one_in(2) {
                args[1] = Operand::Slot(Slot::state(2)); // r0, which is small
            }
            args[2] = Operand::Imm(random.value() as i64 % 32);
        }
    }
    let indexed = args[1] != Operand::None && row.args.get(1) == Some(&Class::OptInt);
    let any = |random: &mut Random| match random.below(LAYOUT.slots.len() + temps.len()) {
        n if n < LAYOUT.slots.len() => Slot::state(n as u16),
        n => Slot::temp((n - LAYOUT.slots.len()) as u16),
    };
    let dst = (row.result != Class::None && !random.one_in(10)).then(|| any(random));
    let exts = [Ext::Zero, Ext::Sign, Ext::Ones, Ext::Keep];
    let ext = dst.map_or(Ext::Zero, |_| random.pick(&exts));
    Inst {
        op,
        ty,
        ext,
        dst,
        args,
        attr: attr(random, op, indexed, ty),
    }
}

/// A slot or constant that has a chance to fit.
fn operand(random: &mut Random, class: Class, ty: Type, temps: &[Type]) -> Operand {
    let constant = match class {
        Class::Imm => true,
        Class::Int | Class::Any => random.one_in(3),
        Class::OptInt | Class::OptFlags | Class::OptVec if random.one_in(2) => {
            return Operand::None;
        }
        _ => false,
    };
    if constant {
        return Operand::Imm(random.value() as i64);
    }
    for _ in 0..30 {
        let (slot, found) = match random.below(LAYOUT.slots.len() + temps.len()) {
            n if n < LAYOUT.slots.len() => (Slot::state(n as u16), LAYOUT.slots[n].ty),
            n => {
                let n = n - LAYOUT.slots.len();
                (Slot::temp(n as u16), temps[n])
            }
        };
        let fits = match class {
            Class::Flags | Class::OptFlags => found == Type::Flags,
            Class::Vec | Class::OptVec => found == Type::V128,
            Class::Wide => found == Type::I128,
            Class::Fp => !found.is_int() && (ty.is_int() || found.bits() >= ty.bits()),
            _ => found.is_int() && found.bits() >= ty.bits(),
        };
        if fits {
            return Operand::Slot(slot);
        }
    }
    Operand::Imm(0)
}

fn attr(random: &mut Random, op: Op, indexed: bool, ty: Type) -> Attr {
    let orders = [
        MemOrder::Relaxed,
        MemOrder::Acquire,
        MemOrder::Release,
        MemOrder::SeqCst,
    ];
    let lanes = [
        Type::I8,
        Type::I16,
        Type::I32,
        Type::I64,
        Type::F32,
        Type::F64,
    ];
    match op.info().attr {
        AttrClass::None => Attr::None,
        AttrClass::Mem => {
            let plain = matches!(op, Op::Load | Op::Store);
            Attr::Mem(MemAttr {
                size_log2: random.below(5) as u8,
                signed: random.one_in(2),
                endian: match plain && random.one_in(3) {
                    true => Endian::Big,
                    false => Endian::Little,
                },
                order: random.pick(&orders),
                index_shift: if indexed { random.below(4) as u8 } else { 0 },
                // The interpreter's atomics always want alignment.
                must_align: !matches!(op, Op::Load | Op::Store | Op::ProbeWrite)
                    || plain && random.one_in(3),
            })
        }
        AttrClass::Fp => Attr::Fp(random.pick(&Rounding::ALL)),
        AttrClass::Convert => Attr::Convert {
            from: random.pick(&Type::ALL),
            rounding: random.pick(&Rounding::ALL),
            signed: random.one_in(2),
            rule: random.pick(&[
                FpToIntRule::SaturateNanMax,
                FpToIntRule::SaturateNanZero,
                FpToIntRule::Indefinite,
                FpToIntRule::Modulo,
            ]),
        },
        AttrClass::Integral => Attr::Integral {
            rounding: random.pick(&Rounding::ALL),
            exact: random.one_in(2),
        },
        AttrClass::MinMax => Attr::MinMax(random.pick(&[
            MinMaxRule::Number,
            MinMaxRule::Propagate,
            MinMaxRule::Second,
        ])),
        AttrClass::Cond => Attr::Cond(random.pick(&Cond::ALL)),
        AttrClass::FlagCond => Attr::FlagCond(random.pick(&FlagCond::ALL)),
        AttrClass::FlagKind => Attr::FlagKind(random.pick(&FlagKind::ALL)),
        AttrClass::Helper => Attr::Helper(HelperId(random.below(2) as u16)),
        AttrClass::Vector => Attr::Vector {
            row: VectorId(random.below(2) as u16),
            imm: random.below(4) as u8,
        },
        AttrClass::Lane => Attr::Lane {
            ty: random.pick(&lanes),
            index: random.pick(&[0, 0, 1, 7, 15]),
        },
        AttrClass::Field => {
            let pos = random.below(ty.bits().min(64) as usize) as u8;
            Attr::Field {
                pos,
                len: 1 + random.below(64 - usize::from(pos)) as u8,
                signed: random.one_in(2),
            }
        }
        AttrClass::Fence => Attr::Fence(FenceSet {
            before_loads: true,
            before_stores: true,
            after_loads: random.one_in(2),
            after_stores: true,
        }),
        AttrClass::Insn => Attr::Insn { offset: 0, len: 4 },
    }
}

/// A block at `at` of one guest instruction that does `body`, and one that only raises an exception.
fn block(body: &[Inst], temps: &[Type], at: u64) -> Block {
    let offset = (at & (PAGE_BYTES - 1)) as u16;
    let mut insts = vec![Inst::marker(offset, 4)];
    insts.extend(body);
    insts.push(Inst::marker(offset + 4, 4));
    let mut block = Block {
        key: BlockKey {
            phys_pc: GuestPhysAddr(at),
            mode: Mode::default(),
        },
        insts,
        temps: temps.to_vec(),
        terminator: Terminator::Exception {
            code: ExceptionCode(END),
            value: Operand::Slot(Slot::state(0)),
        },
        guest_insns: 0,
        guest_bytes: 0,
        second_page: None,
    };
    (block.guest_insns, block.guest_bytes) = block.marked();
    block
}

/// The interpreter and the definition, side by side.
struct Bench<const RULE: u8> {
    given: Arc<Mutex<Option<Block>>>,
    vcpu: Vcpu<Given<RULE>>,
    random: Random,
    next: u64,
}

impl<const RULE: u8> Bench<RULE> {
    fn new(seed: u64) -> Self {
        let ranges = [
            (GuestPhysAddr(LOW_CODE), PAGE_BYTES),
            (GuestPhysAddr(DATA), DATA_END - DATA),
            (GuestPhysAddr(CODE), CODE_BYTES),
        ];
        let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
        let given = Arc::new(Mutex::new(None));
        let engine: Arc<Engine<Given<RULE>>> = Engine::new(EngineParts {
            config: given.clone(),
            memory: GuestMemory::new(&ranges).expect("host memory"),
            bus: Arc::new(Bus::new()),
            ports: Arc::new(Bus::new()),
            rom: Vec::new(),
            time: Arc::new(TimeBase::new(clock.clone(), 1_000_000)),
            alarms: Arc::new(TimerThread::new(clock).unwrap()),
            code_budget_bytes: 16 << 20,
        });
        let spec = InstanceSpec {
            vcpu: VcpuId(0),
            entry: GuestVirtAddr(CODE),
            builtin_firmware: false,
        };
        Self {
            given,
            vcpu: Vcpu::new(&engine, spec),
            random: Random(seed),
            next: CODE,
        }
    }

    /// An address for another block.
    fn place(&mut self) -> u64 {
        self.next += 8;
        if self.next.is_multiple_of(PAGE_BYTES) {
            self.next += 8;
        }
        assert!(
            self.next < CODE + CODE_BYTES,
            "the test makes too many blocks"
        );
        self.next
    }

    /// Random contents of slots and memory.
    fn machine(&mut self, page_base: u64) -> Machine {
        let random = &mut self.random;
        let mut machine = Machine::new(&LAYOUT);
        for page in (DATA..DATA_END).step_by(PAGE_BYTES as usize) {
            machine.memory.map(page, page != READ_ONLY);
        }
        for edge in [DATA, READ_ONLY, READ_ONLY + PAGE_BYTES, DATA_END] {
            for addr in edge.saturating_sub(256)..edge + 256 {
                machine.memory.set(addr, &[random.next() as u8]);
            }
        }
        for (number, declared) in LAYOUT.slots.iter().enumerate() {
            let mut value: Value = std::array::from_fn(|_| random.value());
            if declared.name.starts_with('p') {
                let edge = random.pick(&[DATA + 128, READ_ONLY, READ_ONLY + 0x1000, DATA_END]);
                let aligned = if random.one_in(2) { !15 } else { !0 };
                value[0] = (edge - 40 + random.next() % 80) & aligned;
            }
            if declared.name == "r0" {
                value[0] %= 8;
            }
            machine.set(&LAYOUT, Slot::state(number as u16), value);
        }
        machine.fp = FpControl {
            rounding: vm_softfloat::Rounding::from_riscv(random.below(5) as u8).expect("below 5"),
            flags: random.pick(&[0, 0, 1, 16, 31]),
            rules: fp_rules(RULE),
        };
        machine.page_base = page_base;
        machine
    }

    fn memory(&self) -> &GuestMemory {
        self.vcpu.engine().memory()
    }

    /// Runs a block on a random state here and there.
    fn compare(&mut self, block: &Block) {
        let pc = block.key.phys_pc.raw();
        *self.given.lock().expect("no panic") = Some(block.clone());
        let mut machine = self.machine(pc & !(PAGE_BYTES - 1));
        let before = machine.clone();
        let rounding = machine.fp.rounding as u32;
        for page in (DATA..DATA_END).step_by(PAGE_BYTES as usize) {
            let mut bytes = vec![0; PAGE_BYTES as usize];
            machine.memory.read(page, &mut bytes).expect("mapped");
            let done = self.memory().write(GuestPhysAddr(page), &bytes);
            done.expect("within memory");
        }
        let state = self.vcpu.state_mut();
        for (n, bytes) in machine.state[offset_of!(State, words)..]
            .chunks(8)
            .take(WORDS)
            .enumerate()
        {
            state.words[n] = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        state.common.pc = pc;
        state.common.retired = 0;
        state.common.reservation_addr = u64::MAX;
        state.common.fp_flags = machine.fp.flags;
        state.common.fp_rounding = rounding;
        state.raised = [0; 2];
        let exit = self.vcpu.run();
        let end = machine.run(block, &LAYOUT, &mut |number, args, _| {
            helper(number.0, args).map_err(|(code, value)| Fault::Exception {
                code: ExceptionCode(code),
                value,
            })
        });
        let (at, fault) = match end {
            End::Faults { pc, fault } => (pc, fault),
            End::Goes { pc, .. } => {
                // To the exception of another block's second instruction.
                machine.retired += 1;
                let value = machine.get(&LAYOUT, Slot::state(0))[0];
                let code = ExceptionCode(END);
                (pc + 4, Fault::Exception { code, value })
            }
            other => panic!("{other:?}: the block ends by an exception"),
        };
        let expected = match fault {
            Fault::Read { addr } => [READ_FAULT.into(), addr],
            Fault::Write { addr } => [WRITE_FAULT.into(), addr],
            Fault::Misaligned { addr } => [MISALIGNED.into(), addr],
            Fault::Exception { code, value } => [code.0.into(), value],
        };
        let text = || {
            let words: Vec<_> = before.state[offset_of!(State, words)..]
                .chunks(8)
                .take(WORDS)
                .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
                .collect();
            format!("{:?}\nbefore: {words:x?} {:?}", block.insts, before.fp)
        };
        assert_eq!(
            exit,
            VmExit::Wedged {
                pc: GuestVirtAddr(at)
            },
            "{}",
            text()
        );
        let state = self.vcpu.state();
        assert_eq!(state.raised, expected, "exception of {}", text());
        for (number, declared) in LAYOUT.slots.iter().enumerate() {
            let expected = machine.get(&LAYOUT, Slot::state(number as u16));
            let words = declared.ty.slot_bytes() as usize / 8;
            let first = (declared.offset as usize - offset_of!(State, words)) / 8;
            assert_eq!(
                state.words[first..first + words],
                expected[..words],
                "{} after {}",
                declared.name,
                text()
            );
        }
        assert_eq!(
            state.common.fp_flags,
            machine.fp.flags,
            "flags of {}",
            text()
        );
        assert_eq!(
            state.common.retired,
            machine.retired,
            "retired by {}",
            text()
        );
        for page in (DATA..DATA_END).step_by(PAGE_BYTES as usize) {
            let (mut here, mut there) = ([0; PAGE_BYTES as usize], [0; PAGE_BYTES as usize]);
            machine.memory.read(page, &mut there).expect("mapped");
            let done = self.memory().read(GuestPhysAddr(page), &mut here);
            done.expect("within memory");
            assert!(here == there, "memory after {}", text());
        }
    }

    /// `kinds` instances of each operation, `states` times each.
    fn each_op(&mut self, kinds: usize, states: usize) {
        for row in Op::TABLE {
            if matches!(row.op, Op::Insn | Op::ExitIf) {
                continue;
            }
            let mut made = 0;
            for _ in 0..20_000 {
                if made == kinds {
                    break;
                }
                let inst = inst(&mut self.random, row.op, &[]);
                let block = block(&[inst], &[], self.next);
                if verify(&block, &LAYOUT).is_err() {
                    continue;
                }
                for _ in 0..states {
                    self.compare(&block);
                }
                self.place();
                made += 1;
            }
            assert!(made > 0, "{:?} is hard to make", row.op);
        }
    }
}

#[test]
fn interpreter_runs_every_operation_as_defined_with_riscv_floats() {
    Bench::<0>::new(1).each_op(40, 12);
}

#[test]
fn interpreter_runs_every_operation_as_defined_with_arm_floats() {
    Bench::<1>::new(2).each_op(20, 8);
}

#[test]
fn interpreter_runs_every_operation_as_defined_with_sse_floats() {
    Bench::<2>::new(3).each_op(20, 8);
}

/// Several operations on temporaries and slots in one guest instruction; the last one may fault.
#[test]
fn interpreter_runs_sequences_of_operations_as_defined() {
    const TEMPS: [Type; 8] = [
        Type::I64,
        Type::I32,
        Type::I8,
        Type::F64,
        Type::F32,
        Type::V128,
        Type::I128,
        Type::Flags,
    ];
    let mut bench = Bench::<0>::new(4);
    let mut made = 0;
    while made < 600 {
        let at = bench.next;
        let mut insts = Vec::new();
        for _ in 0..60 {
            let row = &Op::TABLE[bench.random.below(Op::TABLE.len())];
            if matches!(row.op, Op::Insn | Op::ExitIf) {
                continue;
            }
            insts.push(inst(&mut bench.random, row.op, &TEMPS));
            if verify(&block(&insts, &TEMPS, at), &LAYOUT).is_err() {
                insts.pop();
            } else if insts.len() == 8 {
                break;
            }
        }
        let block = block(&insts, &TEMPS, at);
        bench.place();
        made += 1;
        for _ in 0..4 {
            bench.compare(&block);
        }
    }
}

/// `setflags` of a random kind on random operands, and what it is about.
fn flags_and_operation(random: &mut Random) -> [Inst; 2] {
    let (kind, op) = random.pick(&[
        (FlagKind::Add, Op::Add),
        (FlagKind::AddCarry, Op::AddCarry),
        (FlagKind::Sub, Op::Sub),
        (FlagKind::SubBorrow, Op::SubBorrow),
        (FlagKind::Inc, Op::Add),
        (FlagKind::Dec, Op::Sub),
        (FlagKind::Neg, Op::Neg),
        (FlagKind::Shl, Op::Shl),
        (FlagKind::Shr, Op::Shr),
        (FlagKind::Sar, Op::Sar),
    ]);
    let ty = random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]);
    let flags = Slot::state(13);
    let mut of = [Operand::None; 4];
    for (arg, class) in of.iter_mut().zip(op.info().args) {
        *arg = operand(random, *class, ty, &[]);
    }
    let mut args = of.map(|arg| match arg {
        Operand::None => Operand::Imm(0),
        arg => arg,
    });
    if matches!(kind, FlagKind::Inc | FlagKind::Dec) && !random.one_in(4) {
        of[1] = Operand::Imm(1);
    }
    args[3] = if kind.reads_old() {
        flags.into()
    } else {
        Operand::None
    };
    let set = Inst {
        op: Op::SetFlags,
        ty,
        ext: Ext::Zero,
        dst: Some(flags),
        args,
        attr: Attr::FlagKind(kind),
    };
    let result = Inst {
        op,
        ext: random.pick(&[Ext::Zero, Ext::Sign, Ext::Keep]),
        dst: Some(Slot::state(random.below(5) as u16)),
        args: of,
        attr: Attr::None,
        ..set
    };
    if random.one_in(2) {
        [result, set]
    } else {
        [set, result]
    }
}

/// Logic, and the flags of its result.
fn logic_and_flags(random: &mut Random) -> [Inst; 2] {
    let ty = random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]);
    let dst = Slot::state(random.below(5) as u16);
    let [x, y] = [(); 2].map(|()| operand(random, Class::Int, ty, &[]));
    let logic = Inst {
        op: random.pick(&[Op::And, Op::Or, Op::Xor]),
        ty,
        ext: random.pick(&[Ext::Zero, Ext::Sign, Ext::Keep]),
        dst: Some(dst),
        args: [x, y, Operand::None, Operand::None],
        attr: Attr::None,
    };
    let set = Inst {
        op: Op::SetFlags,
        ext: Ext::Zero,
        dst: Some(Slot::state(13)),
        args: [dst.into(), Operand::Imm(0), Operand::Imm(0), Operand::None],
        attr: Attr::FlagKind(FlagKind::Logic),
        ..logic
    };
    [logic, set]
}

/// A condition on flags to the first temporary, and a choice by it.
fn flag_and_choice(random: &mut Random) -> [Inst; 2] {
    let temp = Slot::temp(0);
    let get = Inst {
        op: Op::GetFlag,
        ty: Type::I64,
        ext: Ext::Zero,
        dst: Some(temp),
        args: [
            Slot::state(13).into(),
            Operand::None,
            Operand::None,
            Operand::None,
        ],
        attr: Attr::FlagCond(random.pick(&FlagCond::ALL)),
    };
    let ty = random.pick(&[Type::I8, Type::I16, Type::I32, Type::I64]);
    let [x, y] = [(); 2].map(|()| operand(random, Class::Int, ty, &[]));
    let choice = Inst {
        op: Op::Select,
        ty,
        ext: random.pick(&[Ext::Zero, Ext::Sign, Ext::Keep]),
        dst: Some(Slot::state(random.below(5) as u16)),
        args: [x, y, temp.into(), Operand::Imm(0)],
        attr: Attr::Cond(random.pick(&[Cond::Eq, Cond::Ne])),
    };
    [get, choice]
}

#[test]
fn interpreter_runs_flags_with_their_operation_as_defined() {
    let mut bench = Bench::<0>::new(7);
    let mut made = 0;
    while made < 4000 {
        let random = &mut bench.random;
        let body = match random.below(4) {
            0 => logic_and_flags(random),
            1 => flag_and_choice(random),
            _ => flags_and_operation(random),
        };
        let block = block(&body, &[Type::I64], bench.next);
        if verify(&block, &LAYOUT).is_err() {
            continue;
        }
        bench.place();
        made += 1;
        for _ in 0..4 {
            bench.compare(&block);
        }
    }
}

#[test]
fn interpreter_branches_by_flags_as_defined() {
    let mut bench = Bench::<0>::new(8);
    for (number, cond) in FlagCond::ALL.into_iter().cycle().take(72).enumerate() {
        let [mut get, _] = flag_and_choice(&mut bench.random);
        get.attr = Attr::FlagCond(cond);
        let mut block = block(&[get], &[Type::I64], bench.next);
        // The condition is the last operation.
        block.insts.pop();
        (block.guest_insns, block.guest_bytes) = block.marked();
        let near = (bench.next & (PAGE_BYTES - 1)) as i64;
        block.terminator = Terminator::Branch {
            cond: if number % 5 == 0 { Cond::Eq } else { Cond::Ne },
            ty: Type::I64,
            a: Slot::temp(0).into(),
            b: Operand::Imm(0),
            taken: if number % 2 == 0 {
                near + 8
            } else {
                near + 0x1000
            },
            fallthrough: if number % 3 == 0 {
                near + 8
            } else {
                near + 0x2000
            },
        };
        assert_eq!(verify(&block, &LAYOUT), Ok(()));
        for _ in 0..20 {
            bench.compare(&block);
        }
        bench.place();
        bench.place();
    }
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
