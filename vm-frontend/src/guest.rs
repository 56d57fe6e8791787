//! The border between a guest ISA and the engine that runs it.

use vm_core::{AccessWidth, GuestPhysAddr, GuestVirtAddr, Shutdown, VcpuId};
use vm_ir::{Block, BlockKey, ExceptionCode, HelperId, Mode, StateLayout};
pub use vm_mem::PhysMemory;
pub use vm_mem::walk::Access;
use vm_softfloat::Env;

/// The part of the state that every ISA has and the engine itself reads and writes. It stands at offset 0 of
/// every [`Guest::State`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct CommonState {
    /// Virtual address of the page that the running block's code was fetched from.
    pub page_base: u64,
    /// Program counter; valid whenever the virtual CPU is outside of blocks and inside helpers that exit.
    pub pc: u64,
    /// Guest instructions retired. Inside a block it already counts the whole block.
    pub retired: u64,
    /// Accrued IEEE exception flags in RISC-V order: bit 0 inexact, 1 underflow, 2 overflow, 3 division by
    /// zero, 4 invalid.
    pub fp_flags: u32,
    /// Rounding in force for `dyn`, numbered as [`vm_ir::Rounding`].
    pub fp_rounding: u32,
    /// Guest-physical address of the load reservation, all ones when there is none.
    pub reservation_addr: u64,
    /// What memory held when the reservation was made, low and high half.
    pub reservation_value: [u64; 2],
}

/// A guest-visible exception, raised by an access or an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// The ISA's number.
    pub code: ExceptionCode,
    /// The ISA's value for it: faulting address, instruction bits, zero.
    pub value: u64,
}

impl Exception {
    /// No guest's exception: the instruction, which has done nothing, is to be run as a block by itself. Raised by accesses
    /// that store to code ([`Guest::CODE_IS_COHERENT`]), and by helpers.
    pub const RUN_ALONE: Self = Self {
        code: ExceptionCode(u32::MAX),
        value: 0,
    };

    /// No guest's exception: the same, and while it runs no other virtual CPU may. Raised by atomic accesses that the host
    /// cannot do as one ([`Guest::ATOMICS_MAY_SPLIT`]).
    pub const RUN_EXCLUSIVELY: Self = Self {
        code: ExceptionCode(u32::MAX - 1),
        value: 0,
    };
}

/// A translation of one 4 KiB page, with what the current mode may do through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Guest-physical page.
    pub page: GuestPhysAddr,
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed and need no more bookkeeping (the page-table entry is dirty already).
    pub write: bool,
    /// Fetches are allowed.
    pub execute: bool,
    /// Whether it holds for every access to the page, so that the TLB may keep it. False when permissions change within
    /// the page (PMP).
    pub cacheable: bool,
    /// Whether it holds in every address space.
    pub global: bool,
    /// Bytes of the guest's page (4 KiB up to its largest), of which `page` is the 4 KiB piece asked for. An
    /// identity mapping without translation says 4096.
    pub page_bytes: u64,
}

/// Which translations a data or code access uses: a small number for the access mode, and an identifier of the
/// address space. Equal values promise equal translations until a flush.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AddressSpace {
    /// Access mode, below [`Guest::DATA_MODES`].
    pub data_mode: u8,
    /// ISA's address-space number; with 0 nothing is global (RISC-V: 0 when translation is off for fetches, else 1 + ASID).
    pub asid: u32,
}

/// Which translations to forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushScope {
    /// Only of this page; `None`: of all.
    pub page: Option<GuestVirtAddr>,
    /// Only of this address space (and not global ones); `None`: of all.
    pub asid: Option<u32>,
}

/// What the engine must do once the running instruction has finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Sleep until [`Guest::wakes`].
    Wait,
    /// Give other virtual CPUs the host's processor (spin-wait hints).
    Yield,
    /// Forget translated code that has been written over (instruction-cache synchronisation).
    SyncCode,
}

/// Whose rights an access has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Those of the running code's data accesses.
    Current,
    /// The operating system's, whatever runs (x86: descriptor tables and task state; Intel SDM 3A, 5.6.1, "implicit
    /// supervisor-mode accesses").
    Supervisor,
    /// An application's, whatever runs.
    User,
    /// All: addresses are guest-physical.
    Physical,
}

