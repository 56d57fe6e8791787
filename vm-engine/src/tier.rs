//! The border to a second tier: a translator that makes host code of blocks.
//!
//! A translated block is host code, and micro-operations only of what host code has the interpreter run: an operation
//! that the translator does not know, or the rare case of one that it does, is a *step* ([`run_step_address`]). So is a
//! block's end that the translator does not know, as those of system instructions and exceptions: behind it the engine
//! says which block's host code comes next ([`run_end_address`]), or why host code has to leave. A load or store that finds
//! no translation needs no micro-operation: all that is told of it fits in a word ([`AccessSite`]).
//!
//! Host code of one block goes on in another one's without coming back here: by a jump that is changed when both are
//! linked, or through the jump cache, whose lines have host addresses where there is a translator.

#![allow(unsafe_code)]

mod access;

use std::mem::offset_of;

use vm_frontend::CommonState;
use vm_ir::{Block, Inst, StateLayout, Terminator};
use vm_mem::{TlbEntry, TlbSet};

use crate::frame::{Counters, FrameHead, RECENT, RecentLine, STATE_OFFSET};
use crate::jump::{JUMP_SHIFTS, JumpLine, Lines};
use crate::microop::{Leave, MicroOp};

pub use access::{
    AccessSite, GroupMember, GroupSite, MAX_GROUP, load_address, load_group_address, probe_address,
    store_address, store_group_address, store_vector_address,
};

/// What [`vm_ir::VectorDecl::encoding`] is of guests whose floating point is that of x86-64 hosts.
pub use vm_frontend::x86::fp::rows::encoding;

pub use crate::hostfp::{
    MXCSR_DENORMAL, MXCSR_FLAGS, MXCSR_ROUNDING_SHIFT, MXCSR_ROUNDINGS, RUST_MXCSR,
};

/// Makes host code.
pub trait Translator: Send + Sync {
    /// Whether host code for this operation may want to have it run as a step.
    fn falls_back(&self, inst: &Inst) -> bool;

    /// Whether host code for a block with this end leaves for the end's micro-operations.
    fn leaves_for(&self, terminator: &Terminator) -> bool;

    /// Host code for a block, or `None` when the block is to be interpreted.
    fn translate(&self, translation: &Translation<'_>) -> Option<HostCode>;

    /// Whether the last translation failed because there is no room for code: older code has to go first.
    fn is_full(&self) -> bool;

    /// Address of `extern "sysv64" fn(frame, entry: u64) -> u64`, which runs host code from [`HostCode::chained`] on and
    /// gives back a `LEAVE_` constant, or another reason that [`run_end_address`] has given.
    fn enter(&self) -> u64;
}

/// What a translator gets.
#[derive(Clone, Copy, Debug)]
pub struct Translation<'a> {
    /// The block.
    pub block: &'a Block,
    /// Virtual address of its first instruction where it is about to run. Others may run it at other addresses.
    pub pc: u64,
    /// Layout of the guest's state.
    pub layout: &'static StateLayout,
    /// Bytes from the frame to each temporary.
    pub temp_offsets: &'a [u16],
    /// For each operation, its step. That of the last one may be the terminator's: then the end runs both.
    pub steps: &'a [Step],
    /// Whether the host's floating-point unit follows the guest's rules, results that are NaNs aside.
    pub host_float: bool,
    /// Whether the host's floating-point unit is the guest's own ([`vm_frontend::Guest::FLOAT_IS_X86`]), and the block
    /// runs with all its exceptions masked.
    pub host_is_guest: bool,
    /// The terminator's.
    pub terminator: Step,
}

/// One operation of a block, as the interpreter runs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// Address of its first micro-operation; zero where [`Translator::falls_back`] or [`Translator::leaves_for`] said no.
    pub first: u64,
    /// Offset of its guest instruction in the page.
    pub pc_offset: u16,
    /// Guest instructions of the block from that one on, itself included.
    pub left: u16,
}

