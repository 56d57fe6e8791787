//! Small bare guests for x86: modes, faults, paging, interrupts.

mod code;
mod exceptions;
mod interrupts;
mod legacy;
mod machine;
mod modes;
mod paging;
