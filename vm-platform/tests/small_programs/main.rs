//! Whole machines on programs of a few instructions.

mod guest;
mod halted_harts;
mod time;
