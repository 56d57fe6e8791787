//! One virtual CPU's thread: runs it, has the firmware answer its calls, halts and restarts it on the machine's order.

use std::fmt::Write as _;
use std::sync::Arc;

use vm_core::{Resume, Shutdown, StopCause, VcpuId, VmExit};
use vm_frontend::Guest;

use super::board::{Answer, Board, Firmware, Inspect};
use super::config::Outcome;
use super::control::{Event, Order};
use super::shared::{Shared, SharedVcpu, locked};

type Entry<B> = <<B as Board>::Firmware as Firmware<B>>::Entry;

/// Whether a virtual CPU executes.
#[derive(Clone, Copy)]
enum Power<E> {
    On,
    /// Until the firmware is told to start it.
    Off,
    /// Until an interrupt wakes it, which lets it go on so.
    Suspended(E),
}

/// The thread of one virtual CPU.
pub(super) struct VcpuThread<B: Board> {
    shared: Arc<Shared<B>>,
    id: VcpuId,
    vcpu: SharedVcpu<B::Guest>,
    /// Resets seen.
    generation: u64,
    power: Power<Entry<B>>,
}

impl<B: Board> VcpuThread<B> {
    /// Takes a virtual CPU, which is put into its state after power-on.
    pub(super) fn new(shared: Arc<Shared<B>>, vcpu: SharedVcpu<B::Guest>) -> Self {
        let mut unlocked = locked(&vcpu);
        shared.board.power_on(&mut unlocked);
        let id = unlocked.id();
        drop(unlocked);
        let mut thread = Self {
            shared,
            id,
            vcpu,
            generation: 0,
            power: Power::Off,
        };
        thread.power_on();
        thread
    }

    pub(super) fn id(&self) -> VcpuId {
        self.id
    }

    fn power_on(&mut self) {
        self.power = match self.shared.board.starts(self.id) {
            true => Power::On,
            false => Power::Off,
        };
    }

    /// Runs until the machine is taken apart.
    pub(super) fn run(mut self) {
        while let Some(how) = self.obey() {
            let executes = match self.power {
                Power::On => true,
                Power::Off => self.wait_for_start(how),
                Power::Suspended(entry) => self.wait_for_wake(entry, how),
            };
            if !executes {
                continue;
            }
            let exit = match how {
                Resume::Step => locked(&self.vcpu).step(),
                _ => self.run_or_trace(),
            };
            self.left(exit);
            if how == Resume::Step {
                self.stop_for_debugger(StopCause::Stepped(self.id));
            }
        }
    }

    fn run_or_trace(&self) -> VmExit {
        let mut vcpu = locked(&self.vcpu);
        let Some(trace) = &self.shared.trace else {
            return vcpu.run();
        };
        let mut tell = |state: &<B::Guest as Guest>::State| {
            let (pc, registers) = B::Guest::general_registers(state);
            trace.instruction(B::Guest::ARCH, self.id, pc, registers);
        };
        loop {
            match vcpu.step_traced(&mut tell) {
                VmExit::Stepped => {}
                exit => return exit,
            }
        }
    }

    fn stop_for_debugger(&self, cause: StopCause) {
        self.shared.control.stop_for_debugger(cause);
    }

    fn left(&mut self, exit: VmExit) {
        let vcpu = self.id;
        match exit {
            VmExit::FirmwareCall => self.firmware_call(),
            VmExit::Wedged { pc } => {
                let outcome = Outcome::Wedged { vcpu, pc };
                self.shared.control.raise(Event::End(outcome));
            }
            VmExit::Differs { pc } => {
                let outcome = Outcome::Differs { vcpu, pc };
                self.shared.control.raise(Event::End(outcome));
            }
            VmExit::Shutdown(why) => self.shut_down(why),
            VmExit::Breakpoint(_) => self.stop_for_debugger(StopCause::Breakpoint(vcpu)),
            VmExit::Watchpoint { addr, write } => {
                self.stop_for_debugger(StopCause::Watchpoint { vcpu, addr, write });
            }
            VmExit::Interrupted | VmExit::Stepped => {}
        }
    }