/// Host code of one block.
pub struct HostCode {
    /// Where it starts.
    pub chained: u64,
    /// Host bytes it takes on the way through.
    pub hot_bytes: u32,
    /// Host bytes of what is out of the way.
    pub cold_bytes: u32,
    /// Where it is. Dropped when no virtual CPU can be in the code any more.
    pub place: Box<dyn HostPlace>,
}

/// Where a block's host code is. A jump to another block of the page leaves, at its *site*, for [`LEAVE_LINK`], until it
/// is linked.
pub trait HostPlace: Send + Sync {
    /// Whether a site is one of this code.
    fn holds(&self, site: u64) -> bool;

    /// Has the jump of a site go to another block's [`HostCode::chained`] from now on. Others may be running the code.
    fn link(&self, site: u64, target: u64);

    /// Has the jump of a site go by the jump cache from now on.
    fn keep_apart(&self, site: u64);
}

/// Why host code leaves: no code known for `pc`.
pub const LEAVE_LOOKUP: u64 = Leave::Lookup as u64;
/// The same: the run loop wants a turn, and `pc` says where to go on.
pub const LEAVE_ATTENTION: u64 = Leave::Attention as u64;
/// The same: nothing is linked yet to the site noted at [`FrameOffsets::LINK_SITE`], which leads to `pc`.
pub const LEAVE_LINK: u64 = Leave::Link as u64;
/// The same: the exception that a slow path has put into the frame.
pub const LEAVE_EXCEPTION: u64 = Leave::Exception as u64;
/// The largest of them.
pub const LAST_LEAVE: u64 = Leave::Resume as u64;
/// What a step gives when host code is to go on behind it. Everything else is to be given back.
pub const STEP_DONE: u64 = Leave::Resume as u64;

/// Bytes from the frame to what host code uses of it.
#[derive(Clone, Copy, Debug)]
pub struct FrameOffsets;

