//! Micro-operations: what the interpreter runs.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicPtr, Ordering};

use crate::frame::FrameHead;

/// Code of one micro-operation. Each handler ends by calling the next one with the same signature, which the
/// compiler turns into a jump (`opt-level` 2 and above); where it does not, the block budget bounds the stack.
pub(crate) type Handler = unsafe fn(*mut FrameHead, *const MicroOp) -> Leave;

/// Why block code returned to the run loop. The program counter is valid in every case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Leave {
    /// The budget is used up or the exit flag is set.
    Attention,
    /// No code linked behind [`FrameHead::link_site`] yet.
    Link,
    /// No code known for the program counter.
    Lookup,
    /// System state has changed.
    Exit,
    /// The exception in [`FrameHead::fault`].
    Exception,
    /// At a breakpoint.
    Breakpoint,
    /// Only within a host-code block: the operations that it asked for are done (see [`crate::tier`]).
    Resume,
}

/// One micro-operation. 32 bytes. Operand fields are byte offsets into the frame unless a handler says otherwise.
///
/// A block's code is an array whose first element is no operation but the block's head: `imm` is the number of
/// guest instructions, `aux` tells whether its one instruction lies on two pages, `d` to `c` together are the host
/// address where host code of other blocks enters it ([`crate::tier`]), or zero. A link cell is an element whose
/// `imm` is the address of the next block's head, or zero.
#[repr(C)]
pub(crate) struct MicroOp {
    pub(crate) handler: Handler,
    pub(crate) imm: AtomicPtr<MicroOp>,
    pub(crate) d: u16,
    pub(crate) a: u16,
    pub(crate) b: u16,
    pub(crate) c: u16,
    /// Offset of the guest instruction in its page.
    pub(crate) pc_offset: u16,
    /// Guest instructions of the block from this one on, itself included.
    pub(crate) left: u16,
    /// A second constant: branch offset, helper number, variant.
    pub(crate) aux: i32,
}

impl MicroOp {
    pub(crate) const fn new(handler: Handler) -> Self {
        Self {
            handler,
            imm: AtomicPtr::new(std::ptr::null_mut()),
            d: 0,
            a: 0,
            b: 0,
            c: 0,
            pc_offset: 0,
            left: 0,
            aux: 0,
        }
    }

    /// The constant. (Constants share storage with link addresses; exposing and casting integers is what
    /// `AtomicPtr` allows without making every constant an atomic of another type.)
    #[inline(always)]
    pub(crate) fn imm(&self) -> u64 {
        self.imm.load(Ordering::Relaxed).addr() as u64
    }

    pub(crate) fn set_imm(&mut self, value: u64) {
        *self.imm.get_mut() = std::ptr::without_provenance_mut(value as usize);
    }

    /// The linked block's head, or null.
    #[inline(always)]
    pub(crate) fn link(&self) -> *const MicroOp {
        self.imm.load(Ordering::Acquire)
    }

    /// Puts a host address into `d` to `c`.
    pub(crate) fn set_host(&mut self, address: u64) {
        let part = |n: u32| (address >> (16 * n)) as u16;
        (self.d, self.a, self.b, self.c) = (part(0), part(1), part(2), part(3));
    }

    /// For a block's head: whether its instruction lies on two pages.
    pub(crate) fn head_straddles(&self) -> bool {
        self.aux != 0
    }

    /// Links a block. Its code must be retired no later than this one's.
    pub(crate) fn set_link(&self, head: *const MicroOp) {
        self.imm.store(head.cast_mut(), Ordering::Release);
    }
}

/// The handler of block heads, which is never run.
pub(crate) unsafe fn block_head(_: *mut FrameHead, _: *const MicroOp) -> Leave {
    unreachable!("invariant: execution starts behind the head")
}
