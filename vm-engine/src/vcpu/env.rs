//! What helpers get: timers, lines, flushes, requests.

#![allow(unsafe_code)]

use std::sync::Arc;

use vm_core::{AccessWidth, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES, VcpuId};
use vm_frontend::{Access, AddressSpace, Exception, FlushScope, Guest, Request, SysEnv, View};
use vm_ir::HelperId;

use super::Vcpu;

impl<G: Guest> Vcpu<G> {
    pub(crate) fn call_helper(
        &mut self,
        helper: u16,
        args: [u64; 3],
        left: u64,
    ) -> Result<u64, Exception> {
        if self.rehearsal_table().is_none() {
            self.helper_calls[usize::from(helper)] += 1;
        }
        // SAFETY: this virtual CPU keeps its engine, and nobody replaces it while a helper runs.
        let engine = unsafe { &*Arc::as_ptr(&self.engine) };
        let retired = self.common().retired.wrapping_sub(left);
        let state = self.frame.as_ptr();
        let mut env = Env {
            vcpu: self,
            retired,
        };
        // SAFETY: nothing else refers to the state while the helper runs: `Env` gets it from the helper.
        let state = unsafe { &mut (*state).state };
        G::call(state, &engine.config, &mut env, HelperId(helper), args)
    }

    /// Gives what helpers get to code that inspects or changes control registers between runs.
    pub fn with_env<R>(
        &mut self,
        f: impl FnOnce(&mut G::State, &G::Config, &mut dyn SysEnv<G::State>) -> R,
    ) -> R {
        self.stale = true;
        let result = self.in_env(f);
        self.requests.clear();
        result
    }

    /// The same, between blocks.
    pub(super) fn in_env<R>(
        &mut self,
        f: impl FnOnce(&mut G::State, &G::Config, &mut dyn SysEnv<G::State>) -> R,
    ) -> R {
        // SAFETY: as in `call_helper`.
        let engine = unsafe { &*Arc::as_ptr(&self.engine) };
        let retired = self.common().retired;
        let state = self.frame.as_ptr();
        // No block runs that a store could change under itself.
        let alone = std::mem::replace(&mut self.runs_one, true);
        let mut env = Env {
            vcpu: self,
            retired,
        };
        // SAFETY: as in `call_helper`.
        let result = f(unsafe { &mut (*state).state }, &engine.config, &mut env);
        self.runs_one = alone;
        result
    }
}

/// What helpers get.
struct Env<'a, G: Guest> {
    vcpu: &'a mut Vcpu<G>,
    retired: u64,
}

