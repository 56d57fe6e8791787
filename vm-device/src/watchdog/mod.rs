//! Watchdogs: timers that restart a machine whose guest does not restart them.

pub mod i6300esb;
