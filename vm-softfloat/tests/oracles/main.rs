//! Every operation against floating-point arithmetic written by others.
//!
//! `--features berkeley` adds Berkeley SoftFloat 3, whose build wants `gcc`, `make` and `cmake`.

mod apfloat;
#[cfg(all(feature = "berkeley", target_arch = "x86_64", target_os = "linux"))]
mod berkeley;
mod host;
mod operands;