/// What comes of an access that translates but reaches neither RAM nor a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BusAbort {
    /// An exception.
    Raise(Exception),
    /// A read gives this value (its low bits); a write is lost.
    Value(u64),
}

/// What [`Guest::raise`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raised {
    /// The state stands at the guest's handler.
    Taken,
    /// The guest called firmware that the machine provides; the state stands after the call.
    Firmware,
    /// The virtual CPU cannot go on.
    Wedged,
    /// The virtual CPU has shut down until it is reset.
    Shutdown(Shutdown),
}

/// What helpers ask of the engine and the machine. `S` is the ISA's state.
pub trait SysEnv<S> {
    /// Which virtual CPU this is.
    fn vcpu(&self) -> VcpuId;
    /// Ticks of the guest's time counter (RISC-V `time`, Arm `CNTVCT`).
    fn time(&self) -> u64;
    /// Interrupt lines that are high, numbered by the ISA (RISC-V: as in `mip`).
    fn lines(&self) -> u64;
    /// Drives interrupt lines of this virtual CPU from within.
    fn set_lines(&mut self, set: u64, clear: u64);
    /// From time `deadline` (ticks) on, line `line` is high; before, it is low. `None` disarms and lowers it.
    fn set_timer(&mut self, line: u32, deadline: Option<u64>);
    /// Forgets translations of this virtual CPU.
    fn flush(&mut self, scope: FlushScope);
    /// Address space, mode or interrupt enables may have changed.
    fn state_changed(&mut self);
    /// Something to do after this instruction.
    fn request(&mut self, request: Request);
    /// Fills `bytes` (a power of two up to 4096, naturally aligned) at a virtual address with zeros, as a store
    /// of the current data mode.
    ///
    /// # Errors
    /// The guest exception that the store raises.
    fn zero(&mut self, state: &S, addr: GuestVirtAddr, bytes: u64) -> Result<(), Exception>;
    /// Checks an access of the current data mode to `bytes` bytes of one page without doing it: that it is allowed, and that
    /// there is memory or a device.
    ///
    /// # Errors
    /// The guest exception that it raises.
    fn probe(
        &mut self,
        state: &S,
        addr: GuestVirtAddr,
        bytes: u64,
        access: Access,
    ) -> Result<(), Exception>;
    /// Instructions retired before the running one.
    fn retired(&self) -> u64;
    /// A number that nobody can foretell.
    fn random(&mut self) -> u64;
    /// Loads `width` bytes, zero-extended, however they lie.
    ///
    /// # Errors
    /// The guest exception that the load raises.
    fn load(
        &mut self,
        state: &S,
        addr: u64,
        width: AccessWidth,
        view: View,
    ) -> Result<u64, Exception>;
    /// Stores the low `width` bytes of `value`, however they lie. When it fails nothing has been written.
    ///
    /// # Errors
    /// The guest exception that the store raises. What a helper has done before stays done: one that stores more than
    /// once probes first, or leaves a state that the instruction can go on from.
    fn store(
        &mut self,
        state: &S,
        addr: u64,
        width: AccessWidth,
        value: u64,
        view: View,
    ) -> Result<(), Exception>;
    /// Copies up to `bytes` bytes upwards as single bytes would be copied one after the other, with the current rights,
    /// and gives how many it copied. It stops at page ends and does nothing where bytes must be copied one by one (devices,
    /// code, watchpoints, ranges that overlap so that order shows): zero says nothing but "not this way".
    fn copy_bytes(&mut self, state: &S, to: u64, from: u64, bytes: u64) -> u64;
    /// Fills up to `bytes` bytes with `pattern`, whose first byte goes to `addr`, repeated every eight; gives how many as
    /// [`SysEnv::copy_bytes`] does.
    fn fill_bytes(&mut self, state: &S, addr: u64, pattern: u64, bytes: u64) -> u64;
    /// Loads bytes from `addr` on, as many as [`SysEnv::copy_bytes`] would copy from there, and gives their number.
    fn load_bytes(&mut self, state: &S, addr: u64, into: &mut [u8]) -> usize;
    /// Reads an I/O port; all ones where nothing answers.
    fn port_read(&mut self, port: u16, width: AccessWidth) -> u64;
    /// Writes an I/O port.
    fn port_write(&mut self, port: u16, width: AccessWidth, value: u64);
    /// [`vm_core::LocalIrq::acknowledge`] of this virtual CPU's own interrupt controller; `None` without one.
    fn acknowledge_interrupt(&mut self) -> Option<u32>;
    /// [`vm_core::LocalIrq::take_startup`].
    fn take_startup(&mut self) -> Option<u32>;
    /// [`vm_core::LocalIrq::init`].
    fn init_local_irq(&mut self);
    /// [`vm_core::LocalIrq::register_read`].
    fn local_irq_read(&mut self, register: u32) -> Option<u64>;
    /// [`vm_core::LocalIrq::register_write`].
    fn local_irq_write(&mut self, register: u32, value: u64) -> bool;
}

