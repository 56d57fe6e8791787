//! Repeated string instructions, and those that reach ports (Intel SDM 2B, "REP/REPE/REPZ/REPNE/REPNZ").
//!
//! A call moves a bounded number of elements, so that interrupts are taken in between, and leaves RCX, RSI and RDI where the
//! instruction goes on, also when it faults.

use vm_core::{AccessWidth, GuestVirtAddr, PAGE_BYTES};
use vm_ir::{FlagKind, Type};

use crate::guest::{Access, Exception, View};
use crate::x86::helpers::Cpu;
use crate::x86::lift::{PORT_CHECK, PORT_IN, PORT_OUT, SEGMENT};
use crate::x86::state::gpr::{RAX, RCX, RDI, RDX, RSI};
use crate::x86::state::seg::{ES, FS, GS};

/// Bytes that a call moves at most.
const MOST_BYTES: u64 = 64 << 10;
/// Bytes that are compared at once at most.
const COMPARED_BYTES: usize = 256;
/// Elements that a call moves one by one at most.
const MOST_ELEMENTS: u64 = 1024;

/// What is done with each element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `movs`.
    Move,
    /// `stos`.
    Store,
    /// `lods`.
    Load,
    /// `cmps`.
    Compare,
    /// `scas`.
    Scan,
    /// `ins`.
    In,
    /// `outs`.
    Out,
}

/// How long it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// Once, without a count.
    No,
    /// As often as RCX says.
    Count,
    /// The same, while elements are equal.
    WhileEqual,
    /// The same, while elements differ.
    WhileNotEqual,
}

const KINDS: [Kind; 7] = [
    Kind::Move,
    Kind::Store,
    Kind::Load,
    Kind::Compare,
    Kind::Scan,
    Kind::In,
    Kind::Out,
];
const REPEATS: [Repeat; 4] = [
    Repeat::No,
    Repeat::Count,
    Repeat::WhileEqual,
    Repeat::WhileNotEqual,
];

/// What an instruction says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// What is done.
    pub kind: Kind,
    /// How long.
    pub repeat: Repeat,
    /// Bytes of an element.
    pub bytes: u8,
    /// Bytes of RCX, RSI and RDI.
    pub address_bytes: u8,
    /// The segment that RSI points into.
    pub source: u8,
    /// Both segments have base zero and no limit; in 64-bit code, unless the source is FS or GS.
    pub flat: bool,
    /// 64-bit code.
    pub is_64: bool,
    /// One element a call, for single steps.
    pub single: bool,
}

impl Request {
    /// As a helper's argument.
    pub fn pack(self) -> i64 {
        let flags = i64::from(self.flat) | i64::from(self.is_64) << 1 | i64::from(self.single) << 2;
        self.kind as i64
            | (self.repeat as i64) << 8
            | i64::from(self.bytes) << 16
            | i64::from(self.address_bytes) << 24
            | i64::from(self.source) << 32
            | flags << 40
    }

    fn unpack(packed: u64) -> Self {
        let field = |at: u32| (packed >> at) as u8;
        Self {
            kind: KINDS[usize::from(field(0)) % KINDS.len()],
            repeat: REPEATS[usize::from(field(8)) % REPEATS.len()],
            bytes: field(16),
            address_bytes: field(24),
            source: field(32),
            flat: field(40) & 1 != 0,
            is_64: field(40) & 2 != 0,
            single: field(40) & 4 != 0,
        }
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * u32::from(self.address_bytes.clamp(1, 8)))
    }

    fn element(self) -> u64 {
        self.bytes.into()
    }
}

/// `movs`, `stos`, `lods`, `cmps` and `scas`. Argument: a packed [`Request`]. 1 when the instruction is done, 0 when it
/// must be called again.
pub(super) fn memory(cpu: &mut Cpu<'_>, [packed, ..]: [u64; 3]) -> Result<u64, Exception> {
    // A comparison that faults has no flags, and those before it are gone with it.
    let flags = cpu.state.flags;
    run(cpu, Request::unpack(packed)).inspect_err(|_| cpu.state.flags = flags)
}

