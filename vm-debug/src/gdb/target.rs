//! A machine as the `gdbstub` crate sees it: packets become calls of [`DebugTarget`].

use std::convert::Infallible;
use std::num::{NonZero, NonZeroUsize};
use std::sync::Arc;

use gdbstub::arch::{Arch, RegId, Registers};
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::single_register_access::{
    SingleRegisterAccess, SingleRegisterAccessOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind as GdbWatchKind,
};
use gdbstub::target::ext::monitor_cmd::MonitorCmdOps;
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use vm_core::{
    DebugTarget, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, Resume, StopCause, VcpuId, WatchKind,
    Watchpoint,
};

use super::registers::{Register, RegisterFile};

/// Why the machine stopped, in the stub's words.
pub(super) type Reason = MultiThreadStopReason<u64>;

/// "Bad address", the answer to an access of memory that is not mapped (GDB manual, E.12: errno of the File-I/O
/// protocol).
const EFAULT: u8 = 14;
/// Bytes of a register that [`DebugTarget`] takes at once.
const WORD_BYTES: usize = 8;
/// "Invalid argument".
const EINVAL: u8 = 22;

/// A machine with the wishes of one debugger.
pub(super) struct DebuggedMachine {
    target: Arc<dyn DebugTarget>,
    registers: RegisterFile,
    description: String,
    software: Vec<GuestVirtAddr>,
    hardware: Vec<GuestVirtAddr>,
    watched: Vec<Watchpoint>,
    applied_breaks: Vec<GuestVirtAddr>,
    applied_watches: Vec<Watchpoint>,
    /// How virtual CPUs go on next, where the debugger has said so.
    actions: Vec<Option<Resume>>,
    /// Whether virtual CPUs that the debugger has not mentioned stay where they are.
    locked: bool,
    /// The virtual CPU that the last stop was reported for.
    pub(super) current: VcpuId,
    /// Whether addresses of memory are physical ones.
    pub(super) physical: bool,
    /// Whether the debugger wants the machine to end.
    pub(super) quits: bool,
}

impl DebuggedMachine {
    /// Looks at a stopped machine.
    pub(super) fn new(target: Arc<dyn DebugTarget>) -> Self {
        // What an earlier session left behind.
        target.set_breakpoints(&[]);
        target.set_watchpoints(&[]);
        let registers = RegisterFile::of(&*target);
        let description = registers.xml();
        let actions = vec![None; target.vcpus() as usize];
        Self {
            target,
            registers,
            description,
            software: Vec::new(),
            hardware: Vec::new(),
            watched: Vec::new(),
            applied_breaks: Vec::new(),
            applied_watches: Vec::new(),
            actions,
            locked: false,
            current: VcpuId(0),
            physical: false,
            quits: false,
        }
    }

    pub(super) fn target(&self) -> &dyn DebugTarget {
        &*self.target
    }

    fn vcpu(&self, tid: Tid) -> Option<VcpuId> {
        let number = u32::try_from(tid.get() - 1).ok()?;
        (number < self.target.vcpus()).then_some(VcpuId(number))
    }

    fn asked(&self, tid: Tid) -> TargetResult<VcpuId, Self> {
        self.vcpu(tid).ok_or(TargetError::Errno(EINVAL))
    }

    fn read(&self, vcpu: VcpuId, register: &Register) -> TargetResult<u128, Self> {
        let word = |key: &str| {
            let word = self.target.read_register(vcpu, key);
            word.map(u128::from).map_err(|_| TargetError::NonFatal)
        };
        let low = word(&register.key)?;
        match register.bytes {
            ..=WORD_BYTES => Ok(low),
            _ => Ok(low | word(&register.high_key())? << 64),
        }
    }

    fn write(&self, vcpu: VcpuId, register: &Register, value: u128) -> TargetResult<(), Self> {
        let write = |key: &str, word: u64| {
            let written = self.target.write_register(vcpu, key, word);
            written.map_err(|_| TargetError::Errno(EINVAL))
        };
        write(&register.key, value as u64)?;
        match register.bytes {
            ..=WORD_BYTES => Ok(()),
            _ => write(&register.high_key(), (value >> 64) as u64),
        }
    }