#[allow(missing_docs)]
impl FrameOffsets {
    /// Pointer to the 32-bit exit flag.
    pub const EXIT_FLAG: i32 = offset_of!(FrameHead, exit_flag) as i32;
    /// Pointer to the TLB table.
    pub const TLB: i32 = offset_of!(FrameHead, tlb) as i32;
    /// Mask of the page number times [`TlbOffsets::SET_BYTES`].
    pub const TLB_BYTE_MASK: i32 = offset_of!(FrameHead, tlb_byte_mask) as i32;
    /// Pointer to the jump cache.
    pub const JUMP_LINES: i32 =
        (offset_of!(FrameHead, jump_lines) + offset_of!(Lines, first)) as i32;
    /// 32-bit mask of a line's number times [`JumpOffsets::BYTES`].
    pub const JUMP_BYTE_MASK: i32 =
        (offset_of!(FrameHead, jump_lines) + offset_of!(Lines, byte_mask)) as i32;
    /// 16 bits that jump cache lines must say.
    pub const CONTEXT: i32 = offset_of!(FrameHead, context) as i32;
    /// What they may say instead.
    pub const GLOBAL_CONTEXT: i32 = offset_of!(FrameHead, global_context) as i32;
    /// The site that host code leaves at with [`LEAVE_LINK`].
    pub const LINK_SITE: i32 = offset_of!(FrameHead, link_site) as i32;
    /// Above so many instructions retired the run loop must get a turn.
    pub const LIMIT: i32 = offset_of!(FrameHead, limit) as i32;
    /// Tag for reading, tag for writing, and addend, of the first recent translation; the next one's are
    /// [`FrameOffsets::RECENT_BYTES`] further. Host code may copy entries of the TLB here; the engine drops them when they
    /// may no longer hold.
    pub const RECENT_READ: i32 =
        (offset_of!(FrameHead, recent) + offset_of!(RecentLine, read)) as i32;
    pub const RECENT_WRITE: i32 =
        (offset_of!(FrameHead, recent) + offset_of!(RecentLine, write)) as i32;
    pub const RECENT_ADDEND: i32 =
        (offset_of!(FrameHead, recent) + offset_of!(RecentLine, addend)) as i32;
    pub const RECENT_BYTES: i32 = size_of::<RecentLine>() as i32;
    /// For accesses of 1, 2, 4 and 8 bytes, the bits of an address that tell its page and whether it is misaligned: 64-bit
    /// words.
    pub const ACCESS_MASKS: i32 = offset_of!(FrameHead, access_masks) as i32;
    /// What is used most lies before here: recent translations, the last ones nearest, and words behind them.
    pub const HOT_END: i32 = Self::PAGE_BASE + 8;
    /// Host code's 32-bit note of what MXCSR holds; zero, for Rust's word, whenever other code runs.
    pub const FP_LIVE: i32 = offset_of!(FrameHead, fp_live) as i32;
    /// Host code's 32-bit note that the host's x87 unit is the guest's; zero, with the unit as Rust has it, whenever other
    /// code runs. It lies behind [`FrameOffsets::FP_LIVE`], so that one comparison of 64 bits asks for both.
    pub const X87_LIVE: i32 = offset_of!(FrameHead, x87_live) as i32;
    /// 108 bytes for that unit's image on its way (FNSAVE).
    pub const X87_IMAGE: i32 = offset_of!(FrameHead, x87_image) as i32;
    /// 32 bits for MXCSR on its way.
    pub const MXCSR: i32 = offset_of!(FrameHead, mxcsr) as i32;
    /// A word that is always zero.
    pub const ZERO: u16 = offset_of!(FrameHead, zero) as u16;
    /// Where a slow load puts what it has loaded. Host code may write here: nothing is kept.
    pub const VALUE: i32 = offset_of!(FrameHead, value) as i32;
    /// 64-bit count of accesses to memory, for statistics.
    pub const ACCESSES: i32 =
        (offset_of!(FrameHead, counters) + offset_of!(Counters, accesses)) as i32;
    /// The guest's state.
    pub const STATE: i32 = STATE_OFFSET as i32;
    pub const PAGE_BASE: i32 = (STATE_OFFSET + offset_of!(CommonState, page_base)) as i32;
    pub const PC: i32 = (STATE_OFFSET + offset_of!(CommonState, pc)) as i32;
    pub const RETIRED: i32 = (STATE_OFFSET + offset_of!(CommonState, retired)) as i32;
    /// Guest-physical address of the reservation, all ones when there is none, and the 128 bits that memory held.
    pub const RESERVATION_ADDR: i32 =
        (STATE_OFFSET + offset_of!(CommonState, reservation_addr)) as i32;
    pub const RESERVATION_VALUE: i32 =
        (STATE_OFFSET + offset_of!(CommonState, reservation_value)) as i32;
    pub const FP_FLAGS: i32 = (STATE_OFFSET + offset_of!(CommonState, fp_flags)) as i32;
    pub const FP_ROUNDING: i32 = (STATE_OFFSET + offset_of!(CommonState, fp_rounding)) as i32;
}

/// Recent translations that a frame has room for.
pub const RECENT_LINES: usize = RECENT;

/// Layout of TLB entries.
#[derive(Clone, Copy, Debug)]
pub struct TlbOffsets;

#[allow(missing_docs)]
impl TlbOffsets {
    pub const SET_BYTES: u64 = size_of::<TlbSet>() as u64;
    /// From a set's first way to its second.
    pub const WAY_BYTES: i32 = size_of::<TlbEntry>() as i32;
    pub const READ: i32 = offset_of!(TlbEntry, read) as i32;
    pub const WRITE: i32 = offset_of!(TlbEntry, write) as i32;
    pub const ADDEND: i32 = offset_of!(TlbEntry, addend) as i32;
    /// Guest-physical address of the page.
    pub const PHYS: i32 = offset_of!(TlbEntry, phys) as i32;
}

