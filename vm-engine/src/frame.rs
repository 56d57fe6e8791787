//! The memory block that running code works on: what the engine needs at hand, the guest's state, temporaries.

#![allow(unsafe_code)]

use std::mem::{offset_of, size_of};
use std::sync::atomic::AtomicU32;

use vm_core::PAGE_BYTES;
use vm_frontend::{CommonState, Exception};
use vm_ir::ExceptionCode;
use vm_mem::{NO_TAG, TlbSet};

use crate::jump::{Context, Entry, Lines};
use crate::microop::{Leave, MicroOp};

/// Words for the temporaries of one block.
pub(crate) const TEMP_WORDS: usize = 1024;
/// Words that hold constants for operations without an immediate form; the last two take results that nobody wants.
pub(crate) const SCRATCH_WORDS: usize = 7;

/// What block code calls for everything that is not on the fast path. Instances exist per guest ISA.
pub(crate) struct SlowPaths {
    /// Loads through the full path; the value goes to [`FrameHead::value`]. False: an exception is in
    /// [`FrameHead::fault`].
    pub(crate) load: unsafe fn(*mut FrameHead, addr: u64, size_log2: u8) -> bool,
    /// Stores [`FrameHead::value`] through the full path.
    pub(crate) store: unsafe fn(*mut FrameHead, addr: u64, size_log2: u8) -> bool,
    /// Resolves an aligned address for an atomic operation: host address in `value[0]`, guest-physical in
    /// `value[1]`; or, where there is no RAM, false.
    pub(crate) resolve: unsafe fn(*mut FrameHead, addr: u64, size_log2: u8, write: bool) -> bool,
    /// Checks that `1 << size_log2` bytes at any address can be written.
    pub(crate) probe: unsafe fn(*mut FrameHead, addr: u64, size_log2: u8) -> bool,
    /// Tells that resolved memory of a page without write tag was written.
    pub(crate) wrote: unsafe fn(*mut FrameHead, phys: u64, bytes: u64),
    /// Calls helper number `op.aux` with three arguments, by value: through memory they would be written as words and
    /// read as vectors, which processors wait for.
    pub(crate) call: unsafe fn(*mut FrameHead, op: *const MicroOp, u64, u64, u64) -> bool,
    /// Where host code goes on that has left for this reason, if it can do so without a turn of the run loop.
    pub(crate) go_on: unsafe fn(*mut FrameHead, leave: Leave) -> Option<u64>,
    /// Whether a debugger wants a stop at this virtual address.
    pub(crate) stops_at: unsafe fn(*mut FrameHead, pc: u64) -> bool,
    /// Runs an operation that has no handler of its own by its definition.
    pub(crate) define: unsafe fn(*mut FrameHead, op: *const MicroOp),
    /// MXCSR as the guest's rules and rounding ask for, flags clear; zero when it cannot say them.
    pub(crate) float_control: unsafe fn(*mut FrameHead) -> u32,
}

impl FrameHead {
    /// Whether what was noted under a context still holds.
    #[inline(always)]
    pub(crate) fn holds(&self, context: Context) -> bool {
        context == self.context || context == self.global_context
    }

    /// Where the code at a virtual address is entered, if the jump cache has it.
    #[inline(always)]
    pub(crate) fn known(&self, pc: u64) -> Option<Entry> {
        // SAFETY: the lines belong to this frame's owner, who does not change them meanwhile.
        let code = unsafe {
            self.jump_lines
                .find(pc, [self.context, self.global_context])
        }?;
        Some(match self.enter_host {
            0 => Entry::Ops(std::ptr::with_exposed_provenance(code as usize)),
            _ => Entry::Host(code),
        })
    }
}

/// What block code needs besides the guest's state. Its address is in a register all the time.
#[repr(C)]
pub(crate) struct FrameHead {
    /// TLB table of the current address space and data mode.
    pub(crate) tlb: *const TlbSet,
    /// Mask of the page number that gives the table's index.
    pub(crate) tlb_mask: u64,
    /// The same times the bytes of a set, for host code.
    pub(crate) tlb_byte_mask: u64,
    /// The jump cache.
    pub(crate) jump_lines: Lines,
    /// What host code is entered by ([`crate::tier::Translator::enter`]), or zero: then the jump cache leads to
    /// micro-operations.
    pub(crate) enter_host: u64,
    /// What current code addresses mean: a number for the address space's generation and the mode. Zero, as no line
    /// says, until that is known.
    pub(crate) context: Context,
    /// The same for pages that are mapped alike in all address spaces. Zero when there are none.
    pub(crate) global_context: Context,
    /// Where a block left to be linked: the address of a link cell, or of a place in host code.
    pub(crate) link_site: u64,
    /// Slow paths of the guest ISA.
    pub(crate) slow: &'static SlowPaths,
    /// The `Vcpu` that owns this frame.
    pub(crate) owner: *mut (),
    /// The exception that ended a block.
    pub(crate) fault: Exception,
    /// Values to and from slow paths.
    pub(crate) value: [u64; 2],
    /// Always zero.
    pub(crate) zero: [u64; 2],
    /// Constants of the running block's operations.
    pub(crate) scratch: [u64; SCRATCH_WORDS],
    /// Zero while MXCSR is Rust's, else one more than the guest's rounding, which host code has loaded.
    pub(crate) fp_live: u32,
    /// Whether the host's x87 unit has the guest's registers, control and status.
    pub(crate) x87_live: u32,
    /// Where host code puts MXCSR on the way.
    pub(crate) mxcsr: u32,
    /// Where host code puts the x87 unit's image on the way.
    pub(crate) x87_image: X87Image,
    /// Counters for statistics.
    pub(crate) counters: Counters,
    // What follows, and the state's first word, host code reads all the time: from the end of the recent translations on
    // it can be reached by short displacements from one register.
    /// Recent translations of host code.
    pub(crate) recent: Recent,
    /// Not zero when somebody wants this virtual CPU's attention.
    pub(crate) exit_flag: *const AtomicU32,
    /// For accesses of 1 to 8 bytes, the bits of an address that tell its page, and whether it is misaligned.
    pub(crate) access_masks: [u64; 4],
    /// Instructions retired from which on the run loop must get a turn.
    pub(crate) limit: u64,
}

