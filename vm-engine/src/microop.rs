//! What a block's code is made of: its head, micro-operations, and the cells through which it leads to other blocks.
//!
//! All lie in one array of words of 32 bytes ([`CodeWord`]), so that whoever has the head has the first operation, and
//! whoever has an operation has the next one, by an addition. A block with host code has no head, and operations only
//! where host code wants some run.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

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

/// The head of a block, which its first micro-operation follows.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct BlockHead {
    /// Guest instructions of the block.
    pub(crate) insns: u32,
}

impl BlockHead {
    /// The first micro-operation.
    ///
    /// # Safety
    /// The head is the first word of a block's code, and the pointer may be used for all of it.
    #[inline(always)]
    pub(crate) unsafe fn first(this: *const Self) -> *const MicroOp {
        // SAFETY: the first operation is the word behind the head.
        unsafe { this.cast::<CodeWord>().add(1).cast() }
    }
}

/// One micro-operation. Operand fields are byte offsets into the frame unless a handler says otherwise.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MicroOp {
    pub(crate) handler: Handler,
    /// A constant.
    pub(crate) imm: u64,
    pub(crate) d: u16,
    pub(crate) a: u16,
    pub(crate) b: u16,
    pub(crate) c: u16,
    /// Offset of the guest instruction in its page.
    pub(crate) pc_offset: u16,
    /// Guest instructions of the block from this one on, itself included.
    pub(crate) left: u16,
    /// A second constant: exception number, helper number, variant.
    pub(crate) aux: i32,
}

impl MicroOp {
    pub(crate) const fn new(handler: Handler) -> Self {
        Self {
            handler,
            imm: 0,
            d: 0,
            a: 0,
            b: 0,
            c: 0,
            pc_offset: 0,
            left: 0,
            aux: 0,
        }
    }

    /// The link cells of an operation that has them: they follow it.
    ///
    /// # Safety
    /// The operation is one that predecoding has put link cells behind.
    #[inline(always)]
    pub(crate) unsafe fn links(this: *const Self) -> *const LinkCell {
        // SAFETY: see above.
        unsafe { this.add(1).cast() }
    }
}

/// A way from the operations of one block to another block: an offset from the page's base, and the block there once it
/// is known. (Host code has ways of its own: [`crate::tier::HostPlace`].)
#[repr(C)]
pub(crate) struct LinkCell {
    /// Head of the block, or null.
    head: AtomicPtr<BlockHead>,
    /// Where it is.
    pub(crate) offset: i32,
    /// Not zero: the block may not be linked.
    apart: AtomicU32,
}

impl LinkCell {
    /// Leads to an offset from the page's base, to no block yet.
    pub(crate) const fn new(offset: i32) -> Self {
        Self {
            head: AtomicPtr::new(std::ptr::null_mut()),
            offset,
            apart: AtomicU32::new(0),
        }
    }

    /// Whether the block may not be linked.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart.load(Ordering::Relaxed) != 0
    }

    /// Notes that the block may not be linked: one on two pages is checked on every way to it, and operations do not go
    /// on in host code by themselves.
    pub(crate) fn keep_apart(&self) {
        self.apart.store(1, Ordering::Relaxed);
    }

    /// The linked block's head, or null.
    #[inline(always)]
    pub(crate) fn head(&self) -> *const BlockHead {
        self.head.load(Ordering::Acquire)
    }

    /// Links a block. Its code must be retired no later than this one's.
    pub(crate) fn set(&self, head: *const BlockHead) {
        self.head.store(head.cast_mut(), Ordering::Release);
    }
}

/// One word of a block's code.
#[repr(C)]
pub(crate) union CodeWord {
    /// The first word.
    head: BlockHead,
    pub(crate) op: MicroOp,
    /// Behind an operation that leads to other blocks. A branch takes the first cell or the second; others have the
    /// first only.
    links: ManuallyDrop<[LinkCell; 2]>,
}

const _: () = assert!(size_of::<CodeWord>() == 32 && size_of::<MicroOp>() == 32);

impl CodeWord {
    pub(crate) const fn op(op: MicroOp) -> Self {
        Self { op }
    }

    pub(crate) const fn links(offsets: [i32; 2]) -> Self {
        let [first, second] = offsets;
        Self {
            links: ManuallyDrop::new([LinkCell::new(first), LinkCell::new(second)]),
        }
    }
}

/// All code of a block.
pub(crate) struct CodeWords(Box<[CodeWord]>);

// SAFETY: all threads may read it; what they change are atomic pointers.
unsafe impl Sync for CodeWords {}
// SAFETY: nothing of it is a thread's own.
unsafe impl Send for CodeWords {}

impl CodeWords {
    /// A head with the words behind it.
    pub(crate) fn of(head: BlockHead, behind: impl Iterator<Item = CodeWord>) -> Self {
        Self(std::iter::once(CodeWord { head }).chain(behind).collect())
    }

    /// Operations of a block that is not entered by them.
    pub(crate) fn without_head(words: impl Iterator<Item = CodeWord>) -> Self {
        Self(words.collect())
    }

    /// The block's head, which is the first word if it has one.
    pub(crate) fn head(&self) -> *const BlockHead {
        self.0.as_ptr().cast()
    }

    /// Address of word number `n`.
    pub(crate) fn address(&self, n: usize) -> u64 {
        (&raw const self.0[n]).expose_provenance() as u64
    }

    /// The link cell at an address that one of its operations has left through; `None` when it is none of these.
    pub(crate) fn cell(&self, address: u64) -> Option<&LinkCell> {
        let at: *const LinkCell = std::ptr::with_exposed_provenance(address as usize);
        // SAFETY: the address lies within, and only cells' addresses are given to who asks.
        self.0
            .as_ptr_range()
            .contains(&at.cast())
            .then(|| unsafe { &*at })
    }

    /// Bytes of host memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}