    fn set_action(&mut self, tid: Tid, how: Resume) {
        // Of a thread that does not exist nothing goes on.
        if let Some(vcpu) = self.vcpu(tid) {
            self.actions[vcpu.0 as usize] = Some(how);
        }
    }

    /// Gives the machine the debugger's break- and watchpoints. Debuggers remove and insert them at every stop, and
    /// machines forget translated code when they change, so only changes that matter get there.
    fn apply_stops(&mut self, how: &[Resume]) {
        // Virtual CPUs that step do not look at breakpoints.
        if how.contains(&Resume::Continue) {
            let mut breaks: Vec<_> = self
                .software
                .iter()
                .chain(&self.hardware)
                .copied()
                .collect();
            breaks.sort_unstable();
            breaks.dedup();
            if breaks != self.applied_breaks {
                self.target.set_breakpoints(&breaks);
                self.applied_breaks = breaks;
            }
        }
        if self.watched != self.applied_watches {
            self.target.set_watchpoints(&self.watched);
            self.applied_watches.clone_from(&self.watched);
        }
    }
}

fn tid(vcpu: VcpuId) -> Tid {
    NonZero::new(vcpu.0 as usize + 1).expect("invariant: one more than a number is not zero")
}

/// What to tell the debugger about a stop.
pub(super) fn stop_reason(machine: &mut DebuggedMachine, cause: StopCause) -> Reason {
    let mut at = |vcpu| {
        machine.current = vcpu;
        tid(vcpu)
    };
    match cause {
        StopCause::Ended(status) => Reason::Exited(status),
        StopCause::Paused => Reason::SignalWithThread {
            tid: tid(machine.current),
            signal: Signal::SIGINT,
        },
        StopCause::Stepped(vcpu) => Reason::SignalWithThread {
            tid: at(vcpu),
            signal: Signal::SIGTRAP,
        },
        StopCause::Breakpoint(vcpu) => {
            let tid = at(vcpu);
            let pc = machine.target.read_register(vcpu, "pc").map(GuestVirtAddr);
            if pc.is_ok_and(|pc| machine.hardware.contains(&pc)) {
                Reason::HwBreak(tid)
            } else {
                Reason::SwBreak(tid)
            }
        }
        StopCause::Watchpoint { vcpu, addr, write } => {
            let tid = at(vcpu);
            let hit = |watch: &&Watchpoint| {
                watch.kind.stops(write)
                    && addr
                        .raw()
                        .checked_sub(watch.addr.raw())
                        .is_some_and(|offset| offset < watch.bytes)
            };
            let kind = match machine.watched.iter().find(hit).map(|watch| watch.kind) {
                Some(WatchKind::Access) => GdbWatchKind::ReadWrite,
                Some(WatchKind::Read) => GdbWatchKind::Read,
                _ => GdbWatchKind::Write,
            };
            Reason::Watch {
                tid,
                kind,
                addr: addr.raw(),
            }
        }
    }
}

/// Any guest with addresses of 64 bits; what sets them apart is in the target description.
pub(super) enum Guest64 {}

impl Arch for Guest64 {
    type Usize = u64;
    type Registers = CoreRegisters;
    type BreakpointKind = usize;
    type RegId = RegisterNumber;
}

/// The contents of a `g` or `G` packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct CoreRegisters {
    /// In the order of the target description.
    bytes: Vec<u8>,
    pc: u64,
}

impl Registers for CoreRegisters {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.pc
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        for byte in &self.bytes {
            write_byte(Some(*byte));
        }
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

/// A register's number in packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegisterNumber(usize);

impl RegId for RegisterNumber {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        Some((Self(id), None))
    }
}

