//! The built-in SBI as the firmware of the machine: what its calls do to harts, memory and the console.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_boot::sbi::{
    FenceRange, HardwareCounter, HartEntry, HartSet, HsmState, MachineIds, RemoteFence,
    ResetAction, Sbi, SbiCall, SbiHost, SbiOutcome, Wake,
};
use vm_core::{GuestVirtAddr, PAGE_BYTES, VcpuId};
use vm_device::serial::ns16550::Ns16550;
use vm_engine::{Remote, Vcpu, VcpuShared};
use vm_frontend::FlushScope;
use vm_frontend::riscv::sys::{Riscv, csr};
use vm_mem::GuestMemory;

use super::board::Virt;
use super::wiring::line;
use crate::machine::Outcome;
use crate::machine::board::{Answer, Board as _, Firmware};
use crate::machine::control::Event;
use crate::machine::shared::Shared;

/// Numbers of the counters' registers (RISC-V Privileged, 2.2).
const MCYCLE: u16 = 0xb00;
const MINSTRET: u16 = 0xb02;
const MCOUNTINHIBIT: u16 = 0x320;
/// Pages beyond which a fence of a range becomes a fence of everything.
const MOST_PAGES_FENCED: u64 = 64;

/// The built-in SBI.
pub(super) struct BuiltinSbi {
    sbi: Sbi,
    /// Where characters are typed, once it is placed.
    input: Option<Arc<Ns16550>>,
}

impl BuiltinSbi {
    /// For so many harts, of which the first boots.
    pub(super) fn new(harts: u32) -> Self {
        Self {
            sbi: Sbi::new(harts, VcpuId(0)),
            input: None,
        }
    }

    /// Has its console calls read what is typed at the serial port.
    pub(super) fn read_from(&mut self, port: Arc<Ns16550>) {
        self.input = Some(port);
    }
}

impl Firmware<Virt> for BuiltinSbi {
    type Entry = Wake;

    fn call(&self, machine: &Shared<Virt>, vcpu: &mut Vcpu<Riscv>) -> Answer<Wake> {
        let hart = vcpu.id();
        let registers: [u64; 8] = vcpu.state().x[10..18]
            .try_into()
            .expect("invariant: eight registers");
        let host = Host {
            sbi: self,
            machine,
            vcpu: Mutex::new(vcpu),
        };
        let outcome = self
            .sbi
            .handle(&host, hart, SbiCall::from_registers(registers));
        match outcome {
            SbiOutcome::Return { a0, a1 } => {
                let state = vcpu.state_mut();
                state.x[10] = a0;
                if let Some(a1) = a1 {
                    state.x[11] = a1;
                }
                Answer::Return
            }
            SbiOutcome::Stop => {
                self.sbi.harts().stopped(hart);
                Answer::Off
            }
            SbiOutcome::Suspend(wake) => Answer::Suspend(wake),
            SbiOutcome::Reset(reset) => Answer::Raise(match reset.action {
                ResetAction::PowerOff => Event::End(Outcome::PoweredOff),
                ResetAction::Reboot(_) => Event::Reset,
            }),
        }
    }

    fn take_start(&self, hart: VcpuId) -> Option<Wake> {
        self.sbi.harts().take_start(hart).map(Wake::Enter)
    }

    fn enter(&self, machine: &Shared<Virt>, vcpu: &mut Vcpu<Riscv>, wake: Wake) {
        // Of one that was started, not suspended, it changes nothing.
        self.sbi.harts().resumed(vcpu.id());
        match wake {
            Wake::Return => {
                let state = vcpu.state_mut();
                state.x[10] = 0;
                state.x[11] = 0;
            }
            Wake::Enter(entry) => enter_at(machine, vcpu, entry),
        }
    }

    fn is_idle(&self, hart: VcpuId) -> bool {
        let state = self.sbi.harts().state(hart);
        matches!(state, HsmState::Stopped | HsmState::Suspended)
    }

    fn reset(&self) {
        self.sbi.reset();
    }
}

/// Puts the hart at an HSM entry (SBI HSM, "Function: Hart start").
fn enter_at(machine: &Shared<Virt>, vcpu: &mut Vcpu<Riscv>, entry: HartEntry) {
    let hart = vcpu.id();
    let mut spec = machine.board.spec(hart);
    spec.entry = GuestVirtAddr(entry.pc.raw());
    vcpu.reset(spec);
    vcpu.shared().set_lines(0, 1 << line::SUPERVISOR_SOFTWARE);
    let state = vcpu.state_mut();
    state.x[10] = u64::from(hart.0);
    state.x[11] = entry.opaque;
}

