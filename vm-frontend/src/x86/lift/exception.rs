//! Numbers of the exceptions that instructions raise by themselves (Intel SDM 3A, 6.15).

/// #DE, divide error.
pub(in crate::x86) const DIVIDE: u8 = 0;
/// #BR, BOUND range exceeded.
pub(in crate::x86) const BOUND: u8 = 5;
/// #UD, invalid opcode.
pub(in crate::x86) const INVALID_OPCODE: u8 = 6;
/// #SS, stack-segment fault.
pub(in crate::x86) const STACK: u8 = 12;
/// #GP, general protection.
pub(in crate::x86) const PROTECTION: u8 = 13;
/// #AC, alignment check.
pub(in crate::x86) const ALIGNMENT: u8 = 17;