/// Layout of the jump cache. The line of an address is `pc >> SHIFTS[0] ^ pc >> SHIFTS[1]`, modulo their number; or the
/// one beside that, whose number differs in bit 0.
#[derive(Clone, Copy, Debug)]
pub struct JumpOffsets;

#[allow(missing_docs)]
impl JumpOffsets {
    pub const SHIFTS: [u8; 2] = JUMP_SHIFTS;
    pub const BYTES: u64 = size_of::<JumpLine>() as u64;
    pub const PC: i32 = offset_of!(JumpLine, pc) as i32;
    /// 16 bits of context, and 48 bits of the address that [`HostCode::chained`] says.
    pub const CODE: i32 = offset_of!(JumpLine, code) as i32;
    /// Bits of context.
    pub const CODE_SHIFT: u8 = JumpLine::CODE_SHIFT as u8;
}

/// Address of `extern "sysv64" fn(frame, first: u64) -> u64`, which runs a step from its first micro-operation on.
pub fn run_step_address() -> u64 {
    run_step as *const () as u64
}

unsafe extern "sysv64" fn run_step(f: *mut FrameHead, first: *const MicroOp) -> u64 {
    // SAFETY: host code passes the frame that it was entered with and a micro-operation of its own block.
    unsafe {
        (*f).counters.steps += 1;
        ((*first).handler)(f, first) as u64
    }
}

/// Address of `extern "sysv64" fn(frame, first: u64) -> u64`, which runs a block's end from its first micro-operation on.
/// Gives back where host code goes on, [`HostCode::chained`] of another block, or the `LEAVE_` constant to leave with:
/// those are the numbers up to [`LAST_LEAVE`].
pub fn run_end_address() -> u64 {
    run_end as *const () as u64
}

unsafe extern "sysv64" fn run_end(f: *mut FrameHead, first: *const MicroOp) -> u64 {
    // SAFETY: as for `run_step`; the slow path is of the frame's guest.
    unsafe {
        let leave = ((*first).handler)(f, first);
        ((*f).slow.go_on)(f, leave).unwrap_or(leave as u64)
    }
}

/// Address of `extern "sysv64" fn(frame, leave: u64) -> u64`, for host code that has left for a `LEAVE_` constant, with all
/// guest state in the frame. Gives back the same as the function of [`run_end_address`].
pub fn go_on_address() -> u64 {
    go_on as *const () as u64
}

unsafe extern "sysv64" fn go_on(f: *mut FrameHead, leave: u64) -> u64 {
    let Some(&reason) = REASONS.get(leave as usize) else {
        return leave;
    };
    // SAFETY: as for `run_end`.
    unsafe { ((*f).slow.go_on)(f, reason).unwrap_or(leave) }
}

/// Behind a step: goes back to the host code.
pub(crate) unsafe fn resume_host(_: *mut FrameHead, _: *const MicroOp) -> Leave {
    Leave::Resume
}

const REASONS: [Leave; 6] = [
    Leave::Attention,
    Leave::Link,
    Leave::Lookup,
    Leave::Exit,
    Leave::Exception,
    Leave::Breakpoint,
];

/// Runs host code from an address on, by way of [`Translator::enter`], and what it leaves for.
///
/// # Safety
/// Both are of the translator, and the code is of a block that is alive.
#[inline(always)]
pub(crate) unsafe fn run_host(f: *mut FrameHead, enter: u64, entry: u64) -> Leave {
    // SAFETY: see above.
    unsafe {
        let enter: unsafe extern "sysv64" fn(*mut FrameHead, u64) -> u64 =
            std::mem::transmute(enter as usize);
        let reason = enter(f, entry);
        REASONS[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_at_their_numbers() {
        for (number, reason) in REASONS.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        assert_eq!(STEP_DONE as usize, REASONS.len());
    }
}