    /// A triple fault: tells why and what registers held, or resets the machine where that was the guest's way to ask for it.
    fn shut_down(&self, why: Shutdown) {
        let (vcpu, pc) = (self.id, why.pc);
        if why.is_reset {
            return self.shared.control.raise(Event::Reset);
        }
        let Shutdown { first, last, .. } = why;
        let mut told = format!(
            "CPU {} of the guest has shut down at {pc} by a triple fault: {first} could not be delivered, nor the double \
             fault that came of that: {last}; registers:",
            vcpu.0
        );
        let held = locked(&self.vcpu);
        for (n, name) in B::Guest::SHUTDOWN_REGISTERS.iter().enumerate() {
            let value = B::Guest::read_register(&self.shared.engine, &held, name);
            let space = if n.is_multiple_of(4) { "\n " } else { "" };
            let _ = write!(told, "{space} {name:>6} {:016x}", value.unwrap_or_default());
        }
        drop(held);
        self.shared.notices.say(&told);
        let outcome = Outcome::TripleFault { vcpu, pc };
        self.shared.control.raise(Event::End(outcome));
    }

    /// Halts while told to; `None` when the thread is to end.
    fn obey(&mut self) -> Option<Resume> {
        let at = self.id.0 as usize;
        let bit = 1 << self.id.0;
        let control = &self.shared.control;
        let mut orders = control.lock();
        loop {
            let stays = orders.resume[at] == Resume::Stay;
            match orders.order {
                Order::Quit => return None,
                Order::Run if !stays => break,
                Order::Run | Order::Park => {}
            }
            if orders.parked & bit == 0 {
                orders.parked |= bit;
                control.notify();
            }
            orders = control.wait(orders);
        }
        let (how, generation) = (orders.resume[at], orders.generation);
        drop(orders);
        if generation != self.generation {
            self.generation = generation;
            self.power_on();
        }
        Some(how)
    }

    /// Waits for the firmware to start this virtual CPU; false when the machine wants something else. There is no
    /// instruction to step to before, so a step ends at once.
    fn wait_for_start(&mut self, how: Resume) -> bool {
        let shared = self.shared.clone();
        let Some(firmware) = shared.board.firmware() else {
            return true;
        };
        let mut orders = shared.control.lock();
        loop {
            if orders.order != Order::Run || orders.resume[self.id.0 as usize] == Resume::Stay {
                return false;
            }
            if let Some(entry) = firmware.take_start(self.id) {
                drop(orders);
                firmware.enter(&shared, &mut locked(&self.vcpu), entry);
                self.power = Power::On;
                return true;
            }
            if how == Resume::Step {
                drop(orders);
                self.stop_for_debugger(StopCause::Stepped(self.id));
                return false;
            }
            orders = shared.control.wait(orders);
        }
    }

    /// Sleeps until an interrupt ends the suspension; false when the machine wants something else, which does not end
    /// it. There is no instruction to step to before, so a step ends at once.
    fn wait_for_wake(&mut self, entry: Entry<B>, how: Resume) -> bool {
        let shared = self.shared.clone();
        let Some(firmware) = shared.board.firmware() else {
            return true;
        };
        let vcpu = self.vcpu.clone();
        let mut vcpu = locked(&vcpu);
        if how != Resume::Step {
            vcpu.wait_for_interrupt();
        }
        if !B::Guest::wakes(vcpu.state(), vcpu.shared().lines()) {
            if how != Resume::Step {
                // It came back for an order to stop. This takes the order and executes nothing.
                vcpu.run();
                return false;
            }
            drop(vcpu);
            self.stop_for_debugger(StopCause::Stepped(self.id));
            return false;
        }
        firmware.enter(&shared, &mut vcpu, entry);
        self.power = Power::On;
        true
    }

    fn firmware_call(&mut self) {
        let shared = self.shared.clone();
        let Some(firmware) = shared.board.firmware() else {
            return;
        };
        let answer = firmware.call(&shared, &mut locked(&self.vcpu));
        match answer {
            Answer::Return => {}
            Answer::Off => self.power = Power::Off,
            Answer::Suspend(entry) => self.power = Power::Suspended(entry),
            Answer::Raise(event) => shared.control.raise(event),
        }
    }
}