/// One page of guest code as the lifter reads it. Memory may change under it, so each byte is read once.
pub trait CodePage {
    /// Fills `into` with the bytes from `offset` on, all of which are in the page. Bytes at even addresses come in
    /// pairs, each read at once.
    fn bytes(&mut self, offset: u16, into: &mut [u8]);
    /// Fills `into` with the first bytes of the next virtual page, for an instruction that straddles; gives its
    /// physical page.
    ///
    /// # Errors
    /// The exception that fetching them raises.
    fn next_page(&mut self, into: &mut [u8]) -> Result<GuestPhysAddr, Exception>;
}

/// Bounds on one block.
#[derive(Clone, Copy, Debug)]
pub struct LiftLimits<'a> {
    /// Most guest instructions.
    pub max_insns: u32,
    /// Page offsets before which a block ends (breakpoints); a block may start at one.
    pub stop_before: &'a [u16],
}

/// Which virtual CPU of which machine a state is for.
#[derive(Clone, Copy, Debug)]
pub struct InstanceSpec {
    /// Its number.
    pub vcpu: VcpuId,
    /// Where it starts.
    pub entry: GuestVirtAddr,
    /// Whether the machine answers firmware calls itself (built-in SBI, PSCI), so that the guest starts in the
    /// mode of an operating system.
    pub builtin_firmware: bool,
}