impl<G: Guest> SysEnv<G::State> for Env<'_, G> {
    fn vcpu(&self) -> VcpuId {
        self.vcpu.id()
    }

    fn time(&self) -> u64 {
        self.vcpu.time()
    }

    fn lines(&self) -> u64 {
        self.vcpu.lines_in_block()
    }

    fn set_lines(&mut self, set: u64, clear: u64) {
        self.vcpu.shared.set_lines(set, clear);
    }

    fn set_timer(&mut self, line: u32, deadline: Option<u64>) {
        self.vcpu.set_timer(line, deadline);
    }

    fn flush(&mut self, scope: FlushScope) {
        self.vcpu.flush(scope);
    }

    fn state_changed(&mut self) {
        self.vcpu.stale = true;
    }

    fn request(&mut self, request: Request) {
        self.vcpu.requests.push(request);
    }

    fn zero(&mut self, state: &G::State, addr: GuestVirtAddr, bytes: u64) -> Result<(), Exception> {
        self.vcpu.zero(state, addr, bytes)
    }

    fn probe(
        &mut self,
        state: &G::State,
        addr: GuestVirtAddr,
        bytes: u64,
        access: Access,
    ) -> Result<(), Exception> {
        self.vcpu.probe(state, addr, bytes, access)
    }

    fn retired(&self) -> u64 {
        self.retired
    }

    fn random(&mut self) -> u64 {
        self.vcpu.random()
    }

    fn load(
        &mut self,
        state: &G::State,
        addr: u64,
        width: AccessWidth,
        view: View,
    ) -> Result<u64, Exception> {
        if view == View::Physical {
            return Ok(self.vcpu.load_physical(addr, width));
        }
        self.vcpu.with_rights(state, view, |vcpu| {
            let value = vcpu.load(addr, width.bytes().trailing_zeros() as u8)?;
            Ok(value[0])
        })
    }

    fn store(
        &mut self,
        state: &G::State,
        addr: u64,
        width: AccessWidth,
        value: u64,
        view: View,
    ) -> Result<(), Exception> {
        if view == View::Physical {
            self.vcpu.store_physical(addr, width, value);
            return Ok(());
        }
        self.vcpu.with_rights(state, view, |vcpu| {
            let size_log2 = width.bytes().trailing_zeros() as u8;
            vcpu.store(addr, size_log2, [value & width.mask(), 0])
        })
    }

    fn copy_bytes(&mut self, _: &G::State, to: u64, from: u64, bytes: u64) -> u64 {
        self.vcpu.copy_bytes(to, from, bytes)
    }

    fn fill_bytes(&mut self, _: &G::State, addr: u64, pattern: u64, bytes: u64) -> u64 {
        self.vcpu.fill_bytes(addr, pattern, bytes)
    }

    fn load_bytes(&mut self, _: &G::State, addr: u64, into: &mut [u8]) -> usize {
        self.vcpu.load_bytes(addr, into)
    }

    fn port_read(&mut self, port: u16, width: AccessWidth) -> u64 {
        self.vcpu.port_read(port, width)
    }

    fn port_write(&mut self, port: u16, width: AccessWidth, value: u64) {
        self.vcpu.port_write(port, width, value & width.mask());
    }

    fn acknowledge_interrupt(&mut self) -> Option<u32> {
        self.vcpu.acknowledge_interrupt()
    }

    fn take_startup(&mut self) -> Option<u32> {
        self.vcpu.take_startup()
    }

    fn init_local_irq(&mut self) {
        if let Some(controller) = &self.vcpu.local_irq {
            controller.init();
        }
    }

    fn local_irq_read(&mut self, register: u32) -> Option<u64> {
        self.vcpu.local_irq_read(register)
    }

    fn local_irq_write(&mut self, register: u32, value: u64) -> bool {
        self.vcpu.local_irq_write(register, value)
    }
}

impl<G: Guest> Vcpu<G> {
    /// Raises interrupt line `line` from `deadline` ticks on; until then, and when disarmed, it is low.
    pub fn set_timer(&mut self, line: u32, deadline: Option<u64>) {
        let engine = &*self.engine;
        self.shared
            .set_timer(line, deadline, &engine.time, &*engine.alarms);
    }
}

impl<G: Guest> Vcpu<G> {
    /// Does what `f` says with the rights of `view`.
    fn with_rights<R>(
        &mut self,
        state: &G::State,
        view: View,
        f: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let space = AddressSpace {
            data_mode: G::data_mode(state, view),
            ..G::address_space(state)
        };
        let before = (self.space, self.view);
        (self.space, self.view) = (space, view);
        let result = f(self);
        (self.space, self.view) = before;
        if before.0 != space {
            // What was reached has made the other table the one in use.
            self.enter_table();
        }
        result
    }

    fn load_physical(&mut self, addr: u64, width: AccessWidth) -> u64 {
        let mut bytes = [0; 8];
        let bytes_read = &mut bytes[..width.bytes() as usize];
        let phys = GuestPhysAddr(addr);
        match self.engine.map.find(phys, false) {
            Some(found) if found.read(bytes_read).is_ok() => u64::from_le_bytes(bytes),
            _ => self.bus_read(addr, width).unwrap_or(width.mask()),
        }
    }

    fn store_physical(&mut self, addr: u64, width: AccessWidth, value: u64) {
        let bytes = &value.to_le_bytes()[..width.bytes() as usize];
        let phys = GuestPhysAddr(addr);
        let found = self.engine.map.find(phys, true);
        if found.is_none_or(|found| found.write(bytes).is_err()) {
            self.bus_write(addr, width, value & width.mask());
        }
    }

    /// Bytes from `addr` on that lie in its page, `bytes` at most.
    pub(super) fn in_page(addr: u64, bytes: u64) -> u64 {
        bytes.min(PAGE_BYTES - GuestVirtAddr(addr).page_offset())
    }
}
