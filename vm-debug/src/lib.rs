//! Looking into a guest from outside: a GDB remote stub and names for guest addresses.
//!
//! What it is: [`gdb`] lets `gdb` and its front ends attach to a running machine over TCP; [`symbols`] reads the names
//! of a kernel's functions and variables, even from a kernel that was stripped of its symbol table, and writes them as
//! an ELF file that debuggers load.
//!
//! [`report`] is what people read of a machine that stands still.
//!
//! What it refuses to do: touch a machine other than through [`vm_core::DebugTarget`], or know a machine's devices.
//!
//! Data flow: a connection's packets become calls of [`vm_core::DebugTarget`]; its stop causes become stop replies. A
//! kernel file becomes a [`symbols::SymbolTable`], which answers address and name look-ups and becomes an ELF file.
//!
//! What comes over the wire and what stands in a kernel file is hostile input: the answer is an error reply, a closed
//! connection or an error value, never a panic.
//!
//! Specifications: GDB Remote Serial Protocol and Target Description Format (GDB manual, appendices E and G), Linux 6.12
//! `scripts/kallsyms.c`, ELF (System V gABI).

pub mod gdb;
pub mod report;
pub mod symbols;
pub mod trace;