/// What FNSAVE stores outside of 16-bit modes (Intel SDM 1, 8.1.10): 108 bytes.
type X87Image = [u32; X87_IMAGE_WORDS];
const X87_IMAGE_WORDS: usize = 27;

/// See [`FrameHead::access_masks`].
const ACCESS_MASKS: [u64; 4] = {
    let page = !(PAGE_BYTES - 1);
    [page, page | 1, page | 3, page | 7]
};

/// Lines of [`Recent`].
pub(crate) const RECENT: usize = 32;

/// Copies of TLB entries, each of the page that host code last reached by some base register. They save host code the
/// way through the TLB's index, on which the address of an access would have to wait. A copy does not follow what
/// other threads do to the entry, so the run loop drops all, before it enters code, when the TLB has changed.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Recent([RecentLine; RECENT]);

/// One of them.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RecentLine {
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) addend: u64,
}

impl Recent {
    /// Knows nothing.
    pub(crate) const EMPTY: Self = Self(
        [RecentLine {
            read: NO_TAG,
            write: NO_TAG,
            addend: NO_TAG,
        }; RECENT],
    );

    /// Forgets all.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        // All words alike, as that takes fewer instructions than leaving some alone.
        *self = Self::EMPTY;
    }
}

/// Slow-path counters of one virtual CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Accesses that the TLB could not serve at once.
    pub tlb_misses: u64,
    /// Accesses to devices.
    pub device_accesses: u64,
    /// Accesses to memory by host code, where they are counted.
    pub accesses: u64,
    /// Operations that host code had the interpreter run.
    pub steps: u64,
    /// Guest instructions in blocks that were interpreted though there is a translator.
    pub interpreted: u64,
    /// Times the run loop looked a block up.
    pub lookups: u64,
    /// Blocks made: lifted, and translated or predecoded.
    pub translated: u64,
    /// Guest instructions in them.
    pub translated_insns: u64,
    /// Nanoseconds that took.
    pub translation_ns: u64,
    /// Bytes of host code in them, on the way through.
    pub hot_code_bytes: u64,
    /// Bytes of host code out of the way.
    pub cold_code_bytes: u64,
    /// Exceptions delivered.
    pub exceptions: u64,
    /// Interrupts delivered.
    pub interrupts: u64,
}

/// A frame with its state and temporaries.
#[repr(C)]
pub(crate) struct Frame<S> {
    pub(crate) head: FrameHead,
    pub(crate) state: S,
    pub(crate) temps: [u64; TEMP_WORDS],
}

/// Bytes from the frame's start to the guest state.
pub(crate) const STATE_OFFSET: usize = size_of::<FrameHead>();
/// Bytes from the frame's start to the two words that are always zero.
pub(crate) const ZERO_OFFSET: u16 = offset_of!(FrameHead, zero) as u16;

/// Bytes from the frame's start to scratch word `n`.
pub(crate) const fn scratch_offset(n: usize) -> u16 {
    (offset_of!(FrameHead, scratch) + 8 * n) as u16
}

impl<S> Frame<S> {
    /// Bytes from the frame's start to the temporaries.
    pub(crate) const TEMPS_OFFSET: usize = offset_of!(Frame<S>, temps);

    pub(crate) fn new(
        exit_flag: *const AtomicU32,
        slow: &'static SlowPaths,
        jump_lines: Lines,
        state: S,
    ) -> Box<Self> {
        const { assert!(offset_of!(Frame<S>, state) == STATE_OFFSET) };
        const { assert!(size_of::<Frame<S>>() <= u16::MAX as usize) };
        Box::new(Self {
            head: FrameHead {
                tlb: std::ptr::null(),
                tlb_mask: 0,
                tlb_byte_mask: 0,
                jump_lines,
                enter_host: 0,
                context: 0,
                global_context: 0,
                link_site: 0,
                slow,
                owner: std::ptr::null_mut(),
                fault: Exception {
                    code: ExceptionCode(0),
                    value: 0,
                },
                value: [0; 2],
                zero: [0; 2],
                scratch: [0; SCRATCH_WORDS],
                fp_live: 0,
                x87_live: 0,
                mxcsr: 0,
                x87_image: [0; X87_IMAGE_WORDS],
                counters: Counters::default(),
                recent: Recent::EMPTY,
                exit_flag,
                access_masks: ACCESS_MASKS,
                limit: 0,
            },
            state,
            temps: [0; TEMP_WORDS],
        })
    }
}

/// The common state behind a frame's head.
#[inline(always)]
pub(crate) unsafe fn common(frame: *mut FrameHead) -> *mut CommonState {
    // SAFETY: every frame has its state right behind the head, and every state begins with the common part.
    unsafe { frame.cast::<u8>().add(STATE_OFFSET).cast() }
}

/// The 64-bit word at `offset` bytes of a frame.
#[inline(always)]
pub(crate) unsafe fn word(frame: *mut FrameHead, offset: u16) -> *mut u64 {
    // SAFETY: micro-ops hold only offsets that predecoding took from the layout or the temporaries.
    unsafe { frame.cast::<u8>().add(offset as usize).cast() }
}
