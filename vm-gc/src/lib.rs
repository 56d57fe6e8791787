//! Reclamation of everything translated.
//!
//! What it is: epochs. What virtual CPUs may still be running or holding pointers to is [retired](Collector::retire)
//! after it has been unlinked, and dropped only when every virtual CPU has passed a quiescent point since.
//!
//! What it refuses to do: decide what is translated or thrown away.
//!
//! Data flow: unlink -> [`Collector::retire`] (the epoch moves on) -> every [`Participant`] calls
//! [`Participant::quiescent`] or is [offline](Participant::offline) -> [`Collector::collect`] drops.

mod epoch;

pub use epoch::{Collector, OFFLINE, Participant, Stats};