/// `ins` and `outs`, the same.
pub(super) fn ports(cpu: &mut Cpu<'_>, [packed, ..]: [u64; 3]) -> Result<u64, Exception> {
    run(cpu, Request::unpack(packed))
}

fn run(cpu: &mut Cpu<'_>, request: Request) -> Result<u64, Exception> {
    if request.repeat == Repeat::No {
        element(cpu, request)?;
        return Ok(1);
    }
    let (mut elements, mut bytes) = (0, 0);
    while count(cpu, request) != 0 {
        let moved = if request.single {
            0
        } else {
            in_bulk(cpu, request)?
        };
        // Flags are those of a single comparison, the last one.
        if moved == 0 || compares(request) {
            let equal = element(cpu, request)?;
            take(cpu, request, 1);
            elements += 1;
            let stops = match request.repeat {
                Repeat::No | Repeat::Count => false,
                Repeat::WhileEqual => !equal,
                Repeat::WhileNotEqual => equal,
            };
            if stops {
                return Ok(1);
            }
        }
        bytes += moved * request.element();
        if request.single || elements >= MOST_ELEMENTS || bytes >= MOST_BYTES {
            break;
        }
    }
    Ok((count(cpu, request) == 0).into())
}

fn compares(request: Request) -> bool {
    matches!(request.kind, Kind::Compare | Kind::Scan)
}

fn count(cpu: &Cpu<'_>, request: Request) -> u64 {
    cpu.state.gpr[RCX] & request.mask()
}

/// Takes elements off the count.
fn take(cpu: &mut Cpu<'_>, request: Request, elements: u64) {
    let rcx = cpu.state.gpr[RCX];
    cpu.state.gpr[RCX] = with_low(
        rcx,
        rcx.wrapping_sub(elements),
        request.address_bytes.into(),
    );
}

/// Moves RSI or RDI behind so many elements.
fn advance(cpu: &mut Cpu<'_>, request: Request, register: usize, elements: u64) {
    let by = (elements * request.element()).wrapping_mul(cpu.state.direction);
    let old = cpu.state.gpr[register];
    let new = old.wrapping_add(by);
    cpu.state.gpr[register] = with_low(old, new, request.address_bytes.into());
}

/// A register with its low 2, 4 or 8 bytes written: four clear the rest (Intel SDM 1, 3.4.1.1).
pub(super) fn with_low(old: u64, new: u64, bytes: u64) -> u64 {
    match bytes {
        2 => old & !0xffff | new & 0xffff,
        4 => new & 0xffff_ffff,
        _ => new,
    }
}

/// The width of an access of so many bytes.
pub(super) fn width(bytes: u64) -> AccessWidth {
    match bytes {
        1 => AccessWidth::Byte,
        2 => AccessWidth::Half,
        4 => AccessWidth::Word,
        _ => AccessWidth::Double,
    }
}

/// The linear address of an element, checked against its segment; `write` as [`SEGMENT`] takes it.
fn linear(
    cpu: &mut Cpu<'_>,
    request: Request,
    segment: usize,
    offset: u64,
    write: u64,
) -> Result<u64, Exception> {
    let offset = offset & request.mask();
    if request.is_64 {
        let base = match segment {
            FS | GS => cpu.state.segments[segment].base,
            _ => 0,
        };
        return Ok(base.wrapping_add(offset));
    }
    if request.flat {
        return Ok(offset);
    }
    let what = segment as u64 | request.element() << 8 | write << 16;
    cpu.call(SEGMENT, [offset, what, 0])
}

fn source(cpu: &mut Cpu<'_>, request: Request) -> Result<u64, Exception> {
    let offset = cpu.state.gpr[RSI];
    linear(cpu, request, request.source.into(), offset, 0)
}

fn destination(cpu: &mut Cpu<'_>, request: Request, write: u64) -> Result<u64, Exception> {
    let offset = cpu.state.gpr[RDI];
    linear(cpu, request, ES, offset, write)
}