/// A guest instruction set.
///
/// `State` is `#[repr(C)]`, begins with a [`CommonState`], holds plain integers only, and is laid out as
/// [`Guest::layout`] says.
pub trait Guest: Sized + Send + Sync + 'static {
    /// Everything the ISA keeps per virtual CPU.
    type State: Copy + PartialEq + std::fmt::Debug + Send + 'static;
    /// Which instructions and features exist.
    type Config: Clone + Send + Sync + 'static;

    /// Data access modes: how many different TLBs one address space can need.
    const DATA_MODES: usize;
    /// Whether a store to code takes effect at once, as on x86, instead of at an instruction that asks for it
    /// ([`Request::SyncCode`]). The engine then runs an instruction that stores to code by itself.
    const CODE_IS_COHERENT: bool = false;
    /// Whether atomic accesses of up to eight bytes are atomic however they lie, and may go to devices, as on x86. Others
    /// must be aligned ([`Guest::misaligned`]).
    const ATOMICS_MAY_SPLIT: bool = false;
    /// Bytes that one access for a fetch takes at most, and that all instructions are multiples of.
    const PARCEL_BYTES: u64 = 2;
    /// What two bytes of code read as where there is neither RAM nor a device.
    const NO_CODE: u64 = 0;

    /// Whether floating point follows the rules of x86-64 hosts in all, and [`vm_ir::VectorDecl::encoding`] is their VEX
    /// encoding. The layout's slot `mxcsr` then holds MXCSR, its flags clear.
    const FLOAT_IS_X86: bool = false;

    /// Slots, offsets and helpers.
    fn layout() -> &'static StateLayout;
    /// Rules of floating-point arithmetic that hold for the whole ISA. The rounding is that of each operation.
    fn fp_rules() -> Env;
    /// The rules that a state's control registers say, where not all of them hold for the whole ISA.
    fn fp_env(_state: &Self::State) -> Env {
        Self::fp_rules()
    }
    /// Whether code of a mode runs with all floating-point exceptions masked.
    fn masks_float(_mode: Mode) -> bool {
        true
    }
    /// The state after power-on.
    fn new_state(config: &Self::Config, spec: InstanceSpec) -> Self::State;
    /// The common part of a state.
    fn common(state: &mut Self::State) -> &mut CommonState;
    /// The mode that code is decoded in now.
    fn mode(state: &Self::State) -> Mode;
    /// What data accesses use now.
    fn address_space(state: &Self::State) -> AddressSpace;
    /// The data mode of accesses with the rights of `view` (not [`View::Physical`]).
    fn data_mode(state: &Self::State, _view: View) -> u8 {
        Self::address_space(state).data_mode
    }

    /// Decodes and lifts the block at `key`, into the storage of a `spare` one. Never crosses the page, but for one
    /// straddling instruction, which is a block of its own. Undefined instructions become exceptions of the block.
    ///
    /// # Errors
    /// The exception of fetching the second half of a straddling first instruction.
    fn lift(
        config: &Self::Config,
        key: BlockKey,
        code: &mut dyn CodePage,
        limits: LiftLimits<'_>,
        spare: Block,
    ) -> Result<Block, Exception>;

    /// Translates for an access with the rights of `view` (not [`View::Physical`]) to `bytes` bytes of one page, setting
    /// accessed and dirty bits where the ISA says so. All bytes are checked.
    ///
    /// # Errors
    /// The guest exception, with `addr` as the address that it tells.
    fn translate(
        state: &Self::State,
        memory: &dyn PhysMemory,
        view: View,
        addr: GuestVirtAddr,
        bytes: u64,
        access: Access,
    ) -> Result<Mapping, Exception>;

    /// What an access does that translates but reaches neither RAM nor a device.
    fn bus_error(addr: GuestVirtAddr, access: Access) -> BusAbort;

    /// The exception of an access that must be aligned and is not.
    fn misaligned(addr: GuestVirtAddr, access: Access) -> Exception;

    /// The guest's own breakpoints on data that an access hits, as [`Guest::note_data_hits`] takes them; the instruction goes
    /// on.
    fn data_hits(_state: &Self::State, _addr: GuestVirtAddr, _bytes: u64, _write: bool) -> u64 {
        0
    }

    /// Whether one of them lies on the page of an address. Accesses to it are then looked at one by one. The guest flushes
    /// translations when it changes which pages these are.
    fn watches_page(_state: &Self::State, _addr: GuestVirtAddr) -> bool {
        false
    }

    /// Behind the instruction, which has not failed: notes what [`Guest::data_hits`] has found.
    fn note_data_hits(_state: &mut Self::State, _hits: u64) {}

    /// Delivers an exception of the instruction at `CommonState::pc`.
    fn raise(
        state: &mut Self::State,
        config: &Self::Config,
        env: &mut dyn SysEnv<Self::State>,
        exception: Exception,
    ) -> Raised;

    /// Delivers the most urgent enabled interrupt among `lines` and those pending in the state; `None` if there is none.
    fn take_interrupt(
        state: &mut Self::State,
        config: &Self::Config,
        env: &mut dyn SysEnv<Self::State>,
        lines: u64,
    ) -> Option<Raised>;

    /// Whether [`Guest::take_interrupt`] would find something in `lines` or the state: asked before every turn of the run
    /// loop, so quick.
    fn interrupt_is_due(state: &Self::State, lines: u64) -> bool;

    /// Whether the virtual CPU does nothing now but wait until it [wakes](Guest::wakes), as long as that takes.
    fn rests(_state: &Self::State) -> bool {
        false
    }

    /// Whether a waiting virtual CPU wakes up.
    fn wakes(state: &Self::State, lines: u64) -> bool;

    /// Runs a helper. Within it `CommonState::pc` is that of the calling instruction only for helpers declared to
    /// write state.
    ///
    /// # Errors
    /// The guest exception that the instruction raises; nothing has changed then.
    fn call(
        state: &mut Self::State,
        config: &Self::Config,
        env: &mut dyn SysEnv<Self::State>,
        helper: HelperId,
        args: [u64; 3],
    ) -> Result<u64, Exception>;
}
