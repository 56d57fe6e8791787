//! Small bare guests for x86: modes, faults, paging, interrupts.

mod absent;
mod code;
mod debug;
mod exceptions;
mod float;
mod hostile;
mod interrupts;
mod legacy;
mod machine;
mod modes;
mod paging;