/// Elements from `offset` on that lie in a page, below the end of the segment's addresses, and within the segment.
fn reach(
    cpu: &mut Cpu<'_>,
    request: Request,
    segment: usize,
    offset: u64,
    write: u64,
) -> Result<(u64, u64), Exception> {
    let offset = offset & request.mask();
    let at = linear(cpu, request, segment, offset, write)?;
    let in_page = PAGE_BYTES - at % PAGE_BYTES;
    let in_addresses = (request.mask() - offset).saturating_add(1);
    let bytes = in_page.min(in_addresses);
    let elements = bytes / request.element();
    if elements > 1 && !request.is_64 && !request.flat {
        let last = offset + (elements - 1) * request.element();
        if linear(cpu, request, segment, last, write).is_err() {
            return Ok((at, 0));
        }
    }
    Ok((at, elements))
}

/// Moves, stores or compares upwards as much as one piece of memory allows; elements done, zero when it must go one by one.
fn in_bulk(cpu: &mut Cpu<'_>, request: Request) -> Result<u64, Exception> {
    if cpu.state.direction != 1 {
        return Ok(0);
    }
    let count = count(cpu, request).min(MOST_BYTES / request.element());
    let done = match request.kind {
        Kind::Move => {
            let (from, to) = (cpu.state.gpr[RSI], cpu.state.gpr[RDI]);
            let (from, readable) = reach(cpu, request, request.source.into(), from, 0)?;
            let (to, writable) = reach(cpu, request, ES, to, 1)?;
            let bytes = count.min(readable).min(writable) * request.element();
            if bytes == 0 {
                return Ok(0);
            }
            cpu.env.copy_bytes(cpu.state, to, from, bytes)
        }
        Kind::Store => {
            let to = cpu.state.gpr[RDI];
            let (to, writable) = reach(cpu, request, ES, to, 1)?;
            let bytes = count.min(writable) * request.element();
            if bytes == 0 {
                return Ok(0);
            }
            let pattern = repeated(cpu.state.gpr[RAX], request.bytes);
            cpu.env.fill_bytes(cpu.state, to, pattern, bytes)
        }
        Kind::Compare | Kind::Scan => undecided(cpu, request, count.saturating_sub(1))?,
        Kind::Load | Kind::In | Kind::Out => return Ok(0),
    };
    let elements = done / request.element();
    if matches!(request.kind, Kind::Move | Kind::Compare) {
        advance(cpu, request, RSI, elements);
    }
    advance(cpu, request, RDI, elements);
    take(cpu, request, elements);
    Ok(elements)
}

/// Bytes of the next `most` elements at most that do not end the comparison.
fn undecided(cpu: &mut Cpu<'_>, request: Request, most: u64) -> Result<u64, Exception> {
    let (mut ones, mut others) = ([0; COMPARED_BYTES], [0; COMPARED_BYTES]);
    let most = most.min(COMPARED_BYTES as u64 / request.element());
    let (from, readable) = match request.kind {
        Kind::Compare => {
            let from = cpu.state.gpr[RSI];
            reach(cpu, request, request.source.into(), from, 0)?
        }
        _ => (0, most),
    };
    let with = cpu.state.gpr[RDI];
    let (with, also) = reach(cpu, request, ES, with, 0)?;
    let mut bytes = (most.min(readable).min(also) * request.element()) as usize;
    if request.kind == Kind::Compare {
        bytes = cpu.env.load_bytes(cpu.state, from, &mut ones[..bytes]);
    } else {
        let value = repeated(cpu.state.gpr[RAX], request.bytes).to_le_bytes();
        let chunks = ones.chunks_mut(value.len());
        chunks.for_each(|chunk| chunk.copy_from_slice(&value));
    }
    bytes = cpu.env.load_bytes(cpu.state, with, &mut others[..bytes]);
    let stops = |(a, b): (&[u8], &[u8])| (a == b) == (request.repeat == Repeat::WhileNotEqual);
    let element = usize::from(request.bytes);
    let pairs = ones[..bytes].chunks_exact(element);
    let mut pairs = pairs.zip(others[..bytes].chunks_exact(element));
    let whole = bytes / element;
    Ok((pairs.position(stops).unwrap_or(whole) * element) as u64)
}

/// Eight bytes of the low bytes of a value, over and over.
fn repeated(value: u64, bytes: u8) -> u64 {
    match bytes {
        1 => (value & 0xff) * 0x0101_0101_0101_0101,
        2 => (value & 0xffff) * 0x0001_0001_0001_0001,
        4 => (value & 0xffff_ffff) * 0x0000_0001_0000_0001,
        _ => value,
    }
}