/// The machine as the built-in SBI sees it during one call.
struct Host<'a> {
    sbi: &'a BuiltinSbi,
    machine: &'a Shared<Virt>,
    /// Never contended: the trait wants a value that threads could share.
    vcpu: Mutex<&'a mut Vcpu<Riscv>>,
}

impl<'a> Host<'a> {
    fn vcpu(&self) -> MutexGuard<'_, &'a mut Vcpu<Riscv>> {
        self.vcpu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, hart: VcpuId) -> Option<Arc<VcpuShared>> {
        let peers = self.machine.control.vcpus();
        peers.get(hart.0 as usize).cloned()
    }

    /// Fences of the pages of a range, or one of everything.
    fn scopes(range: FenceRange, asid: Option<u32>) -> Vec<FlushScope> {
        match range {
            FenceRange::Bytes { start, bytes } if bytes <= MOST_PAGES_FENCED * PAGE_BYTES => {
                let first = start.page_base();
                let pages = (start.page_offset() + bytes).div_ceil(PAGE_BYTES);
                let page = |n| FlushScope {
                    page: Some(first.wrapping_add(n * PAGE_BYTES)),
                    asid,
                };
                (0..pages).map(page).collect()
            }
            _ => vec![FlushScope { page: None, asid }],
        }
    }
}

impl SbiHost for Host<'_> {
    fn memory(&self) -> &GuestMemory {
        self.machine.engine.memory()
    }

    fn machine_ids(&self) -> MachineIds {
        MachineIds::default()
    }

    fn set_timer(&self, _hart: VcpuId, deadline_ticks: u64) {
        self.vcpu()
            .set_timer(line::SUPERVISOR_TIMER, Some(deadline_ticks));
    }

    fn set_counter(&self, counter: HardwareCounter, value: Option<u64>, runs: bool) {
        let (register, inhibit) = match counter {
            HardwareCounter::Cycle => (MCYCLE, 1 << 0),
            HardwareCounter::Instret => (MINSTRET, 1 << 2),
        };
        self.vcpu().with_env(|state, config, env| {
            let inhibited = state.mcountinhibit;
            let inhibited = match runs {
                true => inhibited & !inhibit,
                false => inhibited | inhibit,
            };
            csr::poke(state, config, env, MCOUNTINHIBIT, inhibited);
            if let Some(value) = value {
                csr::poke(state, config, env, register, value);
            }
        });
    }

    fn send_ipi(&self, harts: HartSet) {
        for peer in harts.iter().filter_map(|hart| self.peer(hart)) {
            peer.set_lines(1 << line::SUPERVISOR_SOFTWARE, 0);
        }
    }

    fn clear_ipi(&self, hart: VcpuId) -> bool {
        let bit = 1 << line::SUPERVISOR_SOFTWARE;
        let Some(peer) = self.peer(hart) else {
            return false;
        };
        let pending = peer.lines() & bit != 0;
        peer.set_lines(0, bit);
        pending
    }

    fn remote_fence(&self, caller: VcpuId, fence: RemoteFence, harts: HartSet) {
        let targets: Vec<_> = harts.iter().filter_map(|hart| self.peer(hart)).collect();
        let mut vcpu = self.vcpu();
        match fence {
            RemoteFence::Instructions => vcpu.broadcast(&targets, &[Remote::SyncCode]),
            RemoteFence::Translation { range, asid } => {
                // The engine numbers spaces from 1, 0 being "no translation".
                let asid = asid.map(|asid| 1 + u32::from(asid.0));
                let scopes = Self::scopes(range, asid).into_iter().map(Remote::Flush);
                vcpu.broadcast(&targets, &Vec::from_iter(scopes));
            }
        }
        drop(vcpu);
        let others = harts.iter().filter(|hart| *hart != caller);
        self.machine.serve_for_halted(others);
    }

    fn wake_stopped(&self, _hart: VcpuId) {
        self.machine.control.wake_idle();
    }

    fn read_virtual(&self, _hart: VcpuId, addr: GuestVirtAddr) -> Option<u64> {
        let mut bytes = [0; 8];
        self.vcpu().debug_read(addr, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn console_write(&self, bytes: &[u8]) -> usize {
        self.machine.serial.write(bytes);
        bytes.len()
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        let port = self.sbi.input.as_ref();
        port.map_or(0, |port| port.take_received(into))
    }
}
