//! Exceptions as the border carries them.
//!
//! [`ExceptionCode`] has the vector in bits 0 to 7. [`Exception::value`] is the error code of those that have one, the bits of
//! DR6 for #DB, and the address for #PF, whose error code is in bits 16 to 31 of the number.

use vm_core::GuestVirtAddr;
use vm_ir::ExceptionCode;

use super::fields::vector;
use crate::guest::Exception;

/// No exception of the architecture: the program counter has left the 32-bit address space, and goes on within it.
pub const WRAPPED: Exception = exception(0xfe, 0);

/// An access to an address that is not canonical, made by an instruction: #GP(0), or #SS(0) where the instruction means the
/// stack (Intel SDM 1, 3.3.7.1). The bit is none of an error code's.
pub const NOT_CANONICAL: Exception = exception(vector::GP, 1 << 32);

/// An exception with the value that goes with it.
pub const fn exception(vector: u8, value: u64) -> Exception {
    Exception {
        code: ExceptionCode(vector as u32),
        value,
    }
}

/// #GP with an error code.
pub const fn protection(error: u64) -> Exception {
    exception(vector::GP, error)
}

/// #UD.
pub const fn undefined() -> Exception {
    exception(vector::UD, 0)
}

/// #PF.
pub fn page_fault(addr: GuestVirtAddr, error: u32) -> Exception {
    Exception {
        code: ExceptionCode(u32::from(vector::PF) | error << 16),
        value: addr.raw(),
    }
}

/// The vector of an exception.
pub const fn vector_of(exception: Exception) -> u8 {
    exception.code.0 as u8
}

/// The error code that delivering an exception pushes (Intel SDM 3A, 7.13 and 7.15).
pub const fn error_code(exception: Exception) -> Option<u64> {
    match vector_of(exception) {
        vector::DF => Some(0),
        vector::TS | vector::NP | vector::SS | vector::GP => Some(exception.value & 0xffff),
        vector::AC => Some(0),
        vector::PF => Some((exception.code.0 >> 16) as u64),
        _ => None,
    }
}

/// What an exception counts as when another comes while it is delivered (Intel SDM 3A, table 7-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// The second is handled.
    Benign,
    /// Two of these are a double fault.
    Contributory,
    /// A page fault.
    PageFault,
    /// A double fault, behind which anything but a benign one shuts down.
    Double,
}

/// The class of an exception.
pub const fn class(exception: Exception) -> Class {
    match vector_of(exception) {
        vector::DF => Class::Double,
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Class::Contributory,
        vector::PF => Class::PageFault,
        _ => Class::Benign,
    }
}
