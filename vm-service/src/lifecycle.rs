//! The life of a machine.

use std::sync::atomic::{AtomicU8, Ordering};

/// Where a machine is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Built; no instruction has been executed.
    Ready,
    /// Running, or held by a debugger.
    Running,
    /// Over.
    Ended,
}

/// A state that only goes forward.
#[derive(Debug)]
pub(crate) struct Lifecycle(AtomicU8);

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(State::Ready as u8))
    }

    pub(crate) fn state(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Ready,
            1 => State::Running,
            _ => State::Ended,
        }
    }

    /// Goes from one state to the next; false when it was not in the first.
    pub(crate) fn advance(&self, from: State, to: State) -> bool {
        assert!(to as u8 == from as u8 + 1, "invariant: no state is skipped");
        self.0
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_advances_once_each() {
        let life = Lifecycle::new();
        assert_eq!(life.state(), State::Ready);
        assert!(!life.advance(State::Running, State::Ended));
        assert!(life.advance(State::Ready, State::Running));
        assert!(!life.advance(State::Ready, State::Running));
        assert_eq!(life.state(), State::Running);
        assert!(life.advance(State::Running, State::Ended));
        assert_eq!(life.state(), State::Ended);
    }

    #[test]
    #[should_panic(expected = "no state is skipped")]
    fn lifecycle_skipping_a_state_is_a_bug() {
        Lifecycle::new().advance(State::Ready, State::Ended);
    }
}
