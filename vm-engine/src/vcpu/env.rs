//! What helpers get: timers, lines, flushes, requests.

#![allow(unsafe_code)]

use std::sync::Arc;

use vm_core::{GuestVirtAddr, VcpuId};
use vm_frontend::{Access, Exception, FlushScope, Guest, Request, SysEnv};
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
        let engine = self.engine.clone();
        let retired = self.common().retired;
        let state = self.frame.as_ptr();
        self.stale = true;
        let mut env = Env {
            vcpu: self,
            retired,
        };
        // SAFETY: as in `call_helper`.
        let result = f(unsafe { &mut (*state).state }, &engine.config, &mut env);
        self.requests.clear();
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
}

impl<G: Guest> Vcpu<G> {
    /// Raises interrupt line `line` from `deadline` ticks on; until then, and when disarmed, it is low.
    pub fn set_timer(&mut self, line: u32, deadline: Option<u64>) {
        let engine = &*self.engine;
        self.shared
            .set_timer(line, deadline, &engine.time, &*engine.alarms);
    }
}
