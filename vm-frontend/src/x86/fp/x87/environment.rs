//! Control and environment (Intel SDM 1, 8.1.5 to 8.1.10, 8.3.11).

use vm_core::{AccessWidth, GuestVirtAddr, PAGE_BYTES};
use vm_ir::ExceptionCode;

use super::special::{Kind, class};
use super::{CONTROL_INIT, Unit, status};
use crate::guest::{Access, Exception, View};
use crate::x86::helpers::Cpu;
use crate::x86::state::CpuState;

/// The control bits that there are; bit 6 reads as one.
const CONTROL_BITS: u64 = 0x1f3f;
/// Masks of all exceptions.
const ALL_MASKED: u64 = 0x3f;

/// Layouts of the environment, as bits.
pub(in crate::x86::fp) mod layout {
    /// Fields of 32 bits instead of 16.
    pub(crate) const LONG: i64 = 1;
    /// Addresses with selectors instead of linear ones.
    pub(crate) const PROTECTED: i64 = 2;
}

/// Puts the unit into its initial state (FNINIT).
pub(in crate::x86::fp) fn initialize(state: &mut CpuState) {
    state.x87_control = CONTROL_INIT;
    state.x87_status = 0;
    state.x87_tags = 0;
    state.x87_last = [0; 3];
}

/// Sets the control word.
pub(in crate::x86::fp) fn set_control(state: &mut CpuState, value: u64) {
    state.x87_control = value & CONTROL_BITS | 0x40;
    Unit { state }.renew_summary();
}

/// The tag word with two bits for each physical register (Intel SDM 1, 8.1.7).
pub(in crate::x86::fp) fn full_tags(state: &CpuState) -> u64 {
    (0..8).fold(0, |tags, n| {
        let [significand, high] = state.x87[n];
        let tag = if state.x87_tags >> n & 1 == 0 {
            3
        } else {
            match class(u128::from(high & 0xffff) << 64 | u128::from(significand)) {
                Kind::Normal => 0,
                Kind::Zero => 1,
                _ => 2,
            }
        };
        tags | tag << (2 * n)
    })
}

/// Which registers are not empty, of the tag word with two bits.
fn short_tags(tags: u64) -> u64 {
    (0..8).fold(0, |short, n| {
        short | u64::from(tags >> (2 * n) & 3 != 3) << n
    })
}

/// Helper: FNINIT.
pub(in crate::x86::fp) fn init(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    initialize(cpu.state);
    Ok(0)
}

/// Helper: FNCLEX.
pub(in crate::x86::fp) fn clear(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    cpu.state.x87_status &= !(0xff | status::BUSY);
    Ok(0)
}

/// Helper: FLDCW.
pub(in crate::x86::fp) fn load_control(
    cpu: &mut Cpu<'_>,
    [value, ..]: [u64; 3],
) -> Result<u64, Exception> {
    set_control(cpu.state, value);
    Ok(0)
}

/// Helper: FWAIT where CR0.TS is set: #NM with CR0.MP, else the exception that is pending.
pub(in crate::x86::fp) fn wait(cpu: &mut Cpu<'_>, _: [u64; 3]) -> Result<u64, Exception> {
    const MONITOR: u64 = 1 << 1;
    let vector = match cpu.state.cr0 & MONITOR {
        0 if cpu.state.x87_status & status::SUMMARY == 0 => return Ok(0),
        0 => 16,
        _ => 7,
    };
    Err(Exception {
        code: ExceptionCode(vector),
        value: 0,
    })
}

/// The seven fields: control, status, tags, instruction's address, selector or rest and opcode, operand's address, selector
/// or rest. Bytes of each, too.
fn fields(state: &CpuState, layout: u64) -> ([u64; 7], u64) {
    let long = layout as i64 & layout::LONG != 0;
    let protected = layout as i64 & layout::PROTECTED != 0;
    let [opcode, code, data] = state.x87_last;
    let split = |pointer: u64| (pointer & 0xffff_ffff_ffff, pointer >> 48);
    let ((ip, cs), (dp, ds)) = (split(code), split(data));
    let bytes = if long { 4 } else { 2 };
    let reserved = if long { 0xffff_0000 } else { 0 };
    let linear = |offset: u64, selector: u64| offset.wrapping_add(selector << 4);
    let (code, data) = (linear(ip, cs), linear(dp, ds));
    let [a, b, c, d] = match (long, protected) {
        (true, true) => [ip, cs | opcode << 16, dp, ds | reserved],
        (true, false) => [
            code & 0xffff | reserved,
            opcode & 0x7ff | (code >> 16 & 0xffff) << 12,
            data & 0xffff | reserved,
            (data >> 16 & 0xffff) << 12,
        ],
        (false, true) => [ip, cs, dp, ds],
        (false, false) => [
            code,
            (code >> 16 & 15) << 12 | opcode & 0x7ff,
            data,
            (data >> 16 & 15) << 12,
        ],
    };
    let words = [state.x87_control, state.x87_status, full_tags(state)];
    let [control, status, tags] = words.map(|word| word | reserved);
    ([control, status, tags, a, b, c, d], bytes)
}