/// Does one element, moves RSI and RDI, and says whether what was compared is equal.
fn element(cpu: &mut Cpu<'_>, request: Request) -> Result<bool, Exception> {
    let (view, width) = (View::Current, width(request.element()));
    let mut equal = false;
    match request.kind {
        Kind::Move => {
            let from = source(cpu, request)?;
            let to = destination(cpu, request, 1)?;
            let value = cpu.env.load(cpu.state, from, width, view)?;
            cpu.env.store(cpu.state, to, width, value, view)?;
        }
        Kind::Store => {
            let to = destination(cpu, request, 1)?;
            let value = cpu.state.gpr[RAX];
            cpu.env.store(cpu.state, to, width, value, view)?;
        }
        Kind::Load => {
            let from = source(cpu, request)?;
            let value = cpu.env.load(cpu.state, from, width, view)?;
            let rax = cpu.state.gpr[RAX];
            cpu.state.gpr[RAX] = match request.bytes {
                1 => rax & !0xff | value & 0xff,
                bytes => with_low(rax, value, bytes.into()),
            };
        }
        Kind::Compare => {
            let from = source(cpu, request)?;
            let with = destination(cpu, request, 0)?;
            // Processors read the second operand first, which shows when both fault.
            let b = cpu.env.load(cpu.state, with, width, view)?;
            let a = cpu.env.load(cpu.state, from, width, view)?;
            equal = compare(cpu, request, a, b);
        }
        Kind::Scan => {
            let with = destination(cpu, request, 0)?;
            let b = cpu.env.load(cpu.state, with, width, view)?;
            let a = cpu.state.gpr[RAX];
            equal = compare(cpu, request, a, b);
        }
        Kind::In => {
            let port = cpu.state.gpr[RDX] & 0xffff;
            cpu.call(PORT_CHECK, [port, request.element(), 0])?;
            let to = destination(cpu, request, 1)?;
            // What a port gives must not be lost by a fault.
            probe_write(cpu, to, request.element())?;
            let value = cpu.call(PORT_IN, [port, request.element(), 0])?;
            cpu.env.store(cpu.state, to, width, value, view)?;
        }
        Kind::Out => {
            let port = cpu.state.gpr[RDX] & 0xffff;
            cpu.call(PORT_CHECK, [port, request.element(), 0])?;
            let from = source(cpu, request)?;
            let value = cpu.env.load(cpu.state, from, width, view)?;
            cpu.call(PORT_OUT, [port, value, request.element()])?;
        }
    }
    let (uses_source, uses_destination) = match request.kind {
        Kind::Move | Kind::Compare => (true, true),
        Kind::Load | Kind::Out => (true, false),
        Kind::Store | Kind::Scan | Kind::In => (false, true),
    };
    if uses_source {
        advance(cpu, request, RSI, 1);
    }
    if uses_destination {
        advance(cpu, request, RDI, 1);
    }
    Ok(equal)
}

/// Sets the flags of a comparison, and says whether it found the same.
fn compare(cpu: &mut Cpu<'_>, request: Request, a: u64, b: u64) -> bool {
    let ty = match request.bytes {
        1 => Type::I8,
        2 => Type::I16,
        4 => Type::I32,
        _ => Type::I64,
    };
    cpu.state.flags[0] = vm_ir::eval::flags::set(FlagKind::Sub, ty, [a, b, 0], 0);
    (a ^ b) << (64 - 8 * u32::from(request.bytes)) == 0
}

/// Faults as a store would.
pub(super) fn probe_write(cpu: &mut Cpu<'_>, at: u64, bytes: u64) -> Result<(), Exception> {
    let here = (PAGE_BYTES - at % PAGE_BYTES).min(bytes);
    let write = Access::Write;
    cpu.env.probe(cpu.state, GuestVirtAddr(at), here, write)?;
    if here < bytes {
        let next = GuestVirtAddr(at.wrapping_add(here));
        cpu.env.probe(cpu.state, next, bytes - here, write)?;
    }
    Ok(())
}
