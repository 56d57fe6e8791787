//! PMU: performance counters (SBI, "Performance Monitoring Unit Extension").
//!
//! Counter 0 is the `cycle` register and counter 2 is `instret`; from [`FIRST_FIRMWARE`] on, counters are of what the
//! firmware itself does. There is no counter 1: `time` never stops.
//!
//! A counter that nobody has configured counts on, as after a reset.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vm_core::VcpuId;

use super::{HardwareCounter, Reply, Request, SbiError};

pub(super) const EID: u64 = 0x50_4d55;

const NUM_COUNTERS: u64 = 0;
const COUNTER_GET_INFO: u64 = 1;
const COUNTER_CONFIG_MATCHING: u64 = 2;
const COUNTER_START: u64 = 3;
const COUNTER_STOP: u64 = 4;
const COUNTER_FW_READ: u64 = 5;
const COUNTER_FW_READ_HI: u64 = 6;

/// Flags of `COUNTER_CONFIG_MATCHING`. Those that exclude privilege modes are hints, which are not taken.
const CONFIG_SKIP_MATCH: u64 = 1 << 0;
const CONFIG_CLEAR_VALUE: u64 = 1 << 1;
const CONFIG_AUTO_START: u64 = 1 << 2;
/// Flag of `COUNTER_START`: the counter begins with the value given.
const START_SET_INIT_VALUE: u64 = 1 << 0;
/// Flag of `COUNTER_STOP`: the counter belongs to no event any more.
const STOP_RESET: u64 = 1 << 0;

/// `(register, index)` of the counters that are registers of the hart.
const HARDWARE: [(usize, HardwareCounter, u64); 2] = [
    (0, HardwareCounter::Cycle, 0xc00),
    (2, HardwareCounter::Instret, 0xc02),
];
/// Width of those registers as `COUNTER_GET_INFO` gives it: bits less one.
const HARDWARE_WIDTH: u64 = 63;
/// The first counter of firmware events.
const FIRST_FIRMWARE: usize = 3;
const COUNTERS: usize = 19;
/// Bit of a counter's information that says that firmware counts it.
const INFO_FIRMWARE: u64 = 1 << 63;

/// `event_idx` of hardware events: type 0.
const EVENT_CPU_CYCLES: u64 = 1;
const EVENT_INSTRUCTIONS: u64 = 2;
/// Type of firmware events, in bits 16 to 19 of `event_idx`.
const TYPE_FIRMWARE: u64 = 15;

/// What the firmware counts; numbers are those of the specification's "firmware events".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Event {
    SetTimer = 5,
    IpiSent = 6,
    FenceISent = 8,
    SfenceVmaSent = 10,
    SfenceVmaAsidSent = 12,
}

impl Event {
    const ALL: [Self; 5] = [
        Self::SetTimer,
        Self::IpiSent,
        Self::FenceISent,
        Self::SfenceVmaSent,
        Self::SfenceVmaAsidSent,
    ];
    /// One more than the highest number.
    const END: usize = 13;
}

/// What a counter counts, and whether it does.
#[derive(Clone, Copy, Default)]
struct Counter {
    configured: bool,
    started: bool,
    /// Of a firmware counter.
    event: Option<Event>,
    /// Its value, less what the event's total was when it was started if it runs.
    value: u64,
}

#[derive(Default)]
struct Hart {
    /// How often each event has happened. Only the hart itself counts here.
    totals: [AtomicU64; Event::END],
    counters: Mutex<[Counter; COUNTERS]>,
}

impl Hart {
    fn counters(&self) -> MutexGuard<'_, [Counter; COUNTERS]> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn total(&self, event: Option<Event>) -> u64 {
        event.map_or(0, |event| {
            self.totals[event as usize].load(Ordering::Relaxed)
        })
    }
}

/// The counters of all harts.
pub(super) struct Pmu {
    harts: Box<[Hart]>,
}

impl std::fmt::Debug for Pmu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pmu").finish_non_exhaustive()
    }
}