fn set_fields(state: &mut CpuState, layout: u64, fields: [u64; 7]) {
    let long = layout as i64 & layout::LONG != 0;
    let protected = layout as i64 & layout::PROTECTED != 0;
    let [control, status_word, tags, a, b, c, d] = fields;
    let (code, data, opcode) = match (long, protected) {
        (true, true) => (a | b << 48, c | d << 48, b >> 16 & 0x7ff),
        (true, false) => (
            a & 0xffff | (b >> 12 & 0xffff) << 16,
            c & 0xffff | (d >> 12 & 0xffff) << 16,
            b & 0x7ff,
        ),
        (false, true) => (a | b << 48, c | d << 48, 0),
        (false, false) => (
            a | (b >> 12 & 15) << 16,
            c | (d >> 12 & 15) << 16,
            b & 0x7ff,
        ),
    };
    state.x87_status = status_word & 0xffff;
    state.x87_tags = short_tags(tags);
    state.x87_last = [opcode, code, data];
    set_control(state, control);
}

/// Checks that so many bytes can be written.
pub(in crate::x86::fp) fn probe(
    cpu: &mut Cpu<'_>,
    address: u64,
    bytes: u64,
) -> Result<(), Exception> {
    let (mut at, mut left) = (address, bytes);
    while left > 0 {
        let here = left.min(PAGE_BYTES - at % PAGE_BYTES);
        cpu.env
            .probe(cpu.state, GuestVirtAddr(at), here, Access::Write)?;
        at = at.wrapping_add(here);
        left -= here;
    }
    Ok(())
}

const fn width(bytes: u64) -> AccessWidth {
    match bytes {
        2 => AccessWidth::Half,
        4 => AccessWidth::Word,
        _ => AccessWidth::Double,
    }
}

/// Bytes of the environment.
const fn environment_bytes(layout: u64) -> u64 {
    if layout as i64 & layout::LONG != 0 {
        28
    } else {
        14
    }
}

fn store_environment(cpu: &mut Cpu<'_>, address: u64, layout: u64) -> Result<(), Exception> {
    let (fields, bytes) = fields(cpu.state, layout);
    for (n, field) in (0..).zip(fields) {
        let at = address.wrapping_add(n * bytes);
        cpu.env
            .store(cpu.state, at, width(bytes), field, View::Current)?;
    }
    Ok(())
}

fn load_environment(cpu: &mut Cpu<'_>, address: u64, layout: u64) -> Result<[u64; 7], Exception> {
    let bytes = environment_bytes(layout) / 7;
    let mut fields = [0; 7];
    for (n, field) in (0..).zip(&mut fields) {
        let at = address.wrapping_add(n * bytes);
        *field = cpu.env.load(cpu.state, at, width(bytes), View::Current)?;
    }
    Ok(fields)
}

/// Helper: stores the environment at an address, in a layout, and masks all exceptions (FNSTENV); with bit 8 of the layout
/// the registers behind it, and initializes the unit (FNSAVE).
pub(in crate::x86::fp) fn store(
    cpu: &mut Cpu<'_>,
    [address, layout, _]: [u64; 3],
) -> Result<u64, Exception> {
    let registers = layout & 0x100 != 0;
    let bytes = environment_bytes(layout);
    probe(cpu, address, bytes + if registers { 80 } else { 0 })?;
    store_environment(cpu, address, layout)?;
    if !registers {
        cpu.state.x87_control |= ALL_MASKED;
        Unit { state: cpu.state }.renew_summary();
        return Ok(0);
    }
    for n in 0..8 {
        let [low, high] = cpu.state.x87[Unit { state: cpu.state }.physical(n)];
        let at = address.wrapping_add(bytes + 10 * n as u64);
        cpu.env
            .store(cpu.state, at, AccessWidth::Double, low, View::Current)?;
        let at = at.wrapping_add(8);
        cpu.env
            .store(cpu.state, at, AccessWidth::Half, high, View::Current)?;
    }
    initialize(cpu.state);
    Ok(0)
}

/// Helper: loads the environment (FLDENV); with bit 8 of the layout the registers, too (FRSTOR).
pub(in crate::x86::fp) fn load(
    cpu: &mut Cpu<'_>,
    [address, layout, _]: [u64; 3],
) -> Result<u64, Exception> {
    let fields = load_environment(cpu, address, layout)?;
    let mut values = [[0; 2]; 8];
    if layout & 0x100 != 0 {
        for (n, value) in (0..).zip(&mut values) {
            let at = address.wrapping_add(environment_bytes(layout) + 10 * n);
            let low = cpu
                .env
                .load(cpu.state, at, AccessWidth::Double, View::Current)?;
            let at = at.wrapping_add(8);
            let high = cpu
                .env
                .load(cpu.state, at, AccessWidth::Half, View::Current)?;
            *value = [low, high];
        }
    }
    set_fields(cpu.state, layout, fields);
    if layout & 0x100 != 0 {
        for (n, value) in values.into_iter().enumerate() {
            let physical = Unit { state: cpu.state }.physical(n);
            cpu.state.x87[physical] = value;
        }
    }
    Ok(0)
}