impl Target for DebuggedMachine {
    type Arch = Guest64;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, Guest64, Infallible> {
        BaseOps::MultiThread(self)
    }

    fn guard_rail_implicit_sw_breakpoints(&self) -> bool {
        true
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl TargetDescriptionXmlOverride for DebuggedMachine {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let xml = self.description.as_bytes();
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| xml.get(offset..))
            .unwrap_or(&[]);
        let count = rest.len().min(length).min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl MultiThreadBase for DebuggedMachine {
    fn read_registers(&mut self, regs: &mut CoreRegisters, tid: Tid) -> TargetResult<(), Self> {
        let vcpu = self.asked(tid)?;
        regs.bytes.clear();
        for register in self.registers.core() {
            let value = self.read(vcpu, register)?.to_le_bytes();
            regs.bytes.extend_from_slice(&value[..register.bytes]);
            if register.key == "pc" {
                regs.pc = number(&value[..WORD_BYTES]) as u64;
            }
        }
        Ok(())
    }

    fn write_registers(&mut self, regs: &CoreRegisters, tid: Tid) -> TargetResult<(), Self> {
        let vcpu = self.asked(tid)?;
        let mut rest = regs.bytes.as_slice();
        for register in self.registers.core() {
            let Some((value, tail)) = rest.split_at_checked(register.bytes) else {
                return Err(TargetError::Errno(EINVAL));
            };
            rest = tail;
            let value = number(value);
            // Some cannot be written (x0), which matters only to who tries to change them.
            if self.read(vcpu, register)? != value {
                self.write(vcpu, register, value)?;
            }
        }
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        let vcpu = self.asked(tid)?;
        let mut done = 0;
        while done < data.len() {
            let addr = GuestVirtAddr(start.wrapping_add(done as u64));
            let piece = (PAGE_BYTES - addr.page_offset()).min((data.len() - done) as u64) as usize;
            let into = &mut data[done..done + piece];
            let read = match self.physical {
                true => self
                    .target
                    .read_physical(GuestPhysAddr(addr.raw()), into)
                    .is_ok(),
                false => self.target.read_memory(vcpu, addr, into).is_ok(),
            };
            if !read {
                break;
            }
            done += piece;
        }
        if done == 0 && !data.is_empty() {
            return Err(TargetError::Errno(EFAULT));
        }
        Ok(done)
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let vcpu = self.asked(tid)?;
        let written = match self.physical {
            true => self
                .target
                .write_physical(GuestPhysAddr(start), data)
                .is_ok(),
            false => {
                let addr = GuestVirtAddr(start);
                self.target.write_memory(vcpu, addr, data).is_ok()
            }
        };
        written.then_some(()).ok_or(TargetError::Errno(EFAULT))
    }

    fn list_active_threads(
        &mut self,
        thread_is_active: &mut dyn FnMut(Tid),
    ) -> Result<(), Infallible> {
        (0..self.target.vcpus()).for_each(|number| thread_is_active(tid(VcpuId(number))));
        Ok(())
    }

    fn is_thread_alive(&mut self, tid: Tid) -> Result<bool, Infallible> {
        Ok(self.vcpu(tid).is_some())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

/// A register's value, which comes low byte first.
fn number(bytes: &[u8]) -> u128 {
    let mut value = [0; 16];
    value[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(value)
}

impl SingleRegisterAccess<Tid> for DebuggedMachine {
    fn read_register(
        &mut self,
        tid: Tid,
        RegisterNumber(id): RegisterNumber,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let vcpu = self.asked(tid)?;
        let register = self.registers.find(id).ok_or(TargetError::NonFatal)?;
        let value = self.read(vcpu, register)?.to_le_bytes();
        let into = buf.get_mut(..register.bytes).ok_or(TargetError::NonFatal)?;
        into.copy_from_slice(&value[..register.bytes]);
        Ok(register.bytes)
    }

    fn write_register(
        &mut self,
        tid: Tid,
        RegisterNumber(id): RegisterNumber,
        val: &[u8],
    ) -> TargetResult<(), Self> {
        let vcpu = self.asked(tid)?;
        let register = self.registers.find(id).ok_or(TargetError::NonFatal)?;
        if val.len() != register.bytes {
            return Err(TargetError::Errno(EINVAL));
        }
        self.write(vcpu, register, number(val))
    }
}

impl ThreadExtraInfo for DebuggedMachine {
    fn thread_extra_info(&self, tid: Tid, buf: &mut [u8]) -> Result<usize, Infallible> {
        let Some(vcpu) = self.vcpu(tid) else {
            return Ok(0);
        };
        let doing = match self.target.is_idle(vcpu) {
            true => "waiting",
            false => "running",
        };
        let text = format!("CPU {}, {doing}", vcpu.0);
        let count = text.len().min(buf.len());
        buf[..count].copy_from_slice(&text.as_bytes()[..count]);
        Ok(count)
    }
}

impl MultiThreadResume for DebuggedMachine {
    fn resume(&mut self) -> Result<(), Infallible> {
        let otherwise = match self.locked {
            true => Resume::Stay,
            false => Resume::Continue,
        };
        let how: Vec<_> = self
            .actions
            .iter()
            .map(|action| action.unwrap_or(otherwise))
            .collect();
        self.apply_stops(&how);
        self.target.resume(&how);
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.actions.fill(None);
        self.locked = false;
        Ok(())
    }

    fn set_resume_action_continue(
        &mut self,
        tid: Tid,
        _signal: Option<Signal>,
    ) -> Result<(), Infallible> {
        self.set_action(tid, Resume::Continue);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for DebuggedMachine {
    fn set_resume_action_step(
        &mut self,
        tid: Tid,
        _signal: Option<Signal>,
    ) -> Result<(), Infallible> {
        self.set_action(tid, Resume::Step);
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for DebuggedMachine {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        self.locked = true;
        Ok(())
    }
}

impl Breakpoints for DebuggedMachine {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

/// Removes one equal element; whether there was one.
fn remove<T: PartialEq>(from: &mut Vec<T>, what: &T) -> bool {
    let at = from.iter().position(|known| known == what);
    at.map(|at| from.swap_remove(at)).is_some()
}

/// Inserts a request that is not there yet: a debugger may repeat one (GDB manual, E.2, `Z` packets).
fn insert<T: PartialEq>(into: &mut Vec<T>, what: T) {
    if !into.contains(&what) {
        into.push(what);
    }
}

impl SwBreakpoint for DebuggedMachine {
    fn add_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        insert(&mut self.software, GuestVirtAddr(addr));
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(remove(&mut self.software, &GuestVirtAddr(addr)))
    }
}

impl HwBreakpoint for DebuggedMachine {
    fn add_hw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        insert(&mut self.hardware, GuestVirtAddr(addr));
        Ok(true)
    }

    fn remove_hw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(remove(&mut self.hardware, &GuestVirtAddr(addr)))
    }
}

fn watchpoint(addr: u64, bytes: u64, kind: GdbWatchKind) -> Watchpoint {
    Watchpoint {
        addr: GuestVirtAddr(addr),
        bytes,
        kind: match kind {
            GdbWatchKind::Write => WatchKind::Write,
            GdbWatchKind::Read => WatchKind::Read,
            GdbWatchKind::ReadWrite => WatchKind::Access,
        },
    }
}

impl HwWatchpoint for DebuggedMachine {
    fn add_hw_watchpoint(
        &mut self,
        addr: u64,
        len: u64,
        kind: GdbWatchKind,
    ) -> TargetResult<bool, Self> {
        if len == 0 {
            return Ok(false);
        }
        insert(&mut self.watched, watchpoint(addr, len, kind));
        Ok(true)
    }

    fn remove_hw_watchpoint(
        &mut self,
        addr: u64,
        len: u64,
        kind: GdbWatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(remove(&mut self.watched, &watchpoint(addr, len, kind)))
    }
}
