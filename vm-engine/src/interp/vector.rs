//! Vectors: moves, and the operations of the guest's own table.

#![allow(unsafe_code)]

use vm_ir::{Vector, VectorFunction};

use crate::frame::{FrameHead, word};
use crate::interp::next;
use crate::microop::{Handler, Leave, MicroOp};

type Plain = fn(&mut Vector, &Vector, &Vector, &Vector, u8);

/// The vector at an offset.
#[inline(always)]
unsafe fn vector(f: *mut FrameHead, offset: u16) -> *mut Vector {
    // SAFETY: slots of vectors have two words (caller).
    unsafe { word(f, offset).cast() }
}

/// Calls the function at `imm` with the vectors at `a`, `b` and `c` and the constant `aux`; the result goes to `d`.
pub(crate) unsafe fn plain(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: predecoding took the function from a row of that type (`plain_row`) and the offsets from slots of vectors
    // or the words that are zero. The result is apart from the operands, of which it may be one, until it is complete.
    unsafe {
        let address = std::ptr::with_exposed_provenance::<()>((*op).imm as usize);
        let function: Plain = std::mem::transmute(address);
        let mut out = [0; 2];
        function(
            &mut out,
            &*vector(f, (*op).a),
            &*vector(f, (*op).b),
            &*vector(f, (*op).c),
            (*op).aux as u8,
        );
        *vector(f, (*op).d) = out;
        next!(f, op)
    }
}

/// The vector at `a` to `d`.
pub(crate) unsafe fn mov(f: *mut FrameHead, op: *const MicroOp) -> Leave {
    // SAFETY: offsets of slots of two words come from predecoding.
    unsafe {
        *vector(f, (*op).d) = *vector(f, (*op).a);
        next!(f, op)
    }
}

/// Handler and `imm` of a row that computes from its operands alone; the others run by their definition.
pub(crate) fn plain_row(function: VectorFunction) -> Option<(Handler, u64)> {
    match function {
        VectorFunction::Plain(function) => {
            let address = (function as *const ()).expose_provenance();
            Some((plain, address as u64))
        }
        VectorFunction::Float(_) => None,
    }
}
