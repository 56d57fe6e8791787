//! Interrupts from outside, HLT, INIT and start-up (Intel SDM 3A, 7.8, 7.9, 10.1 and 9.4).

use super::deliver::{Event, Source, settle};
use super::exception::exception;
use super::fields::{activity, flag, shadow, vector};
use super::reset;
use crate::guest::Exception;
use crate::guest::{Raised, Request};
use crate::x86::helpers::Cpu;
use crate::x86::line;
use crate::x86::state::CpuState;

const fn bit(line: u32) -> u64 {
    1 << line
}

/// What is to be delivered next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Init,
    Startup,
    /// A start-up interrupt that nobody waits for.
    LateStartup,
    Debug,
    Nmi,
    Interrupt,
}

/// What is most urgent, if anything (Intel SDM 3A, table 7-2).
fn due(state: &CpuState, lines: u64) -> Option<Due> {
    let high = |line| lines & bit(line) != 0;
    if high(line::INIT) {
        return Some(Due::Init);
    }
    let waits = state.activity & activity::WAIT_FOR_STARTUP != 0;
    if high(line::STARTUP) {
        return Some(if waits {
            Due::Startup
        } else {
            Due::LateStartup
        });
    }
    if waits {
        return None;
    }
    if state.pending_debug != 0 && state.shadow & shadow::DEBUG == 0 {
        return Some(Due::Debug);
    }
    // As on processors that let NMIs wait behind MOV SS.
    if state.shadow & shadow::DEBUG == 0
        && high(line::NMI)
        && state.activity & activity::NMI_BLOCKED == 0
    {
        return Some(Due::Nmi);
    }
    let open = state.system_flags & flag::IF != 0 && state.shadow == 0;
    (open && high(line::INTR)).then_some(Due::Interrupt)
}

/// Whether [`take`] would find something.
pub(super) fn is_due(state: &CpuState, lines: u64) -> bool {
    due(state, lines).is_some()
}

/// Whether the processor does nothing until [`is_due`].
pub(super) fn rests(state: &CpuState) -> bool {
    state.activity & (activity::HALTED | activity::WAIT_FOR_STARTUP) != 0
}

/// Delivers what is most urgent.
pub(super) fn take(cpu: &mut Cpu<'_>, lines: u64) -> Option<Raised> {
    match due(cpu.state, lines)? {
        Due::Init => {
            cpu.env.set_lines(0, bit(line::INIT));
            reset::init(cpu);
            Some(Raised::Taken)
        }
        Due::Startup => {
            cpu.env.set_lines(0, bit(line::STARTUP));
            let page = cpu.env.take_startup()?;
            reset::start(cpu.state, u64::from(page));
            cpu.env.state_changed();
            Some(Raised::Taken)
        }
        Due::LateStartup => {
            cpu.env.set_lines(0, bit(line::STARTUP));
            cpu.env.take_startup();
            None
        }
        Due::Debug => {
            let why = std::mem::take(&mut cpu.state.pending_debug);
            super::debug::note(cpu.state, why);
            let trap = exception(vector::DB, why);
            Some(settle(
                cpu,
                event_at(cpu.state, vector::DB, Source::Exception),
                Some(trap),
            ))
        }
        Due::Nmi => {
            cpu.env.set_lines(0, bit(line::NMI));
            cpu.state.activity |= activity::NMI_BLOCKED;
            Some(settle(
                cpu,
                event_at(cpu.state, vector::NMI, Source::External),
                None,
            ))
        }
        Due::Interrupt => {
            let number = cpu.env.acknowledge_interrupt()?;
            Some(settle(
                cpu,
                event_at(cpu.state, number as u8, Source::External),
                None,
            ))
        }
    }
}

/// An event between two instructions.
fn event_at(state: &CpuState, vector: u8, source: Source) -> Event {
    Event {
        vector,
        error: None,
        source,
        pc: state.common.pc,
        resume: false,
    }
}

/// `halt`: HLT.
pub(super) fn halt(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    cpu.state.activity |= activity::HALTED;
    cpu.state.shadow = 0;
    cpu.env.state_changed();
    Ok(0)
}

/// `pause`: a loop that waits for another processor (Intel SDM 2B, "PAUSE").
pub(super) fn pause(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    cpu.env.request(Request::Yield);
    Ok(0)
}