impl Pmu {
    pub(super) fn new(harts: u32) -> Self {
        Self {
            harts: (0..harts).map(|_| Hart::default()).collect(),
        }
    }

    /// Counts something that `hart` had the firmware do.
    pub(super) fn count(&self, hart: VcpuId, event: Event) {
        self.harts[hart.0 as usize].totals[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counters of a hart as after power-on.
    pub(super) fn reset_hart(&self, hart: VcpuId) {
        let hart = &self.harts[hart.0 as usize];
        *hart.counters() = Default::default();
        for total in &hart.totals {
            total.store(0, Ordering::Relaxed);
        }
    }

    /// All counters as after power-on.
    pub(super) fn reset(&self) {
        (0..self.harts.len() as u32).for_each(|hart| self.reset_hart(VcpuId(hart)));
    }
}

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    let hart = &request.pmu.harts[request.caller.0 as usize];
    let value = match request.call.function {
        NUM_COUNTERS => COUNTERS as u64,
        COUNTER_GET_INFO => info(request.arg(0))?,
        COUNTER_CONFIG_MATCHING => configure(request, hart)?,
        COUNTER_START => start(request, hart)?,
        COUNTER_STOP => stop(request, hart)?,
        COUNTER_FW_READ => firmware_value(hart, request.arg(0))?,
        // Registers have 64 bits, so there is no upper half.
        COUNTER_FW_READ_HI => firmware_value(hart, request.arg(0)).map(|_| 0)?,
        _ => return Err(SbiError::NotSupported),
    };
    Ok(Reply::Value(value))
}

fn hardware(index: usize) -> Option<HardwareCounter> {
    HARDWARE
        .iter()
        .find(|(at, ..)| *at == index)
        .map(|(_, counter, _)| *counter)
}

fn exists(index: usize) -> bool {
    hardware(index).is_some() || (FIRST_FIRMWARE..COUNTERS).contains(&index)
}

fn info(index: u64) -> Result<u64, SbiError> {
    let index = index as usize;
    if let Some((.., csr)) = HARDWARE.iter().find(|(at, ..)| *at == index) {
        return Ok(csr | HARDWARE_WIDTH << 12);
    }
    match exists(index) {
        true => Ok(INFO_FIRMWARE),
        false => Err(SbiError::InvalidParam),
    }
}

/// The counters that a (base, mask) pair names; all of them exist.
fn named(request: &Request<'_>) -> Result<Vec<usize>, SbiError> {
    let (base, mask) = (request.arg(0), request.arg(1));
    let indexes: Option<Vec<usize>> = (0..64)
        .filter(|bit| mask >> bit & 1 != 0)
        .map(|bit| base.checked_add(bit).map(|index| index as usize))
        .collect();
    indexes
        .filter(|indexes| !indexes.is_empty() && indexes.iter().all(|&index| exists(index)))
        .ok_or(SbiError::InvalidParam)
}

/// Whether a counter can count an event; and which of the firmware's, if it is one.
fn matches(index: usize, event_idx: u64) -> Option<Option<Event>> {
    let (kind, code) = (event_idx >> 16 & 0xf, event_idx & 0xffff);
    match hardware(index) {
        Some(HardwareCounter::Cycle) => (event_idx == EVENT_CPU_CYCLES).then_some(None),
        Some(HardwareCounter::Instret) => (event_idx == EVENT_INSTRUCTIONS).then_some(None),
        None if kind == TYPE_FIRMWARE => Event::ALL
            .into_iter()
            .find(|event| *event as u64 == code)
            .map(Some),
        None => None,
    }
}

fn configure(request: &Request<'_>, hart: &Hart) -> Result<u64, SbiError> {
    let (flags, event_idx) = (request.arg(2), request.arg(3));
    let mut counters = hart.counters();
    let indexes = named(request)?;
    let found = if flags & CONFIG_SKIP_MATCH != 0 {
        // The event stays as it was configured.
        indexes.first().map(|&index| (index, counters[index].event))
    } else {
        let free = |index: &usize| !counters[*index].configured;
        let fits = |index: usize| Some((index, matches(index, event_idx)?));
        indexes.iter().copied().filter(free).find_map(fits)
    };
    let (index, event) = found.ok_or(SbiError::NotSupported)?;
    let counter = &mut counters[index];
    counter.configured = true;
    counter.event = event;
    if flags & CONFIG_CLEAR_VALUE != 0 {
        set(request, hart, index, counter, Some(0), counter.started);
    }
    if flags & CONFIG_AUTO_START != 0 {
        set(request, hart, index, counter, None, true);
    }
    Ok(index as u64)
}

/// Gives a counter a value, or keeps it, and starts or stops it.
fn set(
    request: &Request<'_>,
    hart: &Hart,
    index: usize,
    counter: &mut Counter,
    value: Option<u64>,
    runs: bool,
) {
    if let Some(register) = hardware(index) {
        request.host.set_counter(register, value, runs);
    } else {
        let total = hart.total(counter.event);
        let now = match counter.started {
            true => counter.value.wrapping_add(total),
            false => counter.value,
        };
        let value = value.unwrap_or(now);
        counter.value = match runs {
            true => value.wrapping_sub(total),
            false => value,
        };
    }
    counter.started = runs;
}

fn start(request: &Request<'_>, hart: &Hart) -> Result<u64, SbiError> {
    let flags = request.arg(2);
    let value = (flags & START_SET_INIT_VALUE != 0).then_some(request.arg(3));
    change(request, hart, SbiError::AlreadyStarted, |index, counter| {
        let stopped = !counter.started;
        if stopped {
            set(request, hart, index, counter, value, true);
        }
        stopped
    })
}

fn stop(request: &Request<'_>, hart: &Hart) -> Result<u64, SbiError> {
    let reset = request.arg(2) & STOP_RESET != 0;
    change(request, hart, SbiError::AlreadyStopped, |index, counter| {
        let started = counter.started;
        if started {
            set(request, hart, index, counter, None, false);
        }
        if reset && counter.configured {
            // Nobody's any more: as after a reset.
            if let Some(register) = hardware(index) {
                request.host.set_counter(register, None, true);
            }
            *counter = Counter::default();
        }
        started
    })
}

/// Changes all counters that the call names; `already` is the error when one was so before.
fn change(
    request: &Request<'_>,
    hart: &Hart,
    already: SbiError,
    mut one: impl FnMut(usize, &mut Counter) -> bool,
) -> Result<u64, SbiError> {
    let indexes = named(request)?;
    let mut counters = hart.counters();
    let mut all = true;
    for index in indexes {
        all &= one(index, &mut counters[index]);
    }
    if all { Ok(0) } else { Err(already) }
}

fn firmware_value(hart: &Hart, index: u64) -> Result<u64, SbiError> {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    if !(FIRST_FIRMWARE..COUNTERS).contains(&index) {
        return Err(SbiError::InvalidParam);
    }
    let counter = hart.counters()[index];
    Ok(match counter.started {
        true => counter.value.wrapping_add(hart.total(counter.event)),
        false => counter.value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{self, INVALID_PARAM, NOT_SUPPORTED, Rig};

    const TIME: u64 = 0x5449_4d45;
    const ALL: u64 = ((1 << COUNTERS) - 1) & !(1 << 1);
    const ALREADY_STARTED: i64 = -7;
    const ALREADY_STOPPED: i64 = -8;

    #[test]
    fn counters_are_the_hart_s_registers_and_the_firmware_s_own() {
        let rig = Rig::new(1);
        assert_eq!(rig.call(0, EID, 0, &[]), (0, COUNTERS as u64));
        let info = |index| rig.call(0, EID, 1, &[index]);
        assert_eq!(info(0), (0, 0x3f_c00));
        assert_eq!(info(1), (INVALID_PARAM, 0), "time is no counter");
        assert_eq!(info(2), (0, 0x3f_c02));
        assert_eq!(info(3), (0, 1 << 63));
        assert_eq!(info(18), (0, 1 << 63));
        assert_eq!(info(19), (INVALID_PARAM, 0));
    }

    #[test]
    fn hardware_events_find_their_register_and_drive_it() {
        let rig = Rig::new(1);
        let find = |event| rig.call(0, EID, 2, &[0, ALL, 0, event, 0]);
        assert_eq!(find(EVENT_CPU_CYCLES), (0, 0));
        assert_eq!(find(EVENT_INSTRUCTIONS), (0, 2));
        assert_eq!(find(EVENT_CPU_CYCLES), (NOT_SUPPORTED, 0), "it is taken");
        assert_eq!(find(3), (NOT_SUPPORTED, 0), "cache references");
        assert_eq!(rig.call(0, EID, 3, &[0, 0b101, 1, 77]), (0, 0));
        assert_eq!(rig.call(0, EID, 3, &[0, 1, 0, 0]), (ALREADY_STARTED, 0));
        assert_eq!(rig.call(0, EID, 4, &[2, 1, 0]), (0, 0));
        assert_eq!(rig.call(0, EID, 4, &[2, 1, 0]), (ALREADY_STOPPED, 0));
        assert_eq!(rig.call(0, EID, 4, &[0, 1, STOP_RESET]), (0, 0));
        assert_eq!(find(EVENT_CPU_CYCLES), (0, 0), "free again");
        use HardwareCounter::{Cycle, Instret};
        use testing::Event::Counter;
        assert_eq!(
            rig.events(),
            [
                Counter(Cycle, Some(77), true),
                Counter(Instret, Some(77), true),
                Counter(Instret, None, false),
                Counter(Cycle, None, false),
                Counter(Cycle, None, true),
            ]
        );
    }

    #[test]
    fn firmware_events_count_while_started() {
        let rig = Rig::new(2);
        let set_timer = || rig.call(0, TIME, 0, &[5]);
        let event = TYPE_FIRMWARE << 16 | Event::SetTimer as u64;
        set_timer();
        assert_eq!(rig.call(0, EID, 2, &[0, ALL, 0, event, 0]), (0, 3));
        let read = || rig.call(0, EID, 5, &[3]);
        assert_eq!(read(), (0, 0));
        assert_eq!(rig.call(0, EID, 3, &[3, 1, 1, 100]), (0, 0));
        set_timer();
        set_timer();
        rig.call(1, TIME, 0, &[5]);
        assert_eq!(read(), (0, 102));
        assert_eq!(rig.call(0, EID, 4, &[3, 1, 0]), (0, 0));
        set_timer();
        assert_eq!(read(), (0, 102));
        assert_eq!(rig.call(0, EID, 3, &[3, 1, 0, 0]), (0, 0));
        set_timer();
        assert_eq!(read(), (0, 103));
        assert_eq!(rig.call(0, EID, 6, &[3]), (0, 0));
        let unknown = TYPE_FIRMWARE << 16 | 0x3f;
        assert_eq!(
            rig.call(0, EID, 2, &[0, ALL, 0, unknown, 0]),
            (NOT_SUPPORTED, 0)
        );
    }

    #[test]
    fn sets_with_counters_that_do_not_exist_are_invalid() {
        let rig = Rig::new(1);
        for (base, mask) in [(0, 0b10), (19, 1), (0, 0), (u64::MAX, 0b11), (1 << 40, 1)] {
            for function in [2, 3, 4] {
                let answer = rig.call(0, EID, function, &[base, mask, 0, 1, 0]);
                assert_eq!(answer, (INVALID_PARAM, 0), "{base} {mask:#b} {function}");
            }
        }
        for index in [0, 1, 19, u64::MAX] {
            assert_eq!(rig.call(0, EID, 5, &[index]), (INVALID_PARAM, 0));
        }
        // No memory is shared, so there is nothing to take a snapshot to.
        assert_eq!(rig.call(0, EID, 7, &[0, 0, 0]), (NOT_SUPPORTED, 0));
    }
}
